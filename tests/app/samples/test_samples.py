"""Sample patients: one that does not load leaves whoever tries the app with an empty list."""

from __future__ import annotations

import itertools

import pytest

from edge.app.samples import load_sample, sample_names
from edge.clinical.encounter.checks import blocking
from edge.clinical.encounter.flags import flags
from edge.errors import InputError

NOW = "2026-01-01T10:00:00+00:00"


@pytest.mark.parametrize("name", sample_names())
def test_every_sample_loads(name: str) -> None:
    """Unknown findings, fields or vitals in a sample are found here, not at the bedside."""
    ids = itertools.count()
    made = load_sample(name, encounter_id="e", now=NOW, new_id=lambda: f"i{next(ids)}")
    assert made.patient.name and made.note is None and made.differential is None
    assert not [block for block in blocking(made) if block.code not in ("allergies", "nothing")]


def test_the_angle_closure_raises_its_flag() -> None:
    """The sample that shows what red flags are for must raise them."""
    ids = itertools.count()
    made = load_sample("angle-closure", encounter_id="e", now=NOW, new_id=lambda: f"i{next(ids)}")
    assert any(flag.rule_id.startswith(("very-high-iop", "acute-angle")) for flag in flags(made))


def test_unknown_sample() -> None:
    """One line instead of a traceback."""
    with pytest.raises(InputError):
        load_sample("nobody", encounter_id="e", now=NOW, new_id=str)
