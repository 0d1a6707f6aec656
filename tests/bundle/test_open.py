"""Opening: when these fail, a device runs a model that nobody signed, or not the one that was signed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundle_dummies import FILES, build, contents, fields
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.canonical import canonical_json
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import behaviour_digest
from edge.bundle.open import open_bundle
from edge.bundle.signing import MANIFEST_PURPOSE, SigningKey, Trust
from edge.errors import EdgeError, ExitStatus, ResourceError, UntrustedError


@dataclass(frozen=True)
class Device:
    """What a device says of itself."""

    arch: str = "x86_64"
    isa_features: tuple[str, ...] = ("avx", "avx2", "fma")


def refused(path: Path, trust: Trust, **more: object) -> EdgeError:
    """The one-line error with which a bundle is refused."""
    with pytest.raises(EdgeError) as caught:
        open_bundle(path, trust, **more)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return caught.value


def test_opens(finished: Path, trust: Trust, key: SigningKey) -> None:
    """If not: nothing runs at all."""
    bundle = open_bundle(finished, trust, device=Device())
    assert bundle.manifest.name == "notes"
    assert bundle.path == finished
    assert bundle.signer_fingerprint == key.fingerprint
    assert bundle.signer_name == "builder"
    assert bundle.bundle_digest == bundle.manifest.bundle_digest
    assert bundle.behaviour_digest == behaviour_digest(bundle.manifest)
    assert bundle.attestations == bundle.untrusted_attestations == ()
    assert bundle.files_checked
    assert bundle.attestation_for("pi") is None
    assert bundle.manifest.decoder_config.heads == 2


def test_opens_through_a_link(finished: Path, tmp_path: Path, trust: Trust) -> None:
    """If not: an installer cannot point `current` at a bundle."""
    (tmp_path / "current").symlink_to(finished)
    assert open_bundle(tmp_path / "current", trust).path == finished


NAMES = ["manifest.json", "signature", *sorted(FILES)]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(NAMES), where=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit(bundle: Path, trust: Trust, name: str, where: int, bit: int) -> None:
    """If not: a worn-out SD card or an attacker changes a dose and nobody is told."""
    path = bundle / name
    good = path.read_bytes()
    bad = bytearray(good)
    bad[where % len(bad)] ^= 1 << bit
    path.write_bytes(bad)
    try:
        error = refused(bundle, trust)
        assert error.status in (ExitStatus.BUNDLE, ExitStatus.UNTRUSTED)
        if name in ("manifest.json", "signature"):
            refused(bundle, trust, check_files=False)
    finally:
        path.write_bytes(good)
    open_bundle(bundle, trust)


@pytest.mark.parametrize("name", NAMES)
def test_missing_file(bundle: Path, trust: Trust, name: str) -> None:
    """If not: half a copy runs."""
    (bundle / name).unlink()
    for check_files in (True, False):
        error = refused(bundle, trust, check_files=check_files)
        assert error.status == (ExitStatus.UNTRUSTED if name == "signature" else ExitStatus.BUNDLE)


@pytest.mark.parametrize("name", ["notes.txt", "model/extra.bin", "tasks/note/more/x", ".hidden", "attestations/x.txt"])
def test_extra_file(bundle: Path, trust: Trust, name: str) -> None:
    """If not: a library or a prompt that nobody signed lies where the runtime looks."""
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_bytes(b"x")
    for check_files in (True, False):
        assert "does not belong" in str(refused(bundle, trust, check_files=check_files))


def test_extra_folder(bundle: Path, trust: Trust) -> None:
    """If not: the folder is not what was signed."""
    (bundle / "model" / "cache").mkdir()
    assert "folder 'model/cache' does not belong" in str(refused(bundle, trust))


def test_empty_attestations_folder_is_fine(bundle: Path, trust: Trust) -> None:
    """If not: a verify that was stopped makes its bundle unusable."""
    (bundle / "attestations").mkdir()
    (bundle / "attestations" / ".pi.000001.json.0123abcd.part").write_bytes(b"half")
    open_bundle(bundle, trust)


def test_longer_and_shorter_file(bundle: Path, trust: Trust) -> None:
    """If not: the fast path opens a truncated model."""
    for data in (FILES["model/decoder.onnx.data"][:-1], FILES["model/decoder.onnx.data"] + b"x"):
        (bundle / "model/decoder.onnx.data").write_bytes(data)
        assert "bytes instead of" in str(refused(bundle, trust, check_files=False))


def test_fast_path_skips_only_the_hashing(bundle: Path, trust: Trust) -> None:
    """If not: `check_files=False` means something else than its documentation says."""
    (bundle / "model/decoder.onnx").write_bytes(b"hparg")
    assert not open_bundle(bundle, trust, check_files=False).files_checked
    assert "'model/decoder.onnx' was changed" in str(refused(bundle, trust))
    assert isinstance(refused(bundle, Trust(), check_files=False), UntrustedError)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: (path.rename(path.with_name("y")), path.symlink_to("y")),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
@pytest.mark.parametrize("name", ["model/decoder.onnx", "manifest.json", "signature"])
def test_not_a_regular_file(bundle: Path, trust: Trust, name: str, spoil: Callable[[Path], object]) -> None:
    """If not: a link leads the runtime to another file after the check, or a pipe hangs it."""
    spoil(bundle / name)
    assert refused(bundle, trust).status == ExitStatus.BUNDLE


def test_linked_folder(bundle: Path, trust: Trust) -> None:
    """If not: the weights can be exchanged outside of the bundle."""
    (bundle / "model").rename(bundle.parent / "elsewhere")
    (bundle / "model").symlink_to(bundle.parent / "elsewhere")
    assert "link" in str(refused(bundle, trust))


def test_unsigned(bundle: Path, trust: Trust) -> None:
    """If not: anybody can hand out bundles."""
    (bundle / "signature").unlink()
    error = refused(bundle, trust)
    assert error.status == ExitStatus.UNTRUSTED
    assert "is not signed" in str(error)


def test_untrusted_key(finished: Path, key: SigningKey) -> None:
    """If not: any key will do. The line shows the fingerprint to compare."""
    error = refused(finished, Trust())
    assert error.status == ExitStatus.UNTRUSTED
    grouped = " ".join(key.fingerprint[at : at + 4] for at in (0, 4, 8, 12))
    assert grouped in str(error)
    assert "edge keys trust" in str(error)


def test_device_key_does_not_sign_bundles(bundle: Path, device_key: SigningKey, trust: Trust) -> None:
    """If not: a stolen tablet can sign a model for the whole fleet."""
    data = (bundle / "manifest.json").read_bytes()
    (bundle / "signature").write_bytes(device_key.sign(MANIFEST_PURPOSE, data).to_bytes())
    assert "trusted as a device key" in str(refused(bundle, trust))


def test_signature_of_another_purpose(bundle: Path, key: SigningKey, trust: Trust) -> None:
    """If not: something else that a builder once signed passes for a bundle."""
    data = (bundle / "manifest.json").read_bytes()
    (bundle / "signature").write_bytes(key.sign(b"", data).to_bytes())
    assert isinstance(refused(bundle, trust), UntrustedError)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"algorithm": "rsa"}, "algorithm 'rsa'"),
        ({"more": 1}, "key 'more'"),
        ({"signature": "!"}, "was changed"),
        ({"signature": ""}, "was changed"),
        ({"key": 7}, "was changed"),
    ],
)
def test_signature_file_is_strict(bundle: Path, trust: Trust, change: dict[str, object], says: str) -> None:
    """If not: a signature file of tomorrow is half understood."""
    value = json.loads((bundle / "signature").read_bytes()) | change
    (bundle / "signature").write_bytes(canonical_json(value))
    assert says in str(refused(bundle, trust))


def test_signed_but_unknown(tmp_path: Path, bundle: Path, key: SigningKey, trust: Trust) -> None:
    """If not: a good signature makes up for a feature or a version that this edge does not know."""
    for change in ({"required_features": ["telepathy-1"]}, {"schema_version": 2}, {"surprise": 1}):
        data = canonical_json(json.loads((bundle / "manifest.json").read_bytes()) | change)
        (bundle / "manifest.json").write_bytes(data)
        (bundle / "signature").write_bytes(key.sign(MANIFEST_PURPOSE, data).to_bytes())
        assert "not know" in str(refused(bundle, trust))
        (bundle / "manifest.json").unlink()
        shutil.copy(build(tmp_path / "again", key).path / "manifest.json", bundle)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        (Device(arch="aarch64"), "was built for linux (x86_64), this device is aarch64"),
        (Device(isa_features=("avx", "avx2")), "this device lacks fma"),
    ],
)
def test_wrong_target(finished: Path, trust: Trust, device: Device, says: str) -> None:
    """If not: the runtime dies of an illegal instruction in front of a patient."""
    assert says in str(refused(finished, trust, device=device))


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"x")])
def test_not_a_bundle(tmp_path: Path, trust: Trust, make: Callable[[Path], None]) -> None:
    """If not: a typing mistake ends in a traceback."""
    make(tmp_path / "x")
    assert refused(tmp_path / "x", trust).status == ExitStatus.BUNDLE


def test_not_readable(bundle: Path, trust: Trust) -> None:
    """If not: a bundle installed by another user ends in a traceback."""
    if os.getuid() == 0:
        # root may read everything, so a child without rights looks at the same folder.
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(65534)
                open_bundle(bundle, trust)
            except ResourceError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        return
    (bundle / "model/decoder.onnx").chmod(0)
    assert isinstance(refused(bundle, trust), ResourceError)


def test_opening_is_light(finished: Path, store: KeyStore) -> None:
    """If not: `edge run` misses its second before the prompt, or a device needs what only builders have."""
    code = (
        "import sys; from pathlib import Path; from edge.bundle.keys import KeyStore;"
        "from edge.bundle.open import open_bundle;"
        "trust = KeyStore(Path(sys.argv[2])).trust_store(); open_bundle(sys.argv[1], trust);"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", code, str(finished), str(store.home)]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    heavy = {"pydantic", "numpy", "onnx", "onnxruntime", "torch", "yaml", "jinja2", "cyclonedx", "rich", "tarfile"}
    assert heavy.isdisjoint(loaded)


def test_opening_writes_nothing(finished: Path, trust: Trust) -> None:
    """If not: a bundle on a read-only disk cannot be opened."""
    before = contents(finished.parent)
    open_bundle(finished, trust)
    assert contents(finished.parent) == before


def test_fields_are_all_used() -> None:
    """If not: the dummy bundle lacks a field that real ones have, and these tests see less than they claim."""
    from edge.bundle.writer import GIVEN

    assert set(fields()) == GIVEN
