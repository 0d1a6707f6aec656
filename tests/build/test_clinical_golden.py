"""golden/clinical.json: made through the real tasks on a model that knows nothing, held on the device later."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from edge.bench.clinical_gate import load_clinical, run_self_test
from edge.build.clinical_golden import clinical_cases, make_clinical_golden
from edge.build.tasks import TASKS, task_files
from edge.clinical.power_on import NOT_AS_BUILT, FolderSession, run_case
from edge.errors import GateError
from edge.runtime.text import ChatTokenizer
from tests.tiny import engine, export, tiny_source, write_tokenizer

CONTEXT_TOKENS = 2048


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderSession]:
    """A bundle's folder as the build has it before it is sealed."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "tasks").mkdir()
    (folder / "golden").mkdir()
    for task in TASKS:
        for name, data in task_files(task).items():
            (folder / "tasks" / name).write_bytes(data)
    tokenizer = ChatTokenizer(write_tokenizer(folder / "tokenizer"))
    runs = engine(export(folder / "model", tiny_source(), context_tokens=CONTEXT_TOKENS), context_tokens=CONTEXT_TOKENS)
    with FolderSession(folder, runs, tokenizer) as opened:
        yield opened


@pytest.fixture(scope="module")
def golden(session: FolderSession) -> bytes:
    data, _ = make_clinical_golden(session, ["note", "judge"])
    return data


def test_every_task_has_cases_of_our_own() -> None:
    """If it fails, a task is shipped that nothing tests where it runs."""
    for task in TASKS:
        cases = clinical_cases([task])
        assert cases
        assert len({case["id"] for case in cases}) == len(cases)
    assert {case["task"] for case in clinical_cases(["note"])} == {"note"}
    assert clinical_cases([]) == []


def test_only_what_is_the_same_everywhere_is_recorded(session: FolderSession, golden: bytes) -> None:
    """If it fails, two build hosts write two bundles: what a model wrote is not for the bundle."""
    value = json.loads(golden)
    note = [case for case in value["cases"] if case["task"] == "note"]
    assert [set(case["expected"]) for case in note] == [{"red_flags", "notices"}] * len(note)
    assert "sha256" not in golden.decode()
    assert make_clinical_golden(session, ["note", "judge"])[0] == golden


def test_the_device_holds_what_the_build_recorded(session: FolderSession, golden: bytes) -> None:
    """If it fails, a bundle's own build does not pass its self-test."""
    (session.folder / "golden" / "clinical.json").write_bytes(golden)
    asked = load_clinical(session.folder / "golden")
    found = run_self_test(asked, session.folder, session.engine, session.tokenizer, 256, lambda _: None)
    assert found.passed, found.reason
    assert all(len(case.output_sha256) == 64 for case in found.cases if case.task == "note")


def test_other_rules_fail_the_case_and_a_broken_case_fails_the_build(
    session: FolderSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a rule can change between the build and the device and nobody is told."""
    case = clinical_cases(["note"])[0]
    changed = case | {"expected": {"red_flags": ["none-such"], "notices": []}}
    assert run_case(session, changed).reason == NOT_AS_BUILT
    monkeypatch.setattr("edge.build.clinical_golden.clinical_cases", lambda _: [changed])
    with pytest.raises(GateError, match="clinical self-test: rules decide otherwise"):
        make_clinical_golden(session, ["note"])
