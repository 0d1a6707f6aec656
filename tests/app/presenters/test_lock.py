"""The lock: who is kept out although the PIN is right, or let in although it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.i18n import tr, translator
from edge.app.presenters.lock import LockPresenter
from edge.app.presenters.pin_entry import PinEntry, strength
from edge.app.vault.pins import check_pin_rules
from edge.errors import InputError
from tests.app.presenters.bedside_desk import ANA, OTHER_PIN, PIN, Desk

WRONG = "918273"


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()
    translator.language = "en"


def lock_screen(desk: Desk) -> LockPresenter:
    presenter = LockPresenter(desk.workspace, start=desk.folder)
    presenter.shown()
    desk.settle()
    return presenter


def typed(presenter: LockPresenter, pin: str) -> None:
    for digit in pin:
        presenter.digit(digit)
    presenter.enter()


def locked(desk: Desk) -> LockPresenter:
    """A vault with a PIN, locked again."""
    desk.open()
    desk.workspace.lock()
    return lock_screen(desk)


def test_right_pin_opens_without_freezing(desk: Desk) -> None:
    """The key is derived in another thread: at once the screen says so, a later tick opens."""
    presenter = locked(desk)
    opened: list[bool] = []
    presenter.opened = lambda: opened.append(True)
    assert presenter.view.state == "locked" and presenter.view.pin.title == "Locked. Enter PIN."
    with desk.held():
        typed(presenter, PIN)
        assert presenter.view.pin.busy and desk.workspace.locked and not presenter.view.pin.can_type
    desk.settle()
    assert not desk.workspace.locked and presenter.view.state == "open" and opened == [True]
    assert presenter.view.pin.typed == 0


def test_what_was_typed_is_forgotten(desk: Desk) -> None:
    """A PIN that stays in an object can be read from memory or from a traceback."""
    presenter = locked(desk)
    for digit in PIN:
        presenter.digit(digit)
    assert presenter.view.pin.typed == len(PIN) and PIN not in repr(presenter.view) + repr(vars(presenter))
    presenter.enter()
    assert len(presenter._entry) == 0
    presenter.digit("1")
    presenter.clear()
    assert presenter.view.pin.typed == 0


def test_wrong_pins_are_said_and_waited_for(desk: Desk) -> None:
    """First wrong ones are free, then a wait counts down; the pad takes nothing until it is over."""
    presenter = locked(desk)
    typed(presenter, WRONG)
    desk.settle()
    assert presenter.view.pin.message == "Wrong PIN. Try again."
    typed(presenter, WRONG)
    desk.settle()
    assert "2 wrong in a row." in presenter.view.pin.message
    typed(presenter, WRONG)
    desk.settle()
    assert "After another wrong one you wait 30 s." in presenter.view.pin.message
    typed(presenter, WRONG)
    desk.settle()
    assert presenter.view.pin.message == "Wrong PIN. Wait 30 s." and presenter.view.pin.wait_s == 30
    presenter.digit("1")
    assert presenter.view.pin.typed == 0 and not presenter.view.pin.can_enter
    desk.clock.pass_s(12)
    presenter.tick()
    assert presenter.view.pin.message == "Wrong PIN. Wait 18 s."
    desk.clock.pass_s(18)
    presenter.tick()
    assert presenter.view.pin.wait_s == 0 and presenter.view.pin.message == ""
    typed(presenter, PIN)
    desk.settle()
    assert not desk.workspace.locked


def test_wait_survives_a_restart(desk: Desk) -> None:
    """Closing the app must not give new tries."""
    presenter = locked(desk)
    for _ in range(5):
        typed(presenter, WRONG)
        desk.settle()
        desk.clock.pass_s(31)
        presenter.tick()
    again = lock_screen(desk)
    assert again.view.pin.wait_s == 29 and again.view.pin.message == "Too many wrong PINs. Wait 29 s."


def test_short_pin_is_not_tried(desk: Desk) -> None:
    """Enter after three digits must not count as a wrong PIN."""
    presenter = locked(desk)
    typed(presenter, "123")
    assert not presenter.view.pin.busy and presenter.view.pin.typed == 3
    presenter.back()
    assert presenter.view.pin.typed == 2


def test_first_start_asks_twice(desk: Desk) -> None:
    """A slip of the finger at the first start would lock everybody out for ever."""
    presenter = lock_screen(desk)
    assert presenter.view.state == "absent" and presenter.view.setup is not None
    for digit in PIN:
        presenter.digit(digit)
    assert presenter.view.setup.pin.level == 1
    presenter.enter()
    assert presenter.view.setup.step == "repeat"
    typed(presenter, OTHER_PIN)
    assert presenter.view.setup.step == "create" and presenter.view.setup.message == tr("lock.not_the_same")
    with desk.held():
        typed(presenter, PIN)
        typed(presenter, PIN)
        assert presenter.view.setup.pin.busy
    desk.settle()
    assert not desk.workspace.locked and presenter.view.setup is None


def test_easy_pins_are_refused_before_they_are_used(desk: Desk) -> None:
    """123456 is tried first by everybody."""
    presenter = lock_screen(desk)
    typed(presenter, "123456")
    assert presenter.view.setup is not None
    assert presenter.view.setup.step == "create" and "Easy to guess" in presenter.view.setup.message
    assert presenter.view.setup.pin.typed == 0


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{0,14}", fullmatch=True))
def test_strength_agrees_with_the_vault(pin: str) -> None:
    """Words that call a PIN good which the vault then refuses would lead nowhere."""
    level, said = strength(pin)
    try:
        check_pin_rules(pin)
        assert level >= 1 and said
    except InputError:
        assert level <= 0


def test_keyboard_takes_a_passphrase(desk: Desk) -> None:
    """With a keyboard a passphrase opens as well; changing to it forgets the digits."""
    presenter = lock_screen(desk)
    presenter.digit("1")
    presenter.use_keyboard(True)
    assert presenter.view.setup is not None and presenter.view.setup.pin.typed == 0
    for _ in range(2):
        presenter.type("seven tall lamps")
        presenter.enter()
    desk.settle()
    desk.workspace.lock()
    again = lock_screen(desk)
    again.use_keyboard(True)
    again.type("seven tall lamps")
    again.enter()
    desk.settle()
    assert not desk.workspace.locked


def test_wiped_device_says_so_and_begins_anew(desk: Desk) -> None:
    """After a wipe the screen must not look like a first start."""
    desk.open()
    desk.add(ANA)
    desk.workspace.wipe()
    presenter = lock_screen(desk)
    assert presenter.view.state == "wiped" and presenter.view.setup is not None and presenter.view.setup.wiped
    typed(presenter, OTHER_PIN)
    typed(presenter, OTHER_PIN)
    desk.settle()
    assert not desk.workspace.locked and desk.workspace.worklist() == ()


def test_damaged_data_is_left_alone(desk: Desk) -> None:
    """A vault that cannot be read is not replaced by an empty one."""
    presenter = locked(desk)
    key = desk.folder / "vault" / "vault" / "key.json"
    key.write_bytes(b"{}")
    typed(presenter, PIN)
    desk.settle()
    assert presenter.view.state == "broken" and presenter.view.setup is None
    assert presenter.view.pin.title == tr("lock.broken_title") and key.read_bytes() == b"{}"
    assert desk.workspace.locked


def test_restore_from_a_backup(desk: Desk, tmp_path: Path) -> None:
    """A new device gets the visits back under its own PIN; a wrong passphrase leaves nothing behind."""
    desk.open()
    desk.add(ANA)
    file = tmp_path / "copy.edgebackup"
    desk.workspace.services.background.call(desk.workspace.vault.backup, file, "seven tall lamps")
    other = Desk(tmp_path / "other")
    presenter = LockPresenter(other.workspace, start=tmp_path)
    assert presenter.view.setup is not None
    browser = presenter.setup.folders()
    assert [entry.name for entry in browser.view.entries if not entry.folder] == ["copy.edgebackup"]
    presenter.setup.choose_file(file)
    for passphrase, outcome in (("not the right one", False), ("seven tall lamps", True)):
        assert presenter.view.setup is not None and presenter.view.setup.step == "passphrase"
        presenter.setup.passphrase(passphrase)
        typed(presenter, OTHER_PIN)
        typed(presenter, OTHER_PIN)
        other.settle()
        assert other.workspace.locked is not outcome
        if not outcome:
            assert presenter.view.setup.message == tr("errors.passphrase_wrong")
            assert str(other.workspace.vault_state) == "absent"
    assert [one.name for one in other.workspace.worklist()] == ["MORALES, Ana"]
    other.close()


def test_short_passphrase_is_not_tried(desk: Desk) -> None:
    """Below the length that a backup has, trying only wastes a second."""
    presenter = lock_screen(desk)
    presenter.setup.passphrase("short")
    assert presenter.setup.view.message == tr("errors.passphrase_length")


def test_language_of_the_first_start_is_kept(desk: Desk) -> None:
    """Who sets up in German must not find an English app."""
    presenter = lock_screen(desk)
    presenter.language("de")
    assert presenter.view.setup is not None and presenter.view.setup.pin.title == "PIN wählen"
    typed(presenter, PIN)
    typed(presenter, PIN)
    desk.settle()
    assert desk.workspace.settings.language == "de" and translator.language == "de"


def test_nothing_of_a_patient_on_the_lock(desk: Desk) -> None:
    """Whoever finds the tablet sees no name and no number of patients."""
    desk.open()
    desk.add(ANA)
    desk.workspace.lock()
    view = lock_screen(desk).view
    assert "MORALES" not in str(vars(view)) and view.setup is None


def test_entry_takes_digits_only_up_to_the_longest() -> None:
    """A thirteenth digit would be cut by nobody and refused by the vault."""
    entry = PinEntry()
    for sign in "12345678901234xy²":
        entry.digit(sign)
    assert len(entry) == 12
    assert entry.take() == "123456789012" and len(entry) == 0
