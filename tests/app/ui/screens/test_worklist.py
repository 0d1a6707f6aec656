"""The worklist on the screen: rows, search, preview, form, delete; and what is left after a lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.runs import Streaming
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye, FoundItem, Patient, Presence
from edge.clinical.encounter.summary import Summary
from tests.app.presenters.bedside_desk import ANA, BEN, Desk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.checks_of_screens import all_of, past_the_edge, small_targets, words_in

SIZES = [(1280, 800), (800, 1280), (1024, 600)]
SECRETS = ("MORALES", "4821", "OKAFOR", "sulfa", "typed secret", "Bed 12", "Bett 12")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()


def painful_eye(desk: Desk) -> None:
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Sudden eye pain", Presence.PRESENT, Eye.OD))
    desk.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 52.0)


def screen(ui: Driver, desk: Desk, **options: Any) -> Any:
    from edge.app.presenters.worklist import WorklistPresenter
    from edge.app.ui.screens.worklist import WorklistScreen

    def make() -> Any:
        made = WorklistScreen(WorklistPresenter(desk.workspace), desk.workspace)
        made.went = []
        made.go = made.went.append
        return made

    root = ui.mount(make, **options)
    root.show()
    desk.settle()
    ui.frame(6)
    return root


def row(ui: Driver, name: str) -> Any:
    from edge.app.ui.screens.worklist_parts import WorklistRow

    return next(w for w in ui.walk(ui.root) if isinstance(w, WorklistRow) and w.name == name)


def test_tap_looks_and_the_second_tap_opens(ui: Driver, desk: Desk) -> None:
    """A tap on a row shows that visit and no other; the second one opens it."""
    desk.add(ANA, each=lambda: painful_eye(desk))
    desk.add(BEN)
    root = screen(ui, desk)
    ui.tap(row(ui, "MORALES, Ana"))
    desk.settle()
    ui.frame(4)
    words = ui.words(root)
    assert "sulfa" in words and "Very high eye pressure with pain" in words and desk.workspace.encounter is None
    ui.tap(row(ui, "MORALES, Ana"))
    assert root.went == ["exam"] and desk.workspace.encounter is not None
    assert desk.workspace.encounter.patient.name == "MORALES, Ana"


def test_search_follows_each_letter(ui: Driver, desk: Desk) -> None:
    """Typing leaves the rows that fit; no match says what to do, one tap shows all again."""
    desk.add(ANA, BEN)
    root = screen(ui, desk)
    root.ids.search.ids.input.focus = True
    ui.type("oka")
    ui.frame(3)
    assert [data["name"] for data in root._rows.data] == ["OKAFOR, Ben"]
    ui.type("zz")
    ui.frame(3)
    assert tr("worklist.no_match_title") in ui.words(root)
    root.ids.search.ids.input.focus = False
    ui.tap(ui.find(text=tr("worklist.show_all")))
    ui.frame(3)
    assert len(root._rows.data) == 2 and root.ids.search.text == ""


def test_new_patient_from_the_form(ui: Driver, desk: Desk) -> None:
    """What is typed into the fields is what is saved; a wrong date is said beside its field."""
    root = screen(ui, desk)
    ui.tap(root.ids.new)
    ui.frame(3)
    form = root._form
    form.ids.name.ids.input.focus = True
    ui.type("MORALES, Ana")
    form.ids.birth.ids.input.focus = True
    ui.type("31.04.1957")
    form.ids.mrn.ids.input.focus = True
    ui.frame(3)
    assert form.ids.birth.error == tr("patient.birth_impossible")
    form.ids.birth.ids.input.focus = True
    form.ids.birth.ids.input.select_all()
    form.ids.birth.ids.input.delete_selection()
    ui.type("02.05.1957")
    form.ids.birth.ids.input.focus = False
    ui.frame(3)
    assert form.ids.birth.error == "" and "2 May 1957" in ui.words(form)
    root.ids.side_scroll.scroll_y = 0
    ui.frame(3)
    ui.tap(form.ids.save)
    assert root.went == ["exam"] and desk.workspace.encounter is not None
    patient = desk.workspace.encounter.patient
    assert (patient.name, patient.birth_date, patient.allergies_asked) == ("MORALES, Ana", "1957-05-02", False)


def test_the_form_stands_still_while_a_date_is_typed(ui: Driver, desk: Desk) -> None:
    """A field that moves when the date is understood is missed by the finger that is on its way to it."""
    root = screen(ui, desk)
    ui.tap(root.ids.new)
    ui.frame(3)
    form = root._form
    place = form.ids.mrn.to_window(*form.ids.mrn.pos)
    form.ids.birth.ids.input.focus = True
    ui.type("02.05.1957")
    ui.frame(4)
    assert "2 May 1957" in ui.words(form)
    assert form.ids.mrn.to_window(*form.ids.mrn.pos) == pytest.approx(place)


def test_damaged_visits_are_told_above_the_list(ui: Driver, desk: Desk) -> None:
    """A visit that is missing without a word is entered again without what was known."""
    desk.add(ANA)
    desk.workspace.damaged_records = 2
    root = screen(ui, desk, size=(800, 1280))
    assert tr("worklist.damaged_other", count=2) in ui.words(root)
    assert not past_the_edge(ui, root)
    desk.workspace.damaged_records = 0
    desk.workspace.changed()
    ui.frame(3)
    assert tr("worklist.damaged_other", count=2) not in ui.words(root)


def test_form_of_the_next_patient_is_empty(ui: Driver, desk: Desk) -> None:
    """Words of a cancelled form must not turn up in the next patient's."""
    root = screen(ui, desk)
    root.new_patient()
    ui.frame(3)
    root._form.ids.name.text = "typed secret"
    ui.frame(3)
    root.presenter.form.cancel()
    ui.frame(3)
    root.new_patient()
    ui.frame(3)
    assert root._form.ids.name.text == "" and root.presenter.view.form.draft.name == ""


