"""The result document: it survives a round trip, refuses other versions and holds no text of a patient."""

import json
from pathlib import Path

import pytest
from bench_dummies import make_result

from edge.bench.result import BenchResult, load_result
from edge.errors import BundleError


def test_round_trip(tmp_path: Path) -> None:
    """If it fails, a stored result is not the one that was measured."""
    result = make_result()
    path = tmp_path / "r.json"
    path.write_bytes(result.to_bytes())
    again = load_result(path)
    assert again == result
    assert again.to_bytes() == result.to_bytes()
    assert again.sha256() == result.sha256()


def test_nones_round_trip() -> None:
    """If it fails, a device without sensors cannot store its result."""
    result = make_result(sustained=None, prediction=None, bandwidth=None, golden=None, decode=(), prefill=())
    assert BenchResult.from_json(json.loads(result.to_bytes())) == result


def test_canonical_bytes() -> None:
    """If it fails, the digest in an attestation depends on who wrote the file."""
    data = make_result().to_bytes()
    assert data.endswith(b"}\n")
    value = json.loads(data)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == text.encode() + b"\n"


@pytest.mark.parametrize("version", [1, 4, "2", True, None])
def test_other_versions_are_refused(version: object) -> None:
    """If it fails, a future result is half understood."""
    value = make_result().to_json() | {"schema_version": version}
    with pytest.raises(BundleError, match="schema version"):
        BenchResult.from_json(value)


def test_unknown_key_and_broken_file(tmp_path: Path) -> None:
    """If it fails, an added key is ignored or a truncated file is a traceback."""
    with pytest.raises(BundleError, match="extra"):
        BenchResult.from_json(make_result().to_json() | {"extra": 1})
    (tmp_path / "r.json").write_bytes(make_result().to_bytes()[:100])
    with pytest.raises(BundleError, match="readable"):
        load_result(tmp_path / "r.json")
    with pytest.raises(BundleError, match="schema version None"):
        BenchResult.from_json([])


def test_not_a_number_is_never_written() -> None:
    """If it fails, a result holds NaN, which is no JSON."""
    with pytest.raises(ValueError, match="JSON"):
        make_result(duration_s=float("nan")).to_bytes()


def test_a_result_of_the_version_before_still_loads() -> None:
    """If it fails, results that are signed into bundles cannot be read, or their digest no longer holds."""
    value = make_result(schema_version=2).to_json()
    assert "emulated" not in value["environment"]
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    old = BenchResult.from_json(json.loads(data))
    assert old.environment.emulated == ""
    assert old.to_bytes() == data
    with pytest.raises(BundleError):
        BenchResult.from_json(value | {"environment": []})
