"""The clinical gate from a profile to a signed attestation, by the real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import ExitStatus
from tests.e2e.world import World, built_world

pytestmark = pytest.mark.slow  # builds and measures

CLINICAL = {"suite": "differential", "margin": 0.2, "cases_min": 8}


def test_a_bundle_is_held_to_its_source_and_to_its_self_test(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """If not: a build that does its task worse than its source, or breaks its promises, is attested as good."""
    world = built_world(tmp_path_factory.mktemp).copy(tmp_path / "world")
    world.profile("gated", tasks=["note", "differential"], budgets={"clinical": CLINICAL})
    world.build("gated").ok()
    bundle = world.root / "out/gated"
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {entry["path"] for entry in manifest["files"]}
    assert {"golden/clinical.json", "golden/suite.json", "tasks/note.lark", "tasks/differential.schema.json"} <= files
    assert "tasks-2" in manifest["required_features"]
    said = world.verify("out/gated", "--json", "result.json", "--html", "report.html").ok()
    assert "differential suite, build minus fp32 source, lower bound" in said.out
    assert "clinical self-test: pass" in said.out
    result = json.loads((world.root / "result.json").read_text())
    assert len(result["suite"]["ids"]) >= 8
    assert not any(case["reason"] for case in result["self_test"]["cases"])
    assert "share of the right option in" in (world.root / "report.html").read_text()
    (attestation,) = open_bundle(bundle, KeyStore(world.root / "home").trust_store()).attestations
    checks = {check.name: check for check in attestation.checks}
    assert checks["clinical"].passed is True
    assert "difference" in checks["clinical"].detail
    assert checks["clinical_golden"].passed is True


def test_a_suite_too_small_for_its_budget_ends_the_build(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """If not: a gate is built that can never pass, and nobody is told before the device."""
    world: World = built_world(tmp_path_factory.mktemp).copy(tmp_path / "world")
    world.profile("gated", budgets={"clinical": {"suite": "note", "cases_min": 900}})
    world.build("gated").fails(ExitStatus.SOURCE, "its budget wants 900", "cases_min")
    assert not (world.root / "out/gated").exists()