def test_same_number_asks_in_a_dialog(ui: Driver, desk: Desk) -> None:
    """The question is on the screen; Yes saves, No goes back to the form."""
    desk.add(ANA)
    root = screen(ui, desk)
    for answer, visits in (("patient.same_mrn_no", 1), ("patient.same_mrn_yes", 2)):
        if root.presenter.form is None:
            root.new_patient()
            ui.frame(3)
        root._form.ids.mrn.text = ANA.mrn
        root._form.save()
        ui.frame(3)
        assert "Bed 12" in "".join(ui.words(top) for top in ui.window.children)
        ui.tap(ui.find(text=tr(answer)))
        ui.frame(4)
        assert root.presenter.view.total == visits


def test_running_model_asks_in_a_dialog(ui: Driver, desk: Desk) -> None:
    """Opening another visit while the model writes is asked, not done."""
    desk.add(ANA, BEN)
    desk.workspace.open("visit-1")
    root = screen(ui, desk)
    desk.workspace.runs.streaming = Streaming("r", "note", "visit-1", "")
    ui.tap(row(ui, "OKAFOR, Ben"))
    ui.tap(row(ui, "OKAFOR, Ben"))
    ui.frame(3)
    ui.tap(ui.find(text=tr("worklist.writing_no")))
    ui.frame(3)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.id == "visit-1"
    root.presenter.open("exam")
    ui.frame(3)
    ui.tap(ui.find(text=tr("worklist.writing_yes")))
    assert desk.workspace.encounter.id == "visit-2"


def test_delete_by_touch(ui: Driver, desk: Desk) -> None:
    """Delete, reason, for ever: three different places, and the row is gone."""
    desk.add(ANA, BEN)
    root = screen(ui, desk)
    ui.tap(row(ui, "OKAFOR, Ben"))
    desk.settle()
    ui.frame(3)
    root.presenter.begin_delete()
    ui.frame(3)
    ui.tap(ui.find(text=tr("worklist.delete_yes")))
    ui.frame(3)
    assert root.presenter.view.total == 2 and tr("worklist.delete_no_reason") in ui.words(root)
    ui.tap(ui.find(text=tr("worklist.reason_test")))
    ui.frame(3)
    ui.tap(ui.find(text=tr("worklist.delete_yes")))
    ui.frame(3)
    assert [data["name"] for data in root._rows.data] == ["MORALES, Ana"]


def test_signed_visit_shows_the_pad(ui: Driver, desk: Desk) -> None:
    """A signed visit cannot be deleted without the PIN: the plain button is not there."""
    desk.add(BEN, each=desk.sign)
    root = screen(ui, desk)
    root.presenter.select("visit-1")
    root.presenter.begin_delete()
    ui.frame(4)
    assert root._delete._pin.parent is not None and root._delete._plain.parent is None
    ui.key("7")
    assert root.presenter.view.deletion.pin.typed == 1


