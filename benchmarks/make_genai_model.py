"""Make onnxruntime-genai's model with its own builder: int4 block 32, head shared with the embedding.

    .venv-genai/bin/python -m benchmarks.make_genai_model HF_FOLDER FOLDER

Needs the environment of requirements-genai.txt (`make .venv-genai/.ready`), which the runtime does not. Writes
`cost.json` beside the model: user and system CPU seconds, wall seconds, peak RSS.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = ("accuracy_level=4", "block_size=32", "is_symmetric=true", "shared_embeddings=true")


def build(source: Path, target: Path) -> None:
    """Run the builder in this process."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    with tempfile.TemporaryDirectory(dir=target.parent) as cache:
        where = ("", str(source), str(target), "int4", "cpu", cache)
        create_model(*where, **parse_extra_options(*where, list(OPTIONS)))


def main() -> int:
    """Build and write down what it took."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    start_s = time.perf_counter()
    build(source, target)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    cost = {
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "wall_s": time.perf_counter() - start_s,
        "peak_rss_bytes": int(peak[1]) * 1024 if peak else used.ru_maxrss * 1024,
    }
    (target / "cost.json").write_text(json.dumps(cost) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
