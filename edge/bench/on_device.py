"""The device's side of `edge verify --device`: a job in a folder, its outcome as files beside it.

    python -m edge.bench.on_device identity FOLDER/verify/RUN    this device's public key, before anything large comes
    python -m edge.bench.on_device verify FOLDER/verify/RUN      measure, judge, sign

The files are those of docs/devices.md; `done.json` comes last, also after an error. Progress is one JSON object a line
on standard output. The key that signs is the device's own, and so is the decision whom it trusts: a device that trusts
no builder yet trusts the one of its first job, every other one must be asked for.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bench.runner import Progress, silent
from edge.bench.verify import Verification, verify
from edge.bench.workload import Workload, parse_workload
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.bundle.signing import PublicKey, SigningKey, parse_public_pem
from edge.device.facts import local_facts
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError, UntrustedError
from edge.files import write_atomic

JOB_VERSION = 1
RUN = re.compile(r"[0-9a-f]{16}")
JOB, RESULT, ATTESTATION, KEY, DONE = "job.json", "result.json", "attestation.json", "key.pub.pem", "done.json"
MAX_JOB_BYTES = 1 << 20


@dataclass(frozen=True)
class DeviceJob:
    """What to prove. bundle: relative to the folder two above the job's; sequences: the last attestation's number
    by device class where the job comes from; builder: whose signature the bundle carries; trust_builder: trust it
    although this device trusts others."""

    run: str
    bundle: str
    bundle_digest: str
    workload: Workload
    threads: int | None
    sequences: dict[str, int]
    builder: PublicKey
    trust_builder: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "version": JOB_VERSION,
            "run": self.run,
            "bundle": self.bundle,
            "bundle_digest": self.bundle_digest,
            "workload": self.workload.to_json(),
            "threads": self.threads,
            "sequences": self.sequences,
            "builder": {"name": self.builder.name, "pem": self.builder.to_pem().decode()},
            "trust_builder": self.trust_builder,
        }


@dataclass(frozen=True)
class Done:
    """The end of a job. status: 0 when it was measured, whatever the verdict."""

    status: int
    what: str = ""
    where: str = ""
    mend: str = ""
    attestation: str = ""
    trusted_builder: bool = False

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps({"version": JOB_VERSION} | vars(self)).encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> Done:
        """Inverse of to_bytes. Errors: BundleError."""
        try:
            value = json.loads(data)
            if value.pop("version") != JOB_VERSION:
                raise ValueError
            return Done(**value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError("the device's answer is not known", where=where, mend="use one edge on both") from error

    def error(self, where: str) -> EdgeError:
        """What the device said, as the class that it was there."""
        kinds = {int(kind.status): kind for kind in EdgeError.__subclasses__()}
        kind = kinds.get(self.status, EdgeError)
        return kind(self.what, where=f"{where}: {self.where}" if self.where else where, mend=self.mend)


def read_job(folder: Path) -> DeviceJob:
    """The job of a folder. Errors: BundleError when it is none of this version."""
    try:
        value = json.loads((folder / JOB).read_bytes()[:MAX_JOB_BYTES])
        if value["version"] != JOB_VERSION or not RUN.fullmatch(value["run"]) or value["run"] != folder.name:
            raise ValueError
        bundle = str(value["bundle"])
        if any(part in ("", ".", "..") for part in bundle.split("/")):
            raise ValueError
        builder = value["builder"]
        key, _ = parse_public_pem(str(builder["pem"]).encode(), str(builder["name"]), "builder", JOB)
        return DeviceJob(
            run=value["run"],
            bundle=bundle,
            bundle_digest=str(value["bundle_digest"]),
            workload=parse_workload(value["workload"], JOB),
            threads=None if value["threads"] is None else int(value["threads"]),
            sequences={str(name): int(number) for name, number in value["sequences"].items()},
            builder=key,
            trust_builder=value["trust_builder"] is True,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError("is not a job of this edge", where=JOB, mend="use one edge on both sides") from error


def trust_builder(store: KeyStore, job: DeviceJob) -> bool:
    """Trust the job's builder where nobody is trusted yet, or where the job asks for it; whether that was new.

    Errors: UntrustedError where other builders are trusted.
    """
    known = store.trust_store()
    found = known.find(job.builder.fingerprint)
    if found is not None and found.role == "builder":
        return False
    if any(key.role == "builder" for key in known.keys) and not job.trust_builder:
        raise UntrustedError(
            f"this device trusts other builders and not {job.builder.fingerprint}",
            mend="compare the fingerprint and add --trust-builder",
        )
    name = job.builder.name
    taken = {info.name for info in store.list()}
    if name in taken:
        name = f"builder-{job.builder.fingerprint}"
    with tempfile.TemporaryDirectory() as place:
        pem = Path(place) / "builder.pem"
        pem.write_bytes(job.builder.to_pem())
        store.trust(pem, name, "builder")
    return True


def identity(folder: Path, store: KeyStore, say: Callable[[str], None] = lambda _: None) -> SigningKey:
    """This device's key, made at the first call; its public half is written into the job's folder."""
    key = own_key(store, None, "device", say)
    write_atomic(folder / KEY, key.public.to_pem())
    return key


Measure = Callable[[OpenBundle, SigningKey, DeviceJob, Progress], Verification]


def measure_here(bundle: OpenBundle, key: SigningKey, job: DeviceJob, progress: Progress) -> Verification:
    """Measure with this package's own engine process."""
    return verify(
        bundle, key=key, workload=job.workload, threads=job.threads, progress=progress, sequences=job.sequences
    )


