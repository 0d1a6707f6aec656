"""The audit log: when these fail, an entry can be changed or removed unseen, or a patient's words get into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.app.vault.audit import ACTIONS, DETAIL, START, check_entry
from edge.errors import InputError

from .conftest import PIN, Clocks, Make


def logged(make: Make, count: int = 6) -> Any:
    """An open vault with some entries."""
    opened = make().create(PIN)
    opened.audit("vault-create")
    for number in range(count - 1):
        opened.audit("encounter-open", f"e{number}")
    return opened


def test_entries(make: Make, clocks: Clocks) -> None:
    """If not: the log shows something else than what was done."""
    opened = make().create(PIN)
    assert opened.audit_head() == (0, START)
    opened.audit("encounter-delete", "e1", {"reason": "duplicate"})
    clocks.pass_s(5)
    opened.audit("sign", "e2", {"content_sha256": "ab" * 32})
    second, first = opened.audit_entries()
    assert (first.sequence, first.action, first.encounter_id, first.detail) == (
        1,
        "encounter-delete",
        "e1",
        {"reason": "duplicate"},
    )
    assert (first.previous, second.previous) == (START, first.hash)
    assert (first.at, second.at) == ("2027-01-15T08:00:00+00:00", "2027-01-15T08:00:05+00:00")
    assert opened.audit_head() == (2, second.hash)
    assert opened.audit_entries(1) == (second,)
    state = opened.check_audit()
    assert (state.whole, state.entries, state.first_broken, state.reason) == (True, 2, 0, "")


@pytest.mark.parametrize(
    ("action", "encounter", "detail"),
    [
        ("looked at Mrs Miller", "", {}),
        ("sign", "Miller, Jane", {}),
        ("sign", "e" * 65, {}),
        ("sign", "", {"name": "Miller"}),
        ("sign", "", {"reason": "Miller"}),
        ("sign", "", {"count": "12 Miller"}),
        ("sign", "", {"run_id": "miller"}),
        ("sign", "", {"content_sha256": "miller"}),
        ("sign", "", {"count": 3}),
        ("sign", "", {"eye": "left\n"}),
        ("sign", "", {"count": "3\n"}),
    ],
)
def test_no_free_text(make: Make, action: str, encounter: str, detail: dict[str, Any]) -> None:
    """If not: the log, which lives longest, holds patients' words."""
    opened = make().create(PIN)
    with pytest.raises(InputError) as caught:
        opened.audit(action, encounter, detail)
    assert "iller" not in str(caught.value)
    assert opened.audit_head() == (0, START)
    opened.save("a", b"x", b"y")  # what was refused left no transaction open


def test_what_the_app_logs_is_known() -> None:
    """If not: locking, signing or deleting is refused by the log."""
    for action in ("vault-create", "unlock", "lock", "pin-change", "encounter-new", "encounter-open"):
        check_entry(action, "e-1_X", {})
    check_entry("sign", "e1", {"content_sha256": "0" * 64})
    check_entry("run-start", "e1", {"run_id": "4f2c9a", "task": "note", "behaviour_digest": "sha256:" + "0" * 64})
    assert all(action == action.lower() for action in ACTIONS)
    assert "note" not in DETAIL


def sql(opened: Any, statement: str, *values: Any) -> None:
    """Change the open database behind the log's back."""
    opened._connection.execute(statement, values)


