"""`edge verify --device adb:SERIAL`: hand a bundle and a job to the installed app, wait, check what comes back."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edge.bench import on_device
from edge.bench.on_device import DeviceJob, Done
from edge.bench.remote import EXTRA_S, Proven, Say, accept, bundle_files, new_job
from edge.bench.runner import Progress, silent
from edge.bench.workload import Workload
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import ATTESTATIONS_FOLDER
from edge.bundle.open import OpenBundle, check_device
from edge.bundle.signing import grouped
from edge.device.reach.adb import AdbDevice
from edge.device.reach.plan import LocalFile
from edge.errors import ResourceError
from edge.files import sha256_file, write_atomic

POLL_S = 2.0


def verify_on_android(
    bundle: OpenBundle,
    device: AdbDevice,
    *,
    store: KeyStore,
    workload: Workload,
    threads: int | None = None,
    trust_builder: bool = False,
    progress: Progress = silent,
    say: Say = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Proven:
    """Prove an open bundle with the app on an Android device, and keep the signed result in the bundle.

    sleep, clock: between looks for the answer. Errors: as verify_on_board; ResourceError when the app does not answer
    in the workload's time.
    """
    check_device(bundle.manifest, device.facts(), device.address)
    job = new_job(bundle, store, workload, threads, trust_builder=trust_builder)
    say(f"device: {device.describe()}")
    copied = device.push(bundle_files(bundle), job.bundle, progress, keep=(f"{ATTESTATIONS_FOLDER}/",))
    say(f"copied: bundle {copied.sent_bytes / 1e6:.1f} MB; {copied.kept_files} files were there")
    folder = f"verify/{job.run}"
    with tempfile.TemporaryDirectory() as here:
        path = Path(here) / on_device.JOB
        write_atomic(path, json.dumps(job.to_json()).encode())
        device.push({on_device.JOB: LocalFile(path, sha256_file(path), path.stat().st_size)}, folder)
    try:
        device.start_verification(job.run)
        done = _wait(device, job, progress, sleep, clock)
        if done.status:
            raise done.error(device.address)
        if done.trusted_builder:
            say(f"the device now trusts the builder {grouped(job.builder.fingerprint)}")
        names = (on_device.RESULT, on_device.ATTESTATION, on_device.KEY)
        found = {name: device.read(f"{folder}/{name}") for name in names}
    finally:
        device.remove("verify", [job.run])
    missing = [name for name, data in found.items() if data is None]
    if missing:
        raise ResourceError(f"the app left no {missing[0]}", where=device.address, mend="run the command again")
    result, signed, key = (found[name] or b"" for name in names)
    return accept(bundle, store, device.address, result=result, signed=signed, name=done.attestation, key_pem=key)


def _wait(
    device: AdbDevice, job: DeviceJob, progress: Progress, sleep: Callable[[float], None], clock: Callable[[], float]
) -> Done:
    """The end of a job, looked for every POLL_S. Errors: ResourceError after the workload's time."""
    began_s, limit_s = clock(), job.workload.timeout_s + EXTRA_S
    while True:
        data = device.read(f"verify/{job.run}/{on_device.DONE}")
        if data is not None:
            return Done.from_bytes(data, device.address)
        waited_s = clock() - began_s
        if waited_s > limit_s:
            raise ResourceError(
                f"the app gave no result in {limit_s:.0f} s",
                where=device.address,
                mend="keep the phone awake with the app open, and run the command again",
            )
        progress("the app measures", waited_s / limit_s)
        sleep(POLL_S)
