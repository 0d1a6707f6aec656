"""The engine's service: the same engine process as everywhere, with ONNX Runtime's Java API behind it.

python-for-android starts this in a process of its own, as a plain started service of the app: it needs no permission
and no notification, lives while the app is on the screen, and may be ended by Android some minutes after. The app
starts it again when it needs it.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

from edge.app.android.places import Places
from edge.runtime.android_engine import open_java_engine
from edge.runtime.engines import ENGINES

ENGINE = "onnxruntime"


def use_java() -> None:
    """Bundles for onnxruntime run on its Java API in this process: there is no Python package of it for Android."""
    ENGINES[ENGINE] = open_java_engine


def host_arguments(places: Places) -> list[str]:
    """Of edge.app.engine.host."""
    return [str(places.bundle), "--socket", str(places.socket), "--results", str(places.results)]


def main() -> None:
    """Serve until the app ends or asks for it."""
    places = Places.from_environment()
    places.settle()
    use_java()
    from edge.app.engine import host

    host.main(host_arguments(places))
