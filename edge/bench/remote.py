"""`edge verify --device`: bring a bundle and a runner to a device, have it proven there, and check what comes back.

Rules
- Everything that can refuse does so before anything large is copied: architecture, CPU features, key, space.
- The device signs with its own key and judges with the same code; here the signature, the digests, the bundle, the
  device class and the verdict itself (from the result, by the same gates) are checked before anything is kept.
- What is kept is the device's own attestation file, byte by byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.bench import gates, on_device
from edge.bench.on_device import DeviceJob, Done, read_progress
from edge.bench.pins import Pinned, check_pin, pin
from edge.bench.result import BenchResult
from edge.bench.runner import Progress, silent
from edge.bench.verify import EMULATED_CLASS, Verification, attested, verify
from edge.bench.workload import Workload
from edge.bundle import attestation
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import ATTESTATIONS_FOLDER, MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.open import OpenBundle, check_device
from edge.bundle.signing import PublicKey, SigningKey, Trust, grouped, parse_public_pem
from edge.device.reach.base import BoardFacts
from edge.device.reach.emulated import ARCH, EmulatedDevice
from edge.device.reach.plan import LocalFile, local_files
from edge.device.reach.session import BoardSession
from edge.device.wheels import edge_source, runtime_requirements, site_for
from edge.errors import BundleError, EdgeError, ResourceError, SourceError, UntrustedError
from edge.files import fsync_directory, resource_error, sha256_file, write_atomic

Say = Callable[[str], None]

RUNNER_SCRIPT = Path(__file__).parents[1] / "device" / "reach" / "runner.sh.txt"
EXTRA_S = 900.0  # beside the workload's own limit: opening, hashing, loading
# Speeds of an emulator say nothing, so as little as fills the memory that a task fills.
EMULATED_WORKLOAD = Workload(
    version=1,
    name="emulated",
    warmups=0,
    repetitions=1,
    load_repetitions=1,
    prompt_tokens=(64,),
    decode_contexts=(0,),
    decode_tokens=4,
    sustained_s=0.0,
    window_s=1.0,
    seed=20240,
    timeout_s=7200.0,
)


@dataclass(frozen=True)
class Runner:
    """What a device needs to prove a bundle. name: its folder below runner/; files: by name there."""

    name: str
    files: Mapping[str, LocalFile]


MakeRunner = Callable[[BoardFacts, str, Path, Say], Runner]


def make_runner(facts: BoardFacts, engine: str, cache: Path, say: Say) -> Runner:
    """The runner for a device's architecture and Python, made once and kept in the cache.

    Errors: SourceError, OfflineError, ResourceError of edge.device.wheels.
    """
    if facts.python is None:
        raise SourceError("the device has no Python", mend="see docs/devices.md")
    site = site_for(facts.arch, facts.python, runtime_requirements(engine), cache=cache, say=say)
    parts = {"site": site, "lib": edge_source(cache, say=say)}
    files = {
        f"{part}/{name}": file
        for part, folder in parts.items()
        for name, file in local_files(folder).items()
        if not name.startswith(".edge-")
    }
    script = RUNNER_SCRIPT
    files["edge"] = LocalFile(script, sha256_file(script), script.stat().st_size)
    return Runner(f"{engine}-cp{facts.python[0]}{facts.python[1]}", files)


def runner_cache() -> Path:
    """Where runners are kept: `EDGE_CACHE`, or the user's cache folder of edge."""
    if chosen := os.environ.get("EDGE_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("edge"))


@dataclass(frozen=True)
class Proven:
    """What came back. pinned: the key that signed, and whether it is new here."""

    verification: Verification
    pinned: Pinned


def new_job(
    bundle: OpenBundle, store: KeyStore, workload: Workload, threads: int | None, *, trust_builder: bool = False
) -> DeviceJob:
    """The job of a bundle for any device."""
    builder = store.trust_store().find(bundle.signer_fingerprint)
    if builder is None:
        raise UntrustedError("its builder is not trusted here", where=str(bundle.path), mend="`edge keys trust` it")
    sequences: dict[str, int] = {}
    for one in bundle.attestations:
        sequences[one.device_class] = max(sequences.get(one.device_class, 0), one.sequence)
    return DeviceJob(
        run=secrets.token_hex(8),
        bundle=f"bundles/{bundle.bundle_digest}",
        bundle_digest=bundle.bundle_digest,
        workload=workload,
        threads=threads,
        sequences=sequences,
        builder=builder,
        trust_builder=trust_builder,
    )


def bundle_files(bundle: OpenBundle) -> dict[str, LocalFile]:
    """The files of a bundle to have on a device; the digests are those that were checked when it was opened."""
    files = {
        entry.path: LocalFile(bundle.path / entry.path, entry.sha256, entry.size_bytes)
        for entry in bundle.manifest.files
    }
    for name in (MANIFEST_NAME, SIGNATURE_NAME):
        path = bundle.path / name
        files[name] = LocalFile(path, sha256_file(path), path.stat().st_size)
    return files


def verify_on_board(
    bundle: OpenBundle,
    device: BoardSession,
    address: str,
    *,
    store: KeyStore,
    workload: Workload,
    threads: int | None = None,
    trust_builder: bool = False,
    cache: Path | None = None,
    progress: Progress = silent,
    say: Say = lambda _: None,
    runner_for: MakeRunner = make_runner,
) -> Proven:
    """Prove an open bundle on a device that has Python, and keep the signed result in the bundle.

    Errors: BundleError (wrong device), ResourceError (busy, cut off, no space), UntrustedError (key), and whatever
    the device itself says, each with the device's address.
    """
    facts = device.facts()
    check_device(bundle.manifest, facts, address)
    device.open()
    job = new_job(bundle, store, workload, threads, trust_builder=trust_builder)
    say(f"device: {device.describe()}")
    progress("make the runner", 0.0)
    engine = str(bundle.manifest.runtime.get("engine", "onnxruntime"))
    runner = runner_for(facts, engine, cache or runner_cache(), say)
    folder, place = f"verify/{job.run}", f"runner/{runner.name}"
    with tempfile.TemporaryDirectory() as here:
        job_path = Path(here) / on_device.JOB
        write_atomic(job_path, json.dumps(job.to_json()).encode())
        job_file = LocalFile(job_path, sha256_file(job_path), job_path.stat().st_size)
        device.push({f"{job.run}/{on_device.JOB}": job_file}, "verify")
    sent = device.push(runner.files, place, progress)
    known = _do(device, place, "identity", job, address, facts.folder, progress)
    if known.trusted_builder:
        say(f"the device now trusts the builder {grouped(job.builder.fingerprint)}")
    check_pin(store, address, _public(device.read(f"{folder}/{on_device.KEY}"), address))
    copied = device.push(bundle_files(bundle), job.bundle, progress, keep=(f"{ATTESTATIONS_FOLDER}/",))
    say(
        f"copied: runner {sent.sent_bytes / 1e6:.1f} MB, bundle {copied.sent_bytes / 1e6:.1f} MB; "
        f"{sent.kept_files + copied.kept_files} files were there"
    )
    done = _do(device, place, "verify", job, address, facts.folder, progress)
    names = (on_device.RESULT, on_device.ATTESTATION, on_device.KEY)
    result, signed, key = (device.read(f"{folder}/{name}") for name in names)
    device.remove("verify", [job.run])
    return accept(bundle, store, address, result=result, signed=signed, name=done.attestation, key_pem=key)


def _do(
    device: BoardSession, place: str, doing: str, job: DeviceJob, address: str, root: str, progress: Progress
) -> Done:
    """One step of the device's side. Errors: as the device says it."""
    script, folder = f"{root}/{place}/edge", f"{root}/verify/{job.run}"

    def line(text: str) -> None:
        told = read_progress(text)
        if told is not None:
            progress(*told)

    ended = device.run(
        ["/bin/sh", script, "edge.bench.on_device", doing, folder],
        {"EDGE_PYTHON": device.python},
        job.workload.timeout_s + EXTRA_S,
        line,
    )
    where = f"verify/{job.run}/{on_device.DONE}"
    try:
        done = Done.from_bytes(device.read(where), address)
    except ResourceError as error:
        last = [one.strip() for one in ended.stderr.splitlines() if one.strip()][-1:] or [""]
        raise EdgeError(
            f"the runner ended with {ended.returncode} ({last[0][:160]})", where=address, mend="run the command again"
        ) from error
    device.remove("verify", [f"{job.run}/{on_device.DONE}"])
    if done.status:
        raise done.error(address)
    return done


def _public(pem: bytes, address: str) -> PublicKey:
    """The device's key. Errors: UntrustedError when it is none."""
    try:
        key, role = parse_public_pem(pem, "device", "device", address)
    except EdgeError as error:
        raise UntrustedError("gave no device key", where=address, mend="use one edge on both sides") from error
    if role != "device":
        raise UntrustedError(f"gave a {role} key", where=address, mend="use one edge on both sides")
    return key


def accept(
    bundle: OpenBundle, store: KeyStore, address: str, *, result: bytes, signed: bytes, name: str, key_pem: bytes
) -> Proven:
    """Check what a device sent and keep its attestation in the bundle.

    Errors: UntrustedError for a key or a signature that is not the device's; BundleError for a result that is of
    another bundle, of another device class, does not have the signed digest, or does not lead to the signed verdict.
    """
    key = _public(key_pem, address)
    check_pin(store, address, key)
    said = attestation.verify_attestation(
        signed,
        Trust((key,)),
        bundle_digest=bundle.bundle_digest,
        behaviour_digest=bundle.behaviour_digest,
        where=address,
    )
    if said is None:
        raise UntrustedError("sent an attestation by another key than its own", where=address, mend="do not trust it")
    found, checks = _agreeing(bundle, said, result, address)
    if name != f"{said.device_class}.{said.sequence:06d}.{key.fingerprint[:8]}.json":
        raise BundleError("the attestation has another name than it should", where=address, mend="run it again")
    pinned = pin(store, address, key)
    path = bundle.path / ATTESTATIONS_FOLDER / name
    try:
        path.parent.mkdir(exist_ok=True)
        fsync_directory(bundle.path)
    except OSError as error:
        raise resource_error(error, str(path.parent)) from error
    write_atomic(path, signed)
    return Proven(Verification(found, checks, said, path), pinned)


def _agreeing(
    bundle: OpenBundle, said: attestation.Attestation, data: bytes, address: str
) -> tuple[BenchResult, tuple[gates.Check, ...]]:
    """The result and the verdict that follows from it, when the attestation says the same."""
    mend = "run the same command again"
    if hashlib.sha256(data).hexdigest() != said.result_sha256:
        raise BundleError("sent another result than it signed", where=address, mend=mend)
    try:
        result = BenchResult.from_json(json.loads(data), address)
    except ValueError as error:
        raise BundleError("sent a result that is no JSON", where=address, mend=mend) from error
    if (result.bundle.bundle_digest, result.bundle.behaviour_digest) != (
        bundle.bundle_digest,
        bundle.behaviour_digest,
    ):
        raise BundleError("measured another bundle", where=address, mend=mend)
    if said.device_class != result.environment.device.get("device_class") or result.environment.emulated:
        raise BundleError("signed for another device class than it measured on", where=address, mend=mend)
    if said.device_class.startswith(EMULATED_CLASS):
        raise BundleError("signed for an emulated device", where=address, mend=mend)
    fidelity = result.fidelity.as_checked() if result.fidelity is not None else None
    checks = gates.check_all(bundle.manifest.profile.get("budgets") or {}, result, fidelity)
    if tuple(attested(check) for check in checks) != said.checks:
        raise BundleError("its verdict does not follow from its result", where=address, mend="use one edge on both")
    return result, checks


def verify_emulated(
    bundle: OpenBundle,
    device: EmulatedDevice,
    *,
    key: SigningKey | None,
    workload: Workload = EMULATED_WORKLOAD,
    threads: int | None = None,
    progress: Progress = silent,
) -> Verification:
    """Prove an open bundle on an emulated device: the engine runs there, everything else here.

    key: of this machine, which vouches for what it emulated. Errors: as check_device and verify.
    """
    check_device(bundle.manifest, device.facts(), device.address)
    return verify(
        bundle,
        key=key,
        workload=workload,
        progress=progress,
        engine_command=device.engine_command(),
        threads=threads,
        root=device.root,
        emulated=device.words,
        arch=ARCH,
    )
