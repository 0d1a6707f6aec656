"""The worklist: the wrong row opened is the wrong patient."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.i18n import tr
from edge.app.presenters.deletion import REASONS
from edge.app.presenters.preview import PreviewWords
from edge.app.presenters.worklist import WorklistPresenter
from edge.app.presenters.worklist_rows import SORTS, listed, matches, natural
from edge.app.runs import Streaming
from edge.app.vault.audit import DETAIL
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import FoundItem, Patient, Presence
from edge.clinical.encounter.summary import Summary
from tests.app.presenters.bedside_desk import ANA, BEN, EVA, PIN, Desk


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()


def shown(desk: Desk) -> WorklistPresenter:
    """A worklist on the screen; `went` keeps where it led."""
    presenter = WorklistPresenter(desk.workspace, zone=UTC)
    presenter.shown()
    desk.settle()
    return presenter


def summary(name: str = "", bed: str = "", mrn: str = "", state: str = "new", flags: int = 0, at: str = "") -> Summary:
    return Summary(f"{name}/{bed}/{mrn}", name, "40", "female", mrn, bed, state, at, flags)


def test_rows_say_who_where_and_how_far(desk: Desk) -> None:
    """Name, age and sex, masked number, bed, state as a word and the time: without one of them rows are mixed up."""
    desk.add(ANA, BEN)
    row = shown(desk).view.rows[1]
    assert (row.name, row.detail, row.bed) == ("MORALES, Ana", "F 68  MRN ••4821", "Bed 12")
    assert (row.state, row.state_words, row.changed, row.flag_words) == ("new", "New", "10:42", "")


def test_days_in_words(desk: Desk) -> None:
    """Yesterday's visit must not look like today's."""
    desk.add(ANA)
    desk.clock.pass_s(86400)
    assert shown(desk).view.rows[0].changed == "Yesterday 10:42"
    desk.clock.pass_s(86400)
    assert shown(desk).view.rows[0].changed == "2026-03-14 10:42"


def test_empty_list_says_what_to_do(desk: Desk) -> None:
    """An empty screen without words looks broken; no match is not the same as no visit."""
    presenter = shown(desk)
    assert presenter.view.empty_title == tr("worklist.none_title")
    desk.add(ANA)
    presenter.search("zzz")
    assert presenter.view.empty_title == tr("worklist.no_match_title")
    presenter.show_all()
    assert presenter.view.empty_title == "" and presenter.view.query == ""


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ana", True),
        ("ANA mora", True),
        ("4821", True),
        ("821", True),
        ("00124821", True),
        ("12", True),
        ("9", False),
        ("2", False),  # not the bed, and one digit is no number
        ("99994822", False),
        ("ana 4821", True),
        ("ana ben", False),
        ("", True),
    ],
)
def test_search(query: str, found: bool) -> None:
    """By name, bed, or the end of the number; every word must fit."""
    assert matches(summary("MORALES, Ana", "12", "••4821"), query) is found


def test_search_ignores_accents() -> None:
    """Nobody types umlauts on every keyboard."""
    assert matches(summary("MÜLLER, Zoë"), "muller zoe") and matches(summary("MULLER"), "müller")


@given(st.text(max_size=30), st.text(max_size=20))
def test_search_never_fails(name: str, query: str) -> None:
    """Whatever is typed; and the whole name always finds its row."""
    matches(summary(name, name[:3], name[-4:]), query)
    assert matches(summary(name), name)


@given(st.lists(st.builds(summary, st.text(max_size=5), st.text(max_size=3), state=st.sampled_from(["new", "signed"]))))
def test_sorting_loses_nobody(rows: list[Summary]) -> None:
    """Each order shows the same visits; the filters together show all."""
    for sort in SORTS:
        assert sorted(map(id, listed(rows, "", "all", sort))) == sorted(map(id, rows))
    assert len(listed(rows, "", "new", "bed")) + len(listed(rows, "", "signed", "bed")) == len(rows)


def test_orders() -> None:
    """Bed 2 before bed 12, no bed last; most red flags first; the last changed first."""
    beds = [summary("a", "12"), summary("b", "2"), summary("c"), summary("d", "2B"), summary("e", "ICU 1")]
    assert [one.bed for one in listed(beds, "", "all", "bed")] == ["2", "2B", "12", "ICU 1", ""]
    assert natural("2") < natural("12") < natural("")
    flagged = [summary("a", flags=0, at="3"), summary("b", flags=2, at="1"), summary("c", flags=2, at="2")]
    assert [one.name for one in listed(flagged, "", "all", "flags")] == ["c", "b", "a"]
    assert [one.name for one in listed(flagged, "", "all", "changed")] == ["a", "c", "b"]
    assert [one.name for one in listed([summary(""), summary("b"), summary("Á")], "", "all", "name")] == ["Á", "b", ""]


def test_no_row_moves_while_it_is_looked_at(desk: Desk) -> None:
    """A row that moves under the finger opens the wrong patient."""
    desk.add(ANA, BEN)
    presenter = shown(desk)
    order = [row.id for row in presenter.view.rows]
    desk.workspace.open("visit-1")
    desk.clock.pass_s(60)
    desk.workspace.edit(edits.set_patient, Patient(name="MORALES, Ana Maria"))
    desk.workspace.save_now()
    presenter.refresh()
    assert [row.id for row in presenter.view.rows] == order
    assert presenter.view.rows[1].name == "MORALES, Ana Maria"  # but what it says is new
    presenter.shown()
    assert [row.id for row in presenter.view.rows] == order[::-1]


def test_preview_is_read_without_opening(desk: Desk) -> None:
    """Looking is not opening: nobody is closed, and the log says nothing of it."""
    found = FoundItem("f1", "Halos", Presence.PRESENT)
    desk.add(ANA, each=lambda: desk.workspace.edit(edits.set_finding, found))
    presenter = shown(desk)
    presenter.select("visit-1")
    preview = presenter.view.preview
    assert isinstance(preview, PreviewWords) and preview.loading
    desk.settle()
    preview = presenter.view.preview
    assert isinstance(preview, PreviewWords) and not preview.loading
    facts = {fact.label: fact.words for fact in preview.facts}
    assert facts[tr("worklist.allergies")] == "sulfa" and facts[tr("worklist.findings")] == "1 present, 0 absent"
    assert desk.workspace.encounter is None
    actions = [entry.action for entry in desk.workspace.vault.audit_entries(50)]
    assert "encounter-open" not in actions


def test_second_tap_opens(desk: Desk) -> None:
    """Tap looks, the second tap or the button opens and leads to the screen."""
    desk.add(ANA, BEN)
    presenter = shown(desk)
    went: list[str] = []
    presenter.go = went.append
    presenter.select("visit-1")
    assert desk.workspace.encounter is None and went == []
    presenter.select("visit-1")
    assert went == ["exam"]
    assert desk.workspace.encounter is not None and desk.workspace.encounter.id == "visit-1"
    presenter.select("visit-2")
    presenter.open("note")
    assert went == ["exam", "note"] and desk.workspace.encounter.id == "visit-2"


def test_open_while_the_model_writes_asks(desk: Desk) -> None:
    """Opening another visit would stop the run silently."""
    desk.add(ANA, BEN)
    presenter = shown(desk)
    desk.workspace.open("visit-1")
    desk.workspace.runs.streaming = Streaming("r", "note", "visit-1", "")
    presenter.select("visit-2")
    presenter.open("exam")
    assert presenter.view.question is not None and desk.workspace.encounter.id == "visit-1"
    presenter.answer(False)
    assert presenter.view.question is None and desk.workspace.encounter.id == "visit-1"
    presenter.open("exam")
    presenter.answer(True)
    assert desk.workspace.encounter.id == "visit-2"
    desk.workspace.runs.streaming = Streaming("r", "note", "visit-2", "")
    presenter.open("exam")
    assert presenter.view.question is None  # the visit that it writes for
    presenter.new_patient()
    assert presenter.view.question is not None and presenter.form is None
    presenter.answer(True)
    assert presenter.view.pane == "form"


def test_new_patient_form(desk: Desk) -> None:
    """The form stands beside the list; saving leads to the exam of the new visit."""
    presenter = shown(desk)
    went: list[str] = []
    presenter.go = went.append
    presenter.new_patient()
    assert presenter.view.pane == "form" and presenter.view.form is not None and presenter.form is not None
    presenter.form.set("name", "X")
    assert presenter.view.form.draft.name == "X"
    presenter.form.save()
    assert presenter.view.pane == "preview" and went == ["exam"] and len(presenter.view.rows) == 1


def test_same_number_is_found_behind_the_mask(desk: Desk) -> None:
    """Two patients whose numbers end alike are not the same; the same number is."""
    desk.add(ANA, EVA)
    presenter = shown(desk)
    presenter.new_patient()
    assert presenter.form is not None
    presenter.form.set("mrn", "99994821")
    assert presenter.form.save()
    presenter.new_patient()
    presenter.form.set("mrn", "00124821")
    assert not presenter.form.save()
    assert "MORALES, Ana, Bed 12" in presenter.form.view.question


def test_patient_data_of_a_signed_visit_stays(desk: Desk) -> None:
    """A signed visit is closed for ever: no form opens, and the preview says so."""
    desk.add(BEN, each=desk.sign)
    presenter = shown(desk)
    presenter.select("visit-1")
    desk.settle()
    assert presenter.view.preview is not None and not presenter.view.preview.editable
    presenter.edit_patient()
    assert presenter.view.pane == "preview"


def test_delete_needs_a_reason(desk: Desk) -> None:
    """Without a reason nothing is deleted; with one the visit is gone and the log knows why."""
    desk.add(ANA, BEN)
    presenter = shown(desk)
    presenter.select("visit-1")
    presenter.begin_delete()
    assert presenter.view.pane == "delete" and presenter.view.deletion is not None and presenter.deletion is not None
    assert "MORALES" not in repr(presenter.view) + repr(presenter.view.deletion)
    presenter.deletion.enter()
    assert presenter.view.deletion.message == tr("worklist.delete_no_reason") and presenter.view.total == 2
    presenter.deletion.choose("duplicate")
    presenter.deletion.enter()
    assert presenter.view.total == 1 and presenter.view.pane == "empty"
    assert presenter.view.message == tr("worklist.deleted")
    entry = desk.workspace.vault.audit_entries(1)[0]
    assert (entry.action, dict(entry.detail)) == ("encounter-delete", {"reason": "duplicate"})


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_are_known_to_the_log(reason: str) -> None:
    """A reason outside the log's closed set would leave the visit deleted and the log without it."""
    assert DETAIL["reason"].fullmatch(reason)
    assert tr(f"worklist.reason_{reason.replace('-', '_')}") != f"worklist.reason_{reason}"


