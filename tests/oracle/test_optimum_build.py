"""A whole build of a family that edge has no graph for: profile to signed bundle to written tokens."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.build.cache import Cache
from edge.build.checkpoint import folder_digest
from edge.build.line import BuildResult, build_bundle
from edge.build.optimum_route import OptimumFacts
from edge.bundle.keys import KeyStore
from edge.errors import EdgeError, GateError, SpecError
from edge.runtime.optimum_engine import ENGINE_NAME, OptimumEngine
from edge.runtime.session import Session
from edge.runtime.text import Message
from tests.oracle.conftest import ROOT, oracle_python

pytestmark = pytest.mark.slow

TEXT = "Doctor: How is the eye today? Patient: It still hurts when I read, since Monday. Doctor: Any drops? "


@dataclasses.dataclass(frozen=True)
class Bench:
    """A folder with a profile, its model, texts and keys."""

    place: Path
    keys: KeyStore

    def build(self, out: str, **changes: Any) -> BuildResult:
        """Build the profile with some keys changed."""
        value = yaml.safe_load((ROOT / "profiles" / "reference-notes-int8.yaml").read_text(encoding="utf-8"))
        digest = folder_digest(self.place / "profiles" / "m")
        value |= {
            "name": "optimum-notes",
            "model": {"source": "hf:m", "sha256": digest, "license": "MIT"},
            "export": "optimum",
            "fidelity_text": {"text": "text", "tokens": 600},
            "context_tokens": 2048,
            "budgets": {"fidelity": {"mean_kl_max": 0.05, "top1_min": 0.8}},
        }
        path = self.place / "profiles" / f"{out}.yaml"
        path.write_text(yaml.safe_dump(value | changes), encoding="utf-8")
        key = self.keys.load_signing_key()
        return build_bundle(path, self.place / "build" / out, key, cache=Cache(self.place / "cache"))


@pytest.fixture(scope="module")
def bench(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    place = tmp_path_factory.mktemp("bench")
    shutil.copytree(ROOT / "targets", place / "targets")
    (place / "profiles" / "text").mkdir(parents=True)
    (place / "profiles" / "text" / "a.txt").write_text(TEXT * 9, encoding="utf-8")
    (place / "profiles" / "text" / "b.txt").write_text(TEXT[::-1] * 9, encoding="utf-8")
    shutil.copytree(gpt2, place / "profiles" / "m")
    keys = KeyStore(place / "home")
    keys.create("builder")
    return Bench(place, keys)


@pytest.fixture(autouse=True)
def other_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exporter lives."""
    monkeypatch.setenv("EDGE_OPTIMUM_PYTHON", str(oracle_python()))


def test_profile_to_tokens(bench: Bench) -> None:
    """The bundle opens with its key, says what it is, writes text, and carries no fp32 leftovers."""
    result = bench.build("a")
    bundle = result.bundle
    assert bundle.manifest.runtime["engine"] == ENGINE_NAME
    assert bundle.manifest.decoder["family"] == "gpt2"
    assert {"optimum", "torch", "transformers", "numpy"} <= set(bundle.manifest.tools)
    assert sorted(path.name for path in (bundle.path / "model").iterdir()) == ["model.onnx", "model.weights"]
    assert not (bundle.path / "model.fp32").exists()
    assert 0 < result.fidelity["mean_kl"]["mean"] < 0.05
    assert json.loads((bundle.path / "golden" / "cases.json").read_bytes())["cases"]
    with Session.open(bundle.path, threads=1, home=bench.place / "home") as session:
        assert isinstance(session.engine, OptimumEngine)
        written = session.write([Message("user", "What hurts?")], max_new_tokens=5)
    assert written.finished.prompt_tokens > 5
    assert written.finished.new_tokens == 5 or written.finished.reason == "stop"


def test_gate(bench: Bench, built: tuple[Path, OptimumFacts], monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that int8 cannot hold fails the build, and nothing is left that opens."""

    def made_before(_folder: Path, _scheme: str, out: Path, *, reference_folder: Path, **_: object) -> OptimumFacts:
        shutil.copytree(built[0] / "model", out)
        shutil.copytree(built[0] / "fp32", reference_folder)
        return built[1]

    # The same model was exported for the tests of the route: torch need not start once more.
    monkeypatch.setattr("edge.build.optimum_stages.build_with_optimum", made_before)
    budgets = {"fidelity": {"mean_kl_max": 1e-9}}
    with pytest.raises(GateError, match="mean KL"):
        bench.build("gate", budgets=budgets)
    assert [path.name for path in (bench.place / "build").glob("*gate*") if path.is_dir()] == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"quantisation": {"scheme": "int4"}}, "scheme 'int4' is not possible with export: optimum"),
        ({"context_tokens": 4096}, "the model has 2048 positions"),
        ({"adapter": {"path": "x", "sha256": "0" * 64}}, "cannot merge an adapter"),
    ],
)
def test_refused_profiles(bench: Bench, changes: dict[str, Any], part: str) -> None:
    """What this route cannot do is said at once."""
    with pytest.raises(SpecError, match=part) as caught:
        bench.build("refused", **changes)
    assert isinstance(caught.value, EdgeError)
    assert len(str(caught.value).splitlines()) == 1
