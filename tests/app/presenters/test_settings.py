"""Settings: what is changed here holds for every patient, and the wipe for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from edge.app.i18n import LANGUAGES, catalogue, tr, translator
from edge.app.presenters.about import LIMITS, PARTS, audit_words
from edge.app.presenters.errors import RULES, key_of, wait_words, words
from edge.app.presenters.settings import SECTIONS, SettingsPresenter
from edge.app.settings import AUTOLOCK_S, FONT_SCALES
from edge.app.vault.audit import ACTIONS, DETAIL
from edge.app.vault.protocol import DamagedError, LockedError, MustWaitError, WipedError, WrongPinError
from edge.errors import InputError, ResourceError
from tests.app.presenters.bedside_desk import ANA, BEN, OTHER_PIN, PIN, Desk

PASSPHRASE = "seven tall lamps"


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()
    translator.language = "en"


def settings(desk: Desk, section: str = "display") -> SettingsPresenter:
    presenter = SettingsPresenter(desk.workspace, start=desk.folder, zone=UTC)
    presenter.show(section)
    desk.settle()
    return presenter


def typed(presenter: SettingsPresenter, pin: str) -> None:
    for digit in pin:
        presenter.digit(digit)
    presenter.enter()


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_section_has_words(desk: Desk, section: str, language: str) -> None:
    """A key in place of a word is not a language."""
    translator.language = language
    presenter = settings(desk, section)
    assert not re.search(r"\b(settings|lock|errors|worklist|patient)\.[a-z_]+", str(presenter.view))


@pytest.mark.parametrize("section", ["display", "clinical", "security"])
def test_every_choice_holds_at_once(desk: Desk, section: str) -> None:
    """Each value that is offered is taken, shown as chosen, and is there after a lock."""
    presenter = settings(desk, section)
    for choice in presenter.view.choices:
        for value, label in choice.options:
            presenter.choose(choice.name, value)
            assert label
            assert getattr(desk.workspace.settings, choice.name) == value
            assert next(one.value for one in presenter.view.choices if one.name == choice.name) == value
    kept = desk.workspace.settings
    desk.workspace.lock()
    desk.workspace.unlock(PIN, lambda error: None)
    desk.settle()
    assert desk.workspace.settings == kept


def test_the_choices_are_those_of_the_brief(desk: Desk) -> None:
    """Sizes and times that a clinician may need are all offered."""
    assert FONT_SCALES == (0.85, 1.0, 1.3, 1.6, 2.0) and AUTOLOCK_S == (60, 120, 300, 600)
    by_name = {one.name: one for one in settings(desk, "security").view.choices}
    assert [label for _, label in by_name["autolock_s"].options] == ["1 min", "2 min", "5 min", "10 min"]


def test_language_changes_the_screen_at_once(desk: Desk) -> None:
    """The next view is in the language that was tapped."""
    presenter = settings(desk)
    presenter.choose("language", "de")
    assert presenter.view.sections[0][1] == "Anzeige"


def test_change_pin(desk: Desk) -> None:
    """Present, new, new again: afterwards only the new one opens."""
    presenter = settings(desk, "security")
    typed(presenter, PIN)
    typed(presenter, "111111")
    assert presenter.view.pin is not None and presenter.view.pin.level == -1 and presenter.view.pin.tone == "danger"
    typed(presenter, OTHER_PIN)
    typed(presenter, "86420976")
    assert presenter.view.pin.message == tr("lock.not_the_same") and presenter.pin.step == "new"
    typed(presenter, OTHER_PIN)
    typed(presenter, OTHER_PIN)
    assert presenter.view.pin.busy
    desk.settle()
    assert presenter.view.pin.tone == "support" and presenter.pin.step == "old"
    errors: list[object] = []
    desk.workspace.lock()
    desk.workspace.unlock(PIN, errors.append)
    desk.workspace.unlock(OTHER_PIN, errors.append)
    desk.settle()
    assert isinstance(errors[0], WrongPinError) and errors[1] is None


def test_wrong_present_pin_changes_nothing(desk: Desk) -> None:
    """Whoever finds the tablet open cannot take it over."""
    presenter = settings(desk, "security")
    for pin in ("918273", OTHER_PIN, OTHER_PIN):
        typed(presenter, pin)
    desk.settle()
    assert presenter.view.pin is not None and presenter.view.pin.message == "Wrong PIN. Try again."
    desk.workspace.services.background.call(desk.vault.check_pin, PIN)


def test_leaving_forgets_what_was_typed(desk: Desk) -> None:
    """A half-typed PIN must not wait for the next person."""
    presenter = settings(desk, "security")
    typed(presenter, PIN)
    presenter.digit("1")
    assert PIN not in repr(presenter.view)
    presenter.show("display")
    presenter.show("security")
    assert presenter.view.pin is not None and presenter.view.pin.typed == 0 and presenter.pin.step == "old"
    typed(presenter, PIN)
    desk.workspace.lock()
    assert presenter.pin.step == "old" and presenter.pin._old == ""


def test_backup_is_written_where_it_was_chosen(desk: Desk, tmp_path: Path) -> None:
    """One encrypted file without a patient's word in it or in its name; the outcome says where it is."""
    desk.add(ANA)
    presenter = settings(desk, "backup")
    presenter.backup.write(PASSPHRASE, "another passphrase")
    assert presenter.view.backup is not None and presenter.view.backup.message == tr("settings.backup_not_same")
    presenter.backup.write("short", "short")
    assert presenter.view.backup.tone == "danger" and not list(tmp_path.glob("*.edgebackup"))
    presenter.backup.write(PASSPHRASE, PASSPHRASE)
    assert presenter.view.backup.busy
    desk.settle()
    (file,) = tmp_path.glob("*.edgebackup")
    assert presenter.view.backup.tone == "support" and file.name in presenter.view.backup.message
    assert b"MORALES" not in file.read_bytes() and re.fullmatch(r"edge-\d{8}-\d{6}\.edgebackup", file.name)


