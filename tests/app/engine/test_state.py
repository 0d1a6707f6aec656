"""What the screen says of the engine: the words are true in every order of events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.engine import messages as m
from edge.app.engine.scripted import FACTS
from edge.app.engine.state import (
    DISMISSABLE,
    Action,
    Dismiss,
    EngineView,
    Launch,
    Shut,
    Status,
    Stop,
    Submit,
    advance,
    overlays,
    status_key,
)
from edge.app.i18n import Translator, catalogue
from tests.app.engine.samples import EVENTS, RUN

RESULT = m.Result("r1", "e1", "note", {})
ACTIONS = st.one_of(
    st.just(Launch("p")),
    st.builds(Submit, RUN, st.sampled_from(["note", "differential", "benchmark"])),
    st.builds(Stop, RUN),
    st.just(Dismiss()),
    st.just(Shut()),
)


def after(*steps: m.Event | Action, start: EngineView | None = None, step_s: float = 1.0) -> EngineView:
    """The view after steps a second apart."""
    view = start or EngineView()
    for number, step in enumerate(steps):
        view = advance(view, step, number * step_s)
    return view


def words(view: EngineView, language: str = "en") -> str:
    key, values = status_key(view)
    return Translator(language).text(key, values)


READY = (Launch("notes"), m.Ready(FACTS))
RUNNING = (*READY, Submit("r1"), m.Started("r1", "e1", "note", 2), m.Reading("r1", 1, 2))


@pytest.mark.parametrize(
    ("steps", "status", "said"),
    [
        ((), "idle", "Ready"),
        ((Launch("notes"),), "loading", "Loading model"),
        ((Launch("notes"), m.Loading(0.2, 12.4)), "loading", "Loading model, about 12 s"),
        ((Launch("notes"), Submit("r1"), m.Loading(0.2, 0.2)), "loading", "Loading model, about 1 s"),
        (READY, "idle", "Ready"),
        ((*READY, Submit("r1")), "streaming", "Starting"),
        (RUNNING, "streaming", "Reading part 1 of 2"),
        ((*RUNNING, m.Piece("r1", "a")), "streaming", "Writing"),
        ((*RUNNING, m.Piece("r1", "a"), m.Piece("r1", "b", 31)), "streaming", "Writing 31 tok/s"),
        ((*RUNNING, Stop("r1")), "cancelled", "Stopped. Partial result, not for use."),
        ((*RUNNING, RESULT), "done", "Done in 3 s. Check each item."),
        (
            (Launch("notes"), m.Refused("missing", "")),
            "missing",
            "No model on this device for profile notes. Ask your engineer to install it.",
        ),
        (
            (Launch(""), m.Refused("missing", "")),
            "missing",
            "No model on this device. Ask your engineer to install it.",
        ),
        (
            (Launch(""), m.Refused("mismatch", "")),
            "mismatch",
            "The model file was changed. Suggestions are off.",
        ),
        ((Launch(""), m.Refused("unverified", "")), "unverified", "This build has not passed its device test."),
        (
            (Launch(""), m.Refused("low_memory", "", 900_000_000, 1_600_000_000)),
            "low_memory",
            "Not enough free memory (0.9 of 1.6 GB). Close other apps or use the small model.",
        ),
        (
            (*RUNNING, m.Died(-9)),
            "died",
            "The suggestion engine stopped. Your entries are saved. Try again.",
        ),
        (
            (*RUNNING, m.TooLong("r1", 20), RESULT),
            "too_long",
            "Note is longer than the model can read. The first 20 min are left out.",
        ),
        (
            (*RUNNING, m.Unreadable("r1"), RESULT),
            "unreadable",
            "The model's answer could not be read. Nothing was added.",
        ),
        (
            (*RUNNING, m.Failed("r1", "x")),
            "failed",
            "The suggestion could not be made. Nothing was added. Try again.",
        ),
        (
            (*READY, Submit("r1", "differential"), m.Progress("r1", 2, 5)),
            "streaming",
            "Comparing 2 of 5",
        ),
        ((*READY, Submit("r1", "benchmark"), m.Progress("r1", 7, 100)), "streaming", "Measuring, 7 %"),
        ((*READY, Submit("r1", "benchmark"), m.BenchmarkDone("r1", True, "", "")), "done", "Measured in 1 s."),
    ],
)
def test_the_words_of_every_state(steps: tuple[m.Event | Action, ...], status: Status, said: str) -> None:
    """What happened, what is kept, what to do: word for word as it was decided."""
    view = after(*steps)
    assert view.status == status
    assert words(view) == said


@pytest.mark.parametrize("code", ["untrusted", "unsupported"])
def test_the_other_refusals_have_words(code: m.RefusalCode) -> None:
    """A key that is not trusted, a build for another device: no state without a text."""
    assert words(after(Launch("p"), m.Refused(code, ""))) not in ("", f"engine.{code}")


def test_every_status_has_words_in_both_languages() -> None:
    """A key instead of a word at the bedside."""
    statuses = Status.__args__  # type: ignore[attr-defined]
    for language in ("en", "de"):
        for status in statuses:
            key, values = status_key(EngineView(status, profile="p"))
            assert key in catalogue(language)
            assert "{" not in Translator(language).text(key, values)
        for key, _ in overlays(replace(EngineView(), throttled=True, left_out_minutes=3)):
            assert key in catalogue(language)


def test_overlays() -> None:
    """A hot device and an untested build are said beside whatever goes on; a left-out beginning at once."""
    hot = m.DeviceReading(81.4, True, 1, 1)
    view = after(*RUNNING, hot, m.TooLong("r1", 20))
    assert [Translator("en").text(*pair) for pair in overlays(view)] == [
        "Note is longer than the model can read. The first 20 min are left out.",
        "Device is hot (81 C). Slower than usual.",
    ]
    assert ("engine.too_long", {"minutes": 20}) not in overlays(after(RESULT, start=view))  # it is the status now
    assert overlays(after(Launch("p"), m.Ready(replace(FACTS, verified="none")))) == (("engine.unverified", {}),)
    assert overlays(after(*READY, m.DeviceReading(None, True, 1, 1))) == (("engine.throttled_unknown", {}),)
    assert overlays(after(*READY, hot, m.DeviceReading(60.0, False, 1, 1))) == ()


def test_stop_is_seen_in_the_same_call() -> None:
    """The clinician's Stop shows at once, whatever still comes."""
    view = after(*RUNNING, m.Piece("r1", "a"), Stop("r1"))
    late = (m.Piece("r1", "b"), m.LineDrafted("r1", {}), replace(RESULT, cancelled=True), m.Unreadable("r1"))
    for event in late:
        assert advance(view, event, 9.0).status == "cancelled"
    killed = advance(view, m.Died(-9), 9.0)
    assert killed.status == "cancelled"
    assert not killed.alive
    assert advance(killed, Submit("r2"), 9.0) == killed


