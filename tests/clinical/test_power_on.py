"""The self-test's own eyes: a span that does not stand in its input, a case it does not know."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from edge.clinical.power_on import FolderSession, run_case, scored_cases, spans_hold
from edge.clinical.selftest import GoldenCase, golden_cases
from edge.errors import BundleError
from edge.runtime.session import Session

TEXT = "My left knee hurts."
SPAN = {"start": 3, "end": 12, "quote": "left knee"}


class _NoModel:
    """Stands for a session in cases that end before a model is asked."""

    folder = Path("nowhere")


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ({"sections": [{"lines": [{"evidence": [SPAN]}]}]}, True),
        ({}, True),
        ([SPAN, {"start": 0, "end": 2, "quote": "My"}], True),
        ([SPAN | {"quote": "left  knee"}], False),
        ([SPAN | {"end": 99}], False),
        ([SPAN | {"start": -1}], False),
        ([{"start": 5, "end": 5, "quote": ""}], False),
        ([{"start": "3", "end": 12, "quote": "left knee"}], False),
        ({"deep": ({"er": [SPAN | {"quote": "right eye"}]},)}, False),
    ],
)
def test_a_span_must_stand_where_it_says(value: Any, holds: bool) -> None:
    """If it fails, invented evidence passes the self-test."""
    assert spans_hold(value, TEXT) is holds


@pytest.mark.parametrize(
    "case", [{}, {"task": "note"}, {"task": "judge", "id": "x"}, {"task": "none", "candidates": None}]
)
def test_a_case_of_another_edge_is_one_line(case: dict[str, Any]) -> None:
    """If it fails, a damaged or future case ends in a traceback."""
    with pytest.raises(BundleError, match="not a valid golden clinical case"):
        run_case(_NoModel(), case)  # type: ignore[arg-type]


def test_scored_cases_lose_nothing_on_their_way_into_the_bundle() -> None:
    """If it fails, the device runs other cases than the task brings."""
    for task in ("differential", "ophthalmology", "judge"):
        for raw, case in zip(scored_cases(task), golden_cases(task), strict=True):
            assert (raw["task"], raw["input"], raw["answer"], raw["empty"]) == (
                case.task,
                case.text,
                case.answer,
                case.empty,
            )
            assert set(GoldenCase.__dataclass_fields__) - {"name", "text"} <= raw.keys()


def test_a_folder_session_has_all_that_a_session_has() -> None:
    """If it fails, something was added to Session.__init__ that the self-test's session does not have."""

    def assigned(kind: type) -> set[str]:
        tree = ast.parse(inspect.getsource(kind.__init__).replace("\n    ", "\n").strip())
        return {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        }

    assert assigned(Session) - {"bundle"} == assigned(FolderSession)