@pytest.mark.parametrize(
    ("statement", "broken", "reason"),
    [
        ("DELETE FROM audit WHERE sequence = 3", 3, "missing"),
        ("DELETE FROM audit WHERE sequence = 1", 1, "missing"),
        ("DELETE FROM audit WHERE sequence > 4", 5, "tail-missing"),
        ("DELETE FROM audit", 1, "tail-missing"),
        ("UPDATE audit SET value = (SELECT value FROM audit WHERE sequence = 2) WHERE sequence = 4", 4, "altered"),
        ("UPDATE audit SET mac = zeroblob(32) WHERE sequence = 2", 2, "altered"),
        ("UPDATE audit SET value = 17 WHERE sequence = 5", 5, "altered"),
        ("UPDATE audit SET mac = 'text' WHERE sequence = 5", 5, "altered"),
        ("UPDATE audit SET sequence = sequence + 100 WHERE sequence = 6", 6, "missing"),
        ("INSERT INTO audit VALUES (7, x'00', x'00')", 7, "altered"),
        ("INSERT INTO audit VALUES (-5, x'00', x'00')", 1, "missing"),
        ("DELETE FROM meta WHERE key = 'audit-head'", 7, "tail-missing"),
        ("UPDATE meta SET value = zeroblob(72) WHERE key = 'audit-head'", 7, "tail-missing"),
    ],
)
def test_first_broken_entry_is_named(make: Make, statement: str, broken: int, reason: str) -> None:
    """If not: who can write the file can edit the log unseen; and the log must go on all the same."""
    opened = logged(make)
    sql(opened, statement)
    state = opened.check_audit()
    assert (state.whole, state.first_broken, state.reason) == (False, broken, reason)
    opened.audit("lock")
    opened.audit_entries()
    # A forged entry after the head is written over; all other damage stays visible.
    assert opened.check_audit().whole == ("VALUES (7" in statement)
    assert list(opened._records([]))


def test_swapped_entries(make: Make) -> None:
    """If not: the order can be changed."""
    opened = logged(make)
    sql(opened, "UPDATE audit SET sequence = -1 WHERE sequence = 2")
    sql(opened, "UPDATE audit SET sequence = 2 WHERE sequence = 3")
    sql(opened, "UPDATE audit SET sequence = 3 WHERE sequence = -1")
    state = opened.check_audit()
    assert (state.first_broken, state.reason) == (2, "altered")


def test_head_beside(make: Make, tmp_path: Path) -> None:
    """If not: a cut tail whose head was cut with it is not seen."""
    opened = logged(make)
    head = tmp_path / "data/vault/audit.head"
    kept = head.read_bytes()
    head.unlink()
    assert opened.check_audit().reason == "head-missing"
    head.write_bytes(b"nonsense")
    assert opened.check_audit().reason == "head-missing"
    head.write_bytes(kept)
    assert opened.check_audit().whole


def test_cut_log_stays_visible(make: Make, tmp_path: Path) -> None:
    """If not: a log that was emptied in the file, or lost its head, looks whole after the next unlock."""
    vault = make()
    opened: Any = vault.create(PIN)
    for number in range(3):
        opened.audit("encounter-open", f"e{number}")
    sql(opened, "DELETE FROM audit")
    sql(opened, "DELETE FROM meta WHERE key = 'audit-head'")
    vault.lock()
    opened = vault.unlock(PIN)
    opened.audit("sign", "e")
    state = opened.check_audit()
    assert (state.whole, state.reason, state.first_broken) == (False, "rolled-back", 1)
    vault.lock()
    (tmp_path / "data/vault/audit.head").unlink()
    assert vault.unlock(PIN).audit_entries(1)[0].detail == {"log": "broken"}
    assert vault.unlock(PIN).check_audit().first_broken == 1


def test_head_beside_may_be_behind(make: Make, tmp_path: Path) -> None:
    """If not: a kill between the entry and the head is taken for an attack."""
    opened = logged(make)
    kept = (tmp_path / "data/vault/audit.head").read_bytes()
    opened.audit("lock")
    (tmp_path / "data/vault/audit.head").write_bytes(kept)
    assert opened.check_audit().whole


def test_database_behind_its_kept_head(make: Make) -> None:
    """If not: a database that ends before the head beside it, its own head fitting, is taken for whole."""
    opened = logged(make)
    fourth = opened.audit_entries()[2]
    sql(opened, "DELETE FROM audit WHERE sequence > 4")
    sql(opened, "UPDATE meta SET value = ? WHERE key = 'audit-head'", opened._log._head_bytes(4, fourth.hash))
    state = opened.check_audit()
    assert (state.whole, state.first_broken, state.reason) == (False, 5, "rolled-back")