def test_stop_while_loading_keeps_loading_behind_it() -> None:
    """The run is off; the engine may still become ready for the next one."""
    view = after(Launch("p"), Submit("r1"), Stop("r1"))
    assert view.status == "cancelled"
    view = advance(view, m.Ready(FACTS), 5.0)
    assert view.status == "cancelled"
    assert advance(view, Submit("r2"), 6.0).status == "streaming"
    shut = after(Launch("p"), Shut())
    assert (shut.status, shut.alive) == ("idle", False)


def test_a_second_run_waits_for_the_end_of_the_first() -> None:
    """One view shows one run."""
    view = after(*RUNNING)
    assert advance(view, Submit("r2"), 9.0) == view
    assert advance(view, Stop("r2"), 9.0) == view


def test_dismiss_leaves_what_must_stay_in_sight() -> None:
    """A refused model stays refused on the screen; a finished run may be cleared away."""
    for status in Status.__args__:  # type: ignore[attr-defined]
        shown = advance(EngineView(status, alive=True), Dismiss(), 0.0).status
        assert shown == ("idle" if status in DISMISSABLE else status)


def test_speed_is_that_of_the_last_seconds() -> None:
    """Ten tokens a second for twenty seconds: 10, with a short history however long it runs."""
    view = after(*RUNNING)
    for step in range(1, 400):
        view = advance(view, m.Piece("r1", "x"), 10 + step * 0.1)
    assert view.tokens_per_s == pytest.approx(10.0, rel=0.1)
    assert len(view.speed) <= 16
    assert view.tokens == 399
    assert advance(view, m.Reading("r1", 2, 2), 60.0).tokens_per_s is None
    assert advance(view, m.Piece("r1", "x"), 1.0).tokens_per_s is None  # a clock that went back


@given(st.lists(st.tuples(EVENTS | ACTIONS, st.floats(-5, 50)), max_size=40))
def test_laws_of_any_history(steps: list[tuple[m.Event | Action, float]]) -> None:
    """No history reaches streaming without a start after a death; stale runs change nothing; times are not negative."""
    view, launched = EngineView(), False
    for what, now_s in steps:
        before = view
        view = advance(view, what, now_s)
        if isinstance(what, Launch):
            launched = True
        if not launched:
            assert not view.alive
            assert view.status not in ("streaming", "loading")
        if isinstance(what, m.Died | m.Refused | Shut):
            launched = False
            assert not view.alive
        run_id = getattr(what, "run_id", None)
        if run_id is not None and not isinstance(what, Submit) and run_id != before.run_id:
            assert view == before
        assert view.busy == (view.run_id != "")
        assert not (view.busy and view.status not in ("streaming", "loading"))
        assert view.elapsed_s >= 0
        assert 0 <= view.fraction <= 1
        key, values = status_key(view)
        assert "{" not in Translator("en").text(key, dict.fromkeys(values, 1))
        overlays(view)