def test_five_hundred_rows_make_a_few_widgets(ui: Driver, desk: Desk) -> None:
    """Only what is seen exists: 500 visits must scroll as smoothly as five."""
    from edge.app.ui.screens.worklist_parts import WorklistRow

    rows = tuple(
        Summary(f"v{n}", f"NAME{n}, A", "40", "female", f"••{n:04}", str(n), "new", "2026-03-14T10:00:00+00:00", 0)
        for n in range(500)
    )
    desk.workspace._worklist = rows
    root = screen(ui, desk)
    made = [w for w in ui.walk(root) if isinstance(w, WorklistRow)]
    assert 3 <= len(made) <= 14 and len(root._rows.data) == 500
    root._rows.scroll_y = 0.0
    ui.frame(4)
    assert any(w.name == "NAME499, A" for w in ui.walk(root) if isinstance(w, WorklistRow))


@pytest.mark.parametrize(("language", "scale"), [("en", 1.0), ("de", 1.3), ("de", 2.0)])
@pytest.mark.parametrize("size", SIZES)
def test_fits_and_can_be_touched(ui: Driver, desk: Desk, size: tuple[int, int], scale: float, language: str) -> None:
    """At every size and text size: no word past the edge, no target below 48 dp, in each of the panes."""
    desk.add(BEN, each=desk.sign)
    desk.add(Patient(name="VON DER LANGEN-NAMENSGEBUNG, Maximiliane Katharina", mrn="12", bed="ICU 12"))
    desk.add(ANA, each=lambda: painful_eye(desk))
    root = screen(ui, desk, size=size, scale=scale, language=language)

    def holds(where: str) -> None:
        ui.frame(6)
        assert not past_the_edge(ui, root), where
        assert not small_targets(ui, root), where

    holds("list")
    root.tapped("visit-3")
    desk.settle()
    holds("preview")
    root.presenter.begin_delete()
    root.pane = 1
    holds("delete")
    root.presenter.select("visit-1")
    root.presenter.begin_delete()
    holds("delete signed")
    root.new_patient()
    root.presenter.form.choose("allergy_mode", "list")
    root.presenter.form.save()
    holds("form")


def test_lock_leaves_no_word(ui: Driver, desk: Desk) -> None:
    """After a lock no widget of the screen holds a word of a patient, seen or not, in the list, preview or form."""
    desk.add(ANA, BEN)
    root = screen(ui, desk)
    root.ids.search.text = "typed secret"
    root.ids.search.text = ""
    ui.tap(row(ui, "OKAFOR, Ben"))
    desk.settle()
    ui.frame(3)
    root.presenter.begin_delete()
    ui.frame(3)
    root.presenter.select("visit-1")
    root.presenter.edit_patient()
    ui.frame(3)
    root._form.ids.name.text = "typed secret"
    root.ids.search.text = "mora"
    ui.frame(3)
    from kivy.uix.recycleview.views import _cached_views

    parts = (root, root._form, root._preview, root._delete, root._rows, root._none)
    adapter = root._rows.view_adapter
    aside = [*adapter.views.values(), *(row for kept in adapter.dirty_views.values() for row in kept.values())]
    aside += [row for rows in _cached_views.values() for row in rows]
    every = all_of(*parts, *aside)
    assert "MORALES" in words_in(every) and "OKAFOR" in words_in(aside)
    desk.workspace.lock()
    from edge.app.ui.kit.base import text_width

    root.hide()
    root.clear_text()
    assert text_width.cache_info().currsize == 0
    ui.frame(3)
    left = words_in(every)
    assert not [secret for secret in SECRETS if secret in left]
    assert root.presenter.view.rows == () and root._form.form is None
    from kivy.cache import Cache

    assert "typed secret" not in str(Cache._objects["textinput.label"]) + str(Cache._objects["textinput.width"])


def test_the_next_screen_after_a_lock_is_whole(ui: Driver, desk: Desk) -> None:
    """Kivy uses the rows of the last screen again: at another text size they must still show every word."""
    desk.add(ANA, each=lambda: painful_eye(desk))
    desk.add(BEN)
    for scale in (1.0, 2.0, 1.0):
        root = screen(ui, desk, scale=scale)
        words = ui.words(root)
        assert all(word in words for word in ("MORALES, Ana", "Bed 12", "F 68  MRN ••4821", "1 red flag", "Exam"))
        root.hide()
        root.clear_text()
        ui.frame(3)
        assert "MORALES" not in ui.words(root)
