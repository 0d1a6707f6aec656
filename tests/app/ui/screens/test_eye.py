"""The eye's screen: OD left, OS right, each field of its own eye, at any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.presenters.differential import shared_differential
from edge.app.presenters.eye import EyePresenter
from edge.app.presenters.places import Link
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye, EyeSide, Presence, Ref
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import open_desk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.case_screen import SCALES, SIZES, cut_words, holds, out_of_sight, run


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An open patient with nothing found."""
    made = open_desk(tmp_path)
    yield made
    made.close()


def mount(ui: Driver, desk: Desk, **how: Any) -> Any:
    """The screen as the shell shows it."""
    from edge.app.ui.screens.eye import EyeScreen

    root = ui.mount(lambda: EyeScreen(EyePresenter(desk.workspace), desk.workspace), **how)
    root.show()
    ui.frame(4)
    return root


def fill(desk: Desk) -> None:
    """Both eyes with entries."""
    for eye, va, iop in ((Eye.OD, "20/200", 52), (Eye.OS, "20/25", 16)):
        for name, value in (
            ("va", va),
            ("iop_mmhg", iop),
            ("va_correction", "corrected"),
            ("iop_method", "goldmann"),
            ("pupil_mm", 6.0),
            ("pupil_reaction", "fixed"),
            ("rapd", Presence.PRESENT),
            ("slit_lamp.cornea", "corneal edema; Zebrawords"),
            ("fundus.disc", "optic disc swelling"),
        ):
            desk.workspace.edit(edits.set_eye_field, eye, name, value)


def cell(root: Any, eye: Eye, name: str) -> Any:
    """A cell of one eye."""
    return root.ids.exam._sides[eye].cells()[name]


def test_od_is_left_of_os(ui: Driver, desk: Desk) -> None:
    """Fails when the columns are swapped, anywhere."""
    root = mount(ui, desk)
    for name in ("va", "iop_mmhg", "rapd", "slit_lamp.cornea", "fundus.disc"):
        assert cell(root, Eye.OD, name).to_window(0, 0)[0] <= cell(root, Eye.OS, name).to_window(0, 0)[0]
        assert cell(root, Eye.OD, name).x < cell(root, Eye.OS, name).x
    heads = [head.text for head in reversed(root.ids.exam.ids.heads.children)]
    assert heads == ["OD  right eye", "OS  left eye"]


def test_every_cell_names_its_eye(ui: Driver, desk: Desk) -> None:
    """Fails when a field can be read without its side."""
    fill(desk)
    root = mount(ui, desk)
    for eye in (Eye.OD, Eye.OS):
        for name, one in root.ids.exam._sides[eye].cells().items():
            assert eye.value in ui.words(one), name


def test_acuity_dialog(ui: Driver, desk: Desk) -> None:
    """Fails when a line goes to the other eye, or notations do not convert."""
    root = mount(ui, desk)
    ui.tap(cell(root, Eye.OS, "va"))
    ui.frame(2)
    ui.tap(ui.find(text="20/40"))
    assert (root.presenter.side(Eye.OS).va, root.presenter.side(Eye.OD)) == ("20/40", EyeSide())
    ui.tap(ui.find(text="logMAR"))
    ui.frame(2)
    assert ui.find(text="0.30").presence == "present"
    ui.tap(ui.find(text="Done"))
    ui.frame(2)
    assert cell(root, Eye.OS, "va").value == "0.30"
    assert cell(root, Eye.OS, "va").same == "20/40 = 6/12 = 0.50 = logMAR 0.30"


def test_structure_dialog(ui: Driver, desk: Desk) -> None:
    """Fails when a finding or own words do not reach their structure and eye."""
    root = mount(ui, desk)
    box = cell(root, Eye.OD, "slit_lamp.cornea")
    box.dispatch("on_release")
    ui.frame(2)
    ui.tap(ui.find(text="corneal edema"))
    field = ui.find(label="Own words")
    field.ids.input.focus = True
    ui.type("folds")
    ui.tap(ui.find(text="Done"))
    ui.frame(2)
    assert box.words == "corneal edema; folds"
    assert root.presenter.side(Eye.OS) == EyeSide()
    box.dispatch("on_release")
    ui.frame(2)
    ui.tap(ui.find(text="Not examined"))
    ui.frame(2)
    assert box.words == ""


def test_method_dialog(ui: Driver, desk: Desk) -> None:
    """Fails when a choice goes to the other eye."""
    root = mount(ui, desk)
    cell(root, Eye.OS, "iop_method").dispatch("on_release")
    ui.frame(2)
    ui.tap(ui.find(text="iCare"))
    ui.frame(2)
    assert cell(root, Eye.OS, "iop_method").words == "iCare" and cell(root, Eye.OD, "iop_method").words == ""


