"""The native export alone in a process of its own: what it costs and the model it makes.

    python -m benchmarks.export_cost PROFILE FOLDER

Writes FOLDER/model and FOLDER/tokenizer and prints one JSON object. The cost is that of the whole process from its
start (imports, opening and digest of the checkpoint, export), because that is what the build host must have; `stage_*`
is the export alone. Peak memory is the kernel's high-water mark since exec (ru_maxrss may still hold the parent's).
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import json
import resource
import sys
import time
from pathlib import Path

from edge.bench.memory import high_water_bytes
from edge.build.cache import default_cache
from edge.build.checkpoint import open_checkpoint
from edge.build.export import check_native, export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.quantise import QuantFormat
from edge.specs.profile import load_profile


def main() -> int:
    """Export the profile's model with round to nearest."""
    profile_path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    profile = load_profile(profile_path)
    quantisation = profile.quantisation
    checkpoint = open_checkpoint(profile.model, default_cache(), base_folder=profile_path.parent)
    check_native(checkpoint.config, checkpoint, profile.model.source)
    plan = ExportPlan(
        formats=uniform_formats(checkpoint.config, QuantFormat(4, quantisation.block_size, quantisation.symmetric)),
        head_format=QuantFormat(quantisation.head_bits, quantisation.block_size, True),
        context_tokens=profile.context_tokens,
    )
    model = folder / "model"
    model.mkdir(parents=True)
    before, start_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    export_native(checkpoint, plan, model)
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "user_s": after.ru_utime,
        "system_s": after.ru_stime,
        "wall_s": wall_s,
        "stage_user_s": after.ru_utime - before.ru_utime,
        "stage_system_s": after.ru_stime - before.ru_stime,
        "peak_rss_bytes": high_water_bytes() or after.ru_maxrss * 1024,
        "file_bytes": sum(path.stat().st_size for path in model.iterdir()),
        "decoder": checkpoint.config.to_json(),
    }
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    for name, data in checkpoint.tokenizer_files().items():
        (tokenizer / name).write_bytes(data)
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