def test_signed_visit_is_deleted_with_the_pin_only(desk: Desk) -> None:
    """A signed visit is part of the record: whoever finds the tablet open cannot delete it."""
    desk.add(BEN, each=desk.sign)
    presenter = shown(desk)
    presenter.select("visit-1")
    presenter.begin_delete()
    assert presenter.deletion is not None
    presenter.deletion.choose("other")
    presenter.deletion.enter()
    assert presenter.view.deletion is not None and presenter.view.deletion.pin is not None
    assert presenter.view.deletion.message == tr("worklist.delete_no_pin")
    for digit in "111111":
        presenter.deletion.digit(digit)
    presenter.deletion.enter()
    assert presenter.view.deletion.busy
    desk.settle()
    assert presenter.view.deletion.message == tr("errors.wrong_pin") and presenter.view.total == 1
    presenter.deletion.type(PIN)
    presenter.deletion.enter()
    desk.settle()
    assert presenter.view.total == 0


def test_cancel_while_the_pin_is_checked_keeps_the_visit(desk: Desk) -> None:
    """Cancel means cancel, also in the second that the check takes."""
    desk.add(BEN, each=desk.sign)
    presenter = shown(desk)
    presenter.select("visit-1")
    presenter.begin_delete()
    assert presenter.deletion is not None
    presenter.deletion.choose("other")
    presenter.deletion.type(PIN)
    presenter.deletion.enter()
    presenter.cancel_delete()
    desk.settle()
    assert presenter.view.total == 1 and presenter.view.pane == "preview"