def test_wipe_after_wrong_pins_needs_the_pin(desk: Desk) -> None:
    """Who finds the device open could else make it destroy itself, or take that protection away."""
    presenter = settings(desk, "security")
    assert presenter.view.wipe_after is not None and presenter.view.wipe_after.value == 0
    presenter.wipe_after.choose(10)
    assert presenter.view.pin is None and presenter.view.wipe_after.pin is not None
    typed(presenter, "111111")
    desk.settle()
    assert presenter.view.wipe_after.pin.message and desk.workspace.wipe_after == 0
    desk.clock.pass_s(120)
    typed(presenter, PIN)
    assert presenter.view.wipe_after.pin.busy
    desk.settle()
    view = presenter.view.wipe_after
    assert (view.value, view.pin, view.tone) == (10, None, "support") and presenter.view.pin is not None
    assert "wipe-after-set" in [entry.action for entry in desk.workspace.vault.audit_entries(5)]
    desk.workspace.lock()
    desk.workspace.wipe_after = 0
    desk.workspace.unlock(PIN, lambda error: None)
    desk.settle()
    assert desk.workspace.wipe_after == 10
    desk.workspace.lock()
    for _ in range(10):
        desk.clock.pass_s(90_000)
        desk.workspace.unlock("111111", lambda error: None)
        desk.settle()
    assert str(desk.workspace.vault_state) == "wiped"


def test_wipe_after_that_was_left_is_not_set(desk: Desk) -> None:
    """A value that was tapped and left must not wait for the next PIN that is typed."""
    presenter = settings(desk, "security")
    presenter.wipe_after.choose(20)
    presenter.digit("1")
    presenter.start_again()
    view = presenter.view.wipe_after
    assert view is not None and view.pin is None and view.wanted == 0 and presenter.view.pin is not None
    assert presenter.view.pin.typed == 0


def test_wipe_needs_the_word_and_the_pin(desk: Desk) -> None:
    """A slip of the finger must not destroy a ward's work."""
    desk.add(ANA, BEN)
    presenter = settings(desk, "wipe")
    assert presenter.view.wipe is not None
    assert any("2 visits" in line for line in presenter.view.wipe.lost)
    presenter.wipe.go_on()
    presenter.wipe.type("wipe")
    presenter.wipe.go_on()
    assert presenter.view.wipe.step == "word"
    presenter.wipe.type(" WIPE ")
    presenter.wipe.go_on()
    assert presenter.view.wipe.step == "pin" and not desk.workspace.locked
    typed(presenter, "918273")
    desk.settle()
    assert presenter.view.wipe.pin is not None and "Wrong PIN" in presenter.view.wipe.pin.message
    assert str(desk.workspace.vault_state) == "open"
    typed(presenter, PIN)
    desk.settle()
    assert str(desk.workspace.vault_state) == "wiped" and desk.workspace.locked


def test_wipe_that_was_left_does_not_happen(desk: Desk) -> None:
    """Another section between the PIN and its check: nothing is wiped behind the person's back."""
    presenter = settings(desk, "wipe")
    presenter.wipe.type("WIPE")
    presenter.wipe.go_on()
    typed(presenter, PIN)
    presenter.show("display")
    desk.settle()
    assert str(desk.workspace.vault_state) == "open"