def run_job(
    folder: Path,
    *,
    store: KeyStore | None = None,
    measure: Measure = measure_here,
    progress: Progress = silent,
    only_identity: bool = False,
) -> Done:
    """Do the job of a folder (`.../verify/RUN`) and write its files; never raises an EdgeError.

    measure: proves an opened bundle and signs into it; an app brings its own engine. only_identity: settle trust and
    write the key, nothing else.
    """
    try:
        store = store or KeyStore()
        job = read_job(folder)
        new = trust_builder(store, job)
        key = identity(folder, store)
        if only_identity:
            done = Done(0, trusted_builder=new)
        else:
            place = folder.parent.parent / job.bundle
            bundle = open_bundle(place, store.trust_store(), device=local_facts())
            if bundle.bundle_digest != job.bundle_digest:
                raise BundleError("is another bundle than the job's", where=job.bundle, mend="run the command again")
            found = measure(bundle, key, job, progress)
            if found.attestation_path is None:
                raise ResourceError("nothing was signed", where=job.bundle, mend="run the command again")
            write_atomic(folder / RESULT, found.result.to_bytes())
            write_atomic(folder / ATTESTATION, found.attestation_path.read_bytes())
            done = Done(0, attestation=found.attestation_path.name, trusted_builder=new)
    except EdgeError as error:
        done = Done(int(error.status), error.what, error.where, error.mend)
    except MemoryError:
        done = Done(int(ExitStatus.RESOURCE), "not enough memory on the device", "", "close other programs there")
    write_atomic(folder / DONE, done.to_bytes())
    return done


def say_progress(label: str, fraction: float) -> None:
    """One line for the other side."""
    print(json.dumps({"label": label, "fraction": round(fraction, 4)}), flush=True)


def read_progress(line: str) -> tuple[str, float] | None:
    """Inverse of say_progress; None for any other line."""
    try:
        value: Mapping[str, Any] = json.loads(line)
        return str(value["label"])[:80], min(1.0, max(0.0, float(value["fraction"])))
    except (ValueError, TypeError, KeyError):
        return None


def main(arguments: list[str]) -> int:
    """`identity FOLDER` or `verify FOLDER`; the exit code is that of done.json."""
    doing, folder = arguments
    return run_job(Path(folder), progress=say_progress, only_identity=doing == "identity").status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
