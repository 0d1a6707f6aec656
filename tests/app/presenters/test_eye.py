"""The eye's presenter: a value belongs to its eye, and nothing crosses over unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.app.i18n import translator
from edge.app.presenters.eye import EyePresenter, EyeView, SideView
from edge.app.presenters.places import Jump
from edge.app.settings import VA_NOTATIONS
from edge.clinical.encounter.eye_fields import eye_fields
from edge.clinical.encounter.model import Eye, EyeSide, Presence, Ref
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import open_desk


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An open patient with nothing found."""
    made = open_desk(tmp_path)
    yield made
    translator.language = "en"
    made.close()


def see(presenter: EyePresenter) -> EyeView:
    """The snapshot now."""
    presenter.refresh()
    return presenter.view


def side(presenter: EyePresenter, eye: Eye) -> SideView:
    """One column."""
    return next(one for one in see(presenter).sides if one.eye is eye)


def test_od_comes_first(desk: Desk) -> None:
    """Swapped columns are swapped eyes."""
    view = see(EyePresenter(desk.workspace))
    assert [one.title for one in view.sides] == ["OD  right eye", "OS  left eye"]


def test_nothing_is_entered_in_advance(desk: Desk) -> None:
    """A normal fundus that nobody looked at is the classic false record."""
    for one in see(EyePresenter(desk.workspace)).sides:
        assert (one.va, one.iop.value, one.pupil.value, one.rapd) == ("", "", "", Presence.UNKNOWN)
        assert all(not part.text for part in (*one.slit_lamp, *one.fundus))


def test_each_edit_stays_in_its_eye(desk: Desk) -> None:
    """Laterality is the one thing that must never slip."""
    presenter = EyePresenter(desk.workspace)
    presenter.choose_va(Eye.OS, "20/40")
    presenter.measures.enter("iop_os", "52")
    presenter.choose(Eye.OS, "iop_method", "goldmann")
    presenter.cycle_rapd(Eye.OS)
    for structure in eye_fields().values():
        presenter.pick(Eye.OS, structure.field, structure.choices[1].id)
    assert presenter.side(Eye.OD) == EyeSide()
    assert presenter.side(Eye.OS).iop_mmhg == 52 and presenter.side(Eye.OS).rapd is Presence.PRESENT


def test_acuity_in_every_notation(desk: Desk) -> None:
    """The same line reads the same however it is written."""
    presenter = EyePresenter(desk.workspace)
    presenter.choose_va(Eye.OD, "20/40")
    shown = {}
    for notation in VA_NOTATIONS:
        presenter.choose_notation(notation)
        shown[notation] = side(presenter, Eye.OD).va
    assert shown["20ft"] == "20/40" and shown["6m"] == "6/12" and shown["logmar"] == "0.30"
    assert side(presenter, Eye.OD).va_same == "20/40 = 6/12 = 0.50 = logMAR 0.30"
    assert side(presenter, Eye.OD).va_key == "20/40"


def test_below_the_chart(desk: Desk) -> None:
    """Hand motion has no number; none may be made up."""
    presenter = EyePresenter(desk.workspace)
    presenter.choose_va(Eye.OD, "HM")
    one = side(presenter, Eye.OD)
    assert (one.va, one.va_key, one.va_same) == ("HM", "HM", "below the chart")
    presenter.choose_va(Eye.OD, "")
    assert side(presenter, Eye.OD).va == ""


def test_a_second_tap_takes_a_choice_back(desk: Desk) -> None:
    """A slip must be undone where it was made."""
    presenter = EyePresenter(desk.workspace)
    presenter.choose(Eye.OD, "pupil_reaction", "fixed")
    presenter.choose(Eye.OD, "pupil_reaction", "fixed")
    assert not any(one.selected for one in side(presenter, Eye.OD).reaction)


def test_rapd_in_both_eyes_is_questioned(desk: Desk) -> None:
    """A relative defect cannot be in both."""
    presenter = EyePresenter(desk.workspace)
    presenter.cycle_rapd(Eye.OD)
    assert see(presenter).warning == ""
    presenter.cycle_rapd(Eye.OS)
    assert "relative" in see(presenter).warning
    presenter.forget_rapd(Eye.OS)
    assert see(presenter).warning == ""