def test_audit_log_in_words(desk: Desk) -> None:
    """The log is readable and its check is said; nothing in it names a patient."""
    desk.add(ANA)
    desk.workspace.delete("visit-1", "duplicate")
    presenter = settings(desk, "audit")
    audit = presenter.view.audit
    assert audit is not None and audit.tone == "support" and "none missing" in audit.state_words
    assert audit.rows[0].words == "Visit deleted (Entered twice)" and audit.rows[0].visit == "visit-1"
    assert audit.rows[0].at.startswith("2026-03-14 10:4") and "MORALES" not in str(audit)
    desk.workspace.lock()
    presenter.refresh()
    assert not presenter._audit.rows


def test_broken_log_is_said(desk: Desk, tmp_path: Path) -> None:
    """An entry that was changed outside the app must be seen by whoever looks."""
    import sqlite3

    desk.add(ANA)
    desk.workspace.lock()
    with sqlite3.connect(tmp_path / "vault" / "vault" / "vault.db") as other:
        other.execute("DELETE FROM audit WHERE sequence = 1")
    desk.workspace.unlock(PIN, lambda error: None)
    desk.settle()
    audit = settings(desk, "audit").view.audit
    assert audit is not None and audit.tone == "danger" and "entries are missing" in audit.state_words


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_has_words(action: str) -> None:
    """An action without words would be shown in the log's own code."""
    assert audit_words(action) != action
    assert f"settings.audit_{action.replace('-', '_')}" in catalogue("de")


def test_every_reason_has_words() -> None:
    """As the actions."""
    for reason in DETAIL["reason"].pattern.split("|"):
        assert f"worklist.reason_{reason.replace('-', '_')}" in catalogue("en")


def test_about_names_versions_licences_limits_and_builds(desk: Desk) -> None:
    """What the app cannot do and which build wrote the suggestions must be found on the device itself."""
    desk.workspace.runs.start_engines()
    desk.workspace.tick()
    about = settings(desk, "about").view.about
    assert about is not None and len(about.limits) == len(LIMITS)
    assert "No screen-reader support." in about.limits
    assert "Right-to-left scripts are not supported." in about.limits
    assert {part.name for part in about.parts} <= {name for name, _, _ in PARTS} and len(about.parts) > 8
    (build,) = about.bundles
    assert build.behaviour_digest == "0123456789ab0000" and build.verified_words == tr("settings.verified_passed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WrongPinError(0, 1), "Wrong PIN. Try again."),
        (WrongPinError(30, 4), "Wrong PIN. Wait 30 s."),
        (MustWaitError(300), "Too many wrong PINs. Wait 5 min."),
        (WipedError(), tr("errors.wiped")),
        (LockedError(), tr("errors.locked")),
        (DamagedError("an audit entry is damaged"), tr("errors.damaged")),
        (DamagedError("the backup file is damaged"), tr("errors.backup_damaged")),
        (ResourceError("no space left", where="vault.db"), tr("errors.no_space")),
        (ResourceError("cannot be written"), tr("errors.read_only")),
        (ResourceError("the vault is in use by another process"), tr("errors.in_use")),
        (ResourceError("the vault was made by a newer edge"), tr("errors.future")),
        (InputError("wrong passphrase"), tr("errors.passphrase_wrong")),
        (InputError("this is no backup of edge"), tr("errors.not_a_backup")),
        (InputError("the PIN has 3 digits"), tr("errors.pin_length")),
        (InputError("3 open items keep the encounter from being signed"), tr("errors.open_items")),
        (InputError("a signed encounter cannot be changed"), tr("errors.signed")),
        (InputError("something new", where="here", mend="do this"), "here: something new; do this."),
    ],
    ids=lambda value: getattr(value, "what", ""),
)
def test_errors_in_words(error: object, said: str) -> None:
    """What a person can mend is said in the language of the screen; what no rule knows is said as it is."""
    assert isinstance(error, InputError | ResourceError)
    assert words(error) == said


def test_every_error_key_has_words() -> None:
    """A rule that leads to a missing key would show the key."""
    for _, key in RULES:
        assert f"errors.{key}" in catalogue("en") and f"errors.{key}" in catalogue("de")
    assert key_of(InputError("unheard of")) == ""


def test_waits_are_rounded_up() -> None:
    """Waiting as long as it says must be enough."""
    assert [wait_words(n) for n in (1, 119, 121, 7200)] == ["1 s", "119 s", "3 min", "2 h"]
