"""`edge verify`: the verdict is signed into the bundle, passed or not, and can be read back."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench_dummies import BUDGETS, SMALL, command, write_bundle

from edge.bench.verify import verify
from edge.bundle.open import open_bundle
from edge.errors import BundleError

pytestmark = pytest.mark.slow  # starts processes

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    return tmp_path / "root"


def test_a_good_bundle_is_attested(tmp_path: Path, root: Path) -> None:
    """If it fails, a proven bundle still counts as unverified."""
    _, store = write_bundle(tmp_path)
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    key = store.load_signing_key("device", role="device")
    found = verify(bundle, key=key, workload=SMALL, engine_command=command(), root=root, clock=lambda: NOW)
    assert found.passed, [check.line for check in found.checks]
    again = open_bundle(tmp_path / "bundle", store.trust_store())
    (attested,) = again.attestations
    assert attested == found.attestation
    assert attested.result_sha256 == found.result.sha256()
    assert attested.measured_at == "2026-11-21T10:00:00Z"
    by_name = {check.name: check for check in attested.checks}
    assert by_name["golden"].passed is True
    assert by_name["sustained"].passed is None
    assert by_name["decode_tokens_per_s_min"].detail.endswith(": pass")
    assert by_name["bandwidth"].passed is True


def test_a_failed_budget_is_attested_as_failed(tmp_path: Path, root: Path) -> None:
    """If it fails, a bundle that is too slow can be tried until somebody forgets to look."""
    _, store = write_bundle(tmp_path, budgets=BUDGETS | {"decode_tokens_per_s_min": 1e9})
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    key = store.load_signing_key("device", role="device")
    found = verify(bundle, key=key, workload=SMALL, engine_command=command(), root=root)
    assert not found.passed
    assert open_bundle(tmp_path / "bundle", store.trust_store()).attestations[0].verdict == "failed"


def test_a_wrong_model_fails_without_any_budget(tmp_path: Path, root: Path) -> None:
    """If it fails, a profile without budgets accepts a build that says something else."""
    _, store = write_bundle(tmp_path, budgets={})
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    found = verify(bundle, key=None, workload=SMALL, engine_command=command("wrong"), root=root)
    assert not found.passed
    assert found.attestation_path is None
    assert found.checks[0].name == "golden"
    assert not (tmp_path / "bundle/attestations").exists()


def test_unchecked_files_are_not_attested(tmp_path: Path) -> None:
    """If it fails, changed weights can be measured and signed for."""
    _, store = write_bundle(tmp_path)
    bundle = open_bundle(tmp_path / "bundle", store.trust_store(), check_files=False)
    with pytest.raises(BundleError, match="without checking"):
        verify(bundle, key=None, workload=SMALL, engine_command=command())
    assert not replace(bundle, files_checked=True).attestations


def test_an_emulated_device_is_a_class_of_its_own(tmp_path: Path, root: Path) -> None:
    """If it fails, what an emulator was seen to do counts for the real board, or its clock goes into a result."""
    _, store = write_bundle(tmp_path)
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    cpu = "processor: 0\nFeatures: fp asimd\nCPU implementer: 0x41\nCPU part: 0xd0b\nModel: Raspberry Pi 5 Rev 1.0\n"
    (root / "proc/cpuinfo").write_text(cpu)
    key = store.load_signing_key("device", role="device")
    found = verify(
        bundle, key=key, workload=SMALL, engine_command=command(), root=root, emulated="qemu", arch="aarch64"
    )
    assert found.passed, [check.line for check in found.checks]
    assert found.attestation.device_class == "emulated-aarch64-raspberry-pi-5"
    result = found.result
    assert result.environment.emulated == "qemu"
    assert result.environment.device["arch"] == "aarch64"
    assert (result.prefill, result.decode, result.sustained, result.bandwidth) == ((), (), None, None)
    assert result.energy.reason == result.temperature.reason == "not measured (emulated)"
    again = open_bundle(tmp_path / "bundle", store.trust_store())
    assert again.attestation_for("aarch64-raspberry-pi-5") is None
    assert again.attestation_for("emulated-aarch64-raspberry-pi-5") == found.attestation


def test_numbers_go_on_from_another_machine(tmp_path: Path, root: Path) -> None:
    """If it fails, a newer attestation of a board counts as older than one that only the host keeps."""
    _, store = write_bundle(tmp_path)
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    found = verify(bundle, key=None, workload=SMALL, engine_command=command(), root=root)
    name = found.attestation.device_class
    later = verify(bundle, key=None, workload=SMALL, engine_command=command(), root=root, sequences={name: 6, "x": 9})
    assert (found.attestation.sequence, later.attestation.sequence) == (1, 7)
