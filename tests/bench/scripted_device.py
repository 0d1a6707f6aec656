"""The device's side of a verification with the scripted engine: `scripted_device.py FAULT identity|verify FOLDER`.

fault: of scripted_worker, or what a device does wrong: "other-result", "other-key", "quiet", "crash".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from edge.bench import on_device
from edge.bench.on_device import DeviceJob, run_job
from edge.bench.runner import Progress
from edge.bench.verify import Verification, verify
from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey

SCRIPT = Path(__file__).with_name("scripted_worker.py")


def small_root(root: Path) -> Path:
    """A device with 128 MiB free, so that its bandwidth is measured with small buffers."""
    (root / "proc").mkdir(parents=True, exist_ok=True)
    (root / "proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    return root


def main(fault: str, doing: str, folder: Path) -> int:
    def measure(bundle: OpenBundle, key: SigningKey, job: DeviceJob, progress: Progress) -> Verification:
        command = [sys.executable, str(SCRIPT), fault if fault in ("wrong", "killed", "hang") else ""]
        return verify(
            bundle,
            key=key,
            workload=job.workload,
            threads=job.threads,
            engine_command=command,
            progress=progress,
            root=small_root(folder.parent.parent.parent / "root"),
            sequences=job.sequences,
        )

    if fault == "crash" and doing == "verify":
        raise RuntimeError("a bug of ours")
    status = run_job(folder, measure=measure, progress=on_device.say_progress, only_identity=doing == "identity").status
    if doing == "verify" and fault == "other-result":
        path = folder / on_device.RESULT
        value = json.loads(path.read_bytes())
        value["duration_s"] = 0.5
        path.write_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    if doing == "verify" and fault == "quiet":
        (folder / on_device.DONE).unlink()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