def test_lock_forgets_everything(desk: Desk) -> None:
    """After a lock no word of a patient is left in the presenter."""
    desk.add(ANA, BEN)
    presenter = shown(desk)
    presenter.search("ana")
    presenter.select("visit-1")
    desk.settle()
    desk.workspace.lock()
    view = presenter.view
    assert (view.rows, view.query, view.selected, view.preview, view.total) == ((), "", "", None, 0)
    assert presenter._looked is None and presenter.form is None


def test_five_hundred_rows_are_quick(desk: Desk) -> None:
    """A keystroke in the search must not take a frame's time: 500 rows are made in far less than 50 ms."""
    import time

    rows = tuple(
        summary(f"NAME{n}, A", str(n), f"••{n:04}", at=f"2026-03-14T10:{n % 60:02}:00+00:00") for n in range(500)
    )
    desk.workspace._worklist = rows
    presenter = shown(desk)
    before = time.process_time()
    for query in ("n", "na", "nam", "name4"):
        presenter.search(query)
    assert (time.process_time() - before) / 4 < 0.05
    assert len(presenter.view.rows) == 111


def test_visits_that_cannot_be_read_are_told(desk: Desk) -> None:
    """A visit that is silently missing from the list is looked for, or entered again without what was known."""
    desk.add(ANA, BEN)
    presenter = WorklistPresenter(desk.workspace)
    assert presenter.view.damaged == ""
    desk.workspace.lock()
    with sqlite3.connect(next(desk.folder.glob("**/vault.db"))) as database:
        database.execute("UPDATE encounters SET summary = x'00' WHERE key = (SELECT min(key) FROM encounters)")
    database.close()
    desk.workspace.unlock(PIN, lambda error: None)
    desk.settle()
    presenter.shown()
    assert presenter.view.damaged == tr("worklist.damaged_one", count=1) and len(presenter.view.rows) == 1
    desk.workspace.lock()
    presenter.refresh()
    assert presenter.view.damaged == ""