def test_copy_asks_first(ui: Driver, desk: Desk) -> None:
    """Fails when an eye is overwritten without a question that names what is lost."""
    fill(desk)
    desk.workspace.edit(edits.set_eye_field, Eye.OS, "slit_lamp.cornea", "clear cornea")
    root = mount(ui, desk)
    ui.tap(root.ids.exam.ids.copy_eye)
    assert "Cornea: clear cornea" in ui.words(ui.window.children[0])
    ui.tap(ui.find(text="Cancel"))
    assert root.presenter.side(Eye.OS).slit_lamp == {"cornea": "clear cornea"}
    ui.tap(root.ids.exam.ids.copy_eye)
    ui.tap(ui.find(text="Copy"))
    assert root.presenter.side(Eye.OS).slit_lamp == {"cornea": "corneal edema; Zebrawords"}


def test_narrow_names_the_eye(ui: Driver, desk: Desk) -> None:
    """Fails when one eye is shown without its name, or the tab shows the other one's entries."""
    fill(desk)
    root = mount(ui, desk, size=(480, 900))
    pane = root.ids.exam
    assert not pane.paired and [head.text for head in pane.ids.heads.children] == ["OD  right eye"]
    next(tab for tab in pane.ids.tabs.children if tab.key == "OS").dispatch("on_release")
    ui.frame(3)
    assert [head.text for head in pane.ids.heads.children] == ["OS  left eye"]
    assert "20/25" in ui.words(pane) and "20/200" not in ui.words(pane)


def test_jump_lights_the_field(ui: Driver, desk: Desk) -> None:
    """Fails when a reason on another screen does not lead to its field here."""
    fill(desk)
    ranking = shared_differential(desk.workspace)
    ranking.refresh()
    ranking.jump(Link("IOP", Ref("eye", "OS.iop_mmhg")))
    root = mount(ui, desk)
    ui.until(lambda: cell(root, Eye.OS, "iop_mmhg").target.focused)
    assert not cell(root, Eye.OD, "iop_mmhg").target.focused


def test_rapd_in_both_is_questioned(ui: Driver, desk: Desk) -> None:
    """Fails when an impossible pair of entries stands without a word."""
    fill(desk)
    assert "RAPD is marked in both eyes" in ui.words(mount(ui, desk))


def test_rapd_goes_around_and_a_long_press_forgets_it(ui: Driver, desk: Desk) -> None:
    """Fails when the defect is marked in the other eye, or a slip cannot be taken back at once."""
    root = mount(ui, desk)
    chip = root.ids.exam._sides[Eye.OS].rapd
    for words in ("RAPD OS", "RAPD OS: no"):
        chip.dispatch("on_cycle")
        ui.frame(2)
        assert chip.text == words
    root.ids.exam.ids.scroll.show(chip)
    ui.frame(2)
    ui.tap(chip, hold=lambda: root.presenter.side(Eye.OS).rapd is Presence.UNKNOWN)
    assert root.presenter.side(Eye.OD) == EyeSide() and root.presenter.side(Eye.OS).rapd is Presence.UNKNOWN


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
def test_fits(ui: Driver, desk: Desk, size: tuple[int, int], scale: float) -> None:
    """Fails when a target is too small, out of sight, or a word is cut, in a size a tablet has."""
    from tests.app.ui.reach import too_near, too_small

    fill(desk)
    root = mount(ui, desk, size=size, scale=scale)
    assert too_small(ui, root) == []
    assert out_of_sight(ui, root, size[0]) == []
    assert cut_words(ui, root) == []
    if size[0] == 1280 and scale == 1.0:
        ui.resize((1280, 4000))
        ui.frame(4)
        assert too_near(ui, root) == []


def test_german(ui: Driver, desk: Desk) -> None:
    """Fails when a key shows instead of its words, or a word does not fit."""
    fill(desk)
    root = mount(ui, desk, language="de", scale=1.3)
    assert "eye." not in ui.words(root) and "Hornhautödem" in ui.words(root)
    assert cut_words(ui, root) == []


def test_lock_takes_every_word(ui: Driver, desk: Desk) -> None:
    """Fails when a widget still holds a patient's word after the lock."""
    fill(desk)
    root = mount(ui, desk)
    run(desk, ui, 0.2)
    words = ("Zebrawords", "edema", "20/200", "20/25", "52", "swelling", "fixed")
    assert holds(root, words)
    root.clear_text()
    root.hide()
    assert holds(root, words) == []