def test_picks_and_own_words(desk: Desk) -> None:
    """Normal and a finding exclude each other; own words stay beside the picked ones."""
    presenter = EyePresenter(desk.workspace)
    cornea = eye_fields()["slit_lamp.cornea"]
    presenter.pick(Eye.OD, cornea.field, cornea.normal.id)
    presenter.pick(Eye.OD, cornea.field, "cornea-oedema")
    presenter.write_own(Eye.OD, cornea.field, "Descemet folds; central")
    part = next(one for one in side(presenter, Eye.OD).slit_lamp if one.key == cornea.field)
    assert part.text == "corneal edema; Descemet folds, central"
    assert part.own == "Descemet folds, central" and not part.normal
    presenter.write_own(Eye.OD, cornea.field, "")
    part = next(one for one in side(presenter, Eye.OD).slit_lamp if one.key == cornea.field)
    assert part.text == "corneal edema"
    presenter.clear(Eye.OD, cornea.field)
    assert presenter.side(Eye.OD).slit_lamp == {}


def test_copy_says_what_it_overwrites(desk: Desk) -> None:
    """A copied finding that was never seen is a false record: it is asked, named, and numbers are left out."""
    presenter = EyePresenter(desk.workspace)
    assert not see(presenter).copy.possible
    presenter.measures.enter("iop_od", "52")
    presenter.pick(Eye.OD, "slit_lamp.cornea", "cornea-oedema")
    presenter.pick(Eye.OS, "slit_lamp.cornea", "cornea-normal")
    view = see(presenter)
    assert view.copy.possible and view.copy.lost == ("Cornea: clear cornea",)
    presenter.copy()
    assert presenter.side(Eye.OS).slit_lamp == {"cornea": "corneal edema"}
    assert presenter.side(Eye.OS).iop_mmhg is None
    presenter.undo()
    assert presenter.side(Eye.OS).slit_lamp == {"cornea": "clear cornea"}


def test_german_words_english_record(desk: Desk) -> None:
    """The ranking reads English whatever the screen says."""
    translator.language = "de"
    presenter = EyePresenter(desk.workspace)
    presenter.pick(Eye.OD, "slit_lamp.cornea", "cornea-oedema")
    assert next(p for p in side(presenter, Eye.OD).slit_lamp if p.key == "slit_lamp.cornea").text == "Hornhautödem"
    assert presenter.side(Eye.OD).slit_lamp == {"cornea": "corneal edema"}


def test_pressure_has_a_grade_in_words(desk: Desk) -> None:
    """Colour alone is invisible to one man in twelve."""
    presenter = EyePresenter(desk.workspace)
    for typed, word in (("52", "critical"), ("26", "high"), ("6", "low"), ("16", "")):
        presenter.measures.enter("iop_od", typed)
        assert side(presenter, Eye.OD).iop.word == word


def test_a_jump_lights_its_field(desk: Desk) -> None:
    """A reason leads to the field that it rests on."""
    presenter = EyePresenter(desk.workspace)
    presenter.reveal(Jump(Ref("eye", "OS.iop_mmhg"), "", 1))
    assert (see(presenter).lit, see(presenter).lit_number) == ("OS.iop_mmhg", 1)


def test_no_patient_no_columns(desk: Desk) -> None:
    """After closing, no field of the last patient stays."""
    presenter = EyePresenter(desk.workspace)
    presenter.choose_va(Eye.OD, "20/40")
    desk.workspace.close()
    assert see(presenter) == EyeView()


def test_no_patient_word_in_reprs(desk: Desk) -> None:
    """A view in a traceback must not tell of the patient."""
    presenter = EyePresenter(desk.workspace)
    presenter.write_own(Eye.OD, "slit_lamp.cornea", "Secretword")
    presenter.choose_va(Eye.OD, "20/63")
    assert "Secretword" not in repr(see(presenter)) and "20/63" not in repr(see(presenter))
