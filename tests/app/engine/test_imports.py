"""The screen's process holds no runtime."""

from __future__ import annotations

import subprocess
import sys


def test_clients_import_nothing_heavy() -> None:
    """If not: the app starts seconds later, and a crash of the runtime takes the screen along."""
    code = (
        "import sys\n"
        "import edge.app.engine.multiplex, edge.app.engine.pipe, edge.app.engine.socket_client\n"
        "import edge.app.engine.scripted, edge.app.engine.state\n"
        "heavy = ('numpy', 'onnxruntime', 'tokenizers', 'llguidance', 'kivy', 'edge.runtime', 'edge.clinical')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_host_answers_before_it_imports_a_runtime() -> None:
    """The first word to the screen comes from light modules alone."""
    code = (
        "import sys\n"
        "import edge.app.engine.host, edge.app.engine.host_device\n"
        "print([name for name in sys.modules if name.startswith(('numpy', 'onnxruntime', 'edge.runtime'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
