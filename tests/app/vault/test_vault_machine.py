"""Any order of saving, loading, deleting, locking, crashing: both vaults do what a dict does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edge.app.vault.folder import FolderVault
from edge.app.vault.protocol import LockedError, VaultState, WrongPinError
from edge.errors import InputError

from .conftest import CHEAP, KINDS, OTHER_PIN, PIN, Clocks

ids = st.sampled_from(["a", "b", "e-3", "Z_9"])
blobs = st.one_of(st.binary(max_size=40), st.binary(min_size=5000, max_size=5010))


class Machine(RuleBasedStateMachine):
    """The model: records in order of saving, settings, count of log entries."""

    kind: type[FolderVault]

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.clocks, self.copies, self.pins = Clocks(), 0, [PIN, OTHER_PIN]
        self.records: dict[str, tuple[bytes, bytes]] = {}
        self.kept: dict[str, str] = {}
        self.logged = 0
        self.vault = self.at(self.home / "0")
        self.open: Any = self.vault.create(PIN)

    def at(self, folder: Path) -> FolderVault:
        """A vault object of a folder."""
        return self.kind(folder, clock=self.clocks.now, moment=self.clocks.moment, cost=CHEAP)

    def teardown(self) -> None:
        """Remove all."""
        self.vault.lock()
        shutil.rmtree(self.home)

    @property
    def is_open(self) -> bool:
        """By the machine's own book."""
        return self.open is not None

    @precondition(lambda self: self.is_open)
    @rule(name=ids, data=blobs, summary=blobs)
    def save(self, name: str, data: bytes, summary: bytes) -> None:
        """Save."""
        self.open.save(name, data, summary)
        self.records.pop(name, None)
        self.records[name] = (data, summary)

    @precondition(lambda self: self.is_open)
    @rule(name=ids)
    def load(self, name: str) -> None:
        """Load."""
        if name in self.records:
            assert self.open.load(name) == self.records[name][0]
        else:
            with pytest.raises(InputError):
                self.open.load(name)

    @precondition(lambda self: self.is_open)
    @rule(name=ids)
    def delete(self, name: str) -> None:
        """Delete."""
        self.open.delete(name)
        self.records.pop(name, None)

    @precondition(lambda self: self.is_open)
    @rule(name=st.sampled_from(["language", "signer"]), value=st.text(max_size=10).filter(lambda t: "\ud800" not in t))
    def set_setting(self, name: str, value: str) -> None:
        """Set."""
        self.open.set_setting(name, value)
        self.kept[name] = value

    @precondition(lambda self: self.is_open)
    @rule(name=ids)
    def audit(self, name: str) -> None:
        """Log."""
        self.open.audit("encounter-open", name)
        self.logged += 1

    @rule()
    def lock(self) -> None:
        """Lock; what was open is of no use any more."""
        before, self.open = self.open, None
        self.vault.lock()
        if before is not None:
            with pytest.raises(LockedError):
                before.summaries()

    @precondition(lambda self: not self.is_open)
    @rule(wrong=st.integers(0, 2))
    def unlock(self, wrong: int) -> None:
        """Unlock, after some wrong ones."""
        for _ in range(wrong):
            with pytest.raises(WrongPinError):
                self.vault.unlock("999998")
        self.logged += bool(wrong)
        self.open = self.vault.unlock(self.pins[0])

    @rule()
    def change_pin(self) -> None:
        """Another PIN."""
        self.vault.change_pin(self.pins[0], self.pins[1])
        self.pins.reverse()

    @rule()
    def crash(self) -> None:
        """The power goes: what is on disk now is all there is."""
        self.copies += 1
        place = self.home / str(self.copies)
        shutil.copytree(self.home / str(self.copies - 1), place)
        self.vault.lock()
        self.vault, self.open = self.at(place), None
        assert self.vault.state == VaultState.LOCKED

    @invariant()
    def same_as_the_model(self) -> None:
        """Everything, whenever it is open."""
        if not self.is_open:
            return
        newest_first = tuple((name, summary) for name, (_, summary) in reversed(self.records.items()))
        assert self.open.summaries() == newest_first
        assert {name: self.open.setting(name) for name in self.kept} == self.kept
        state = self.open.check_audit()
        assert (state.whole, state.entries, state.rows_altered) == (True, self.logged, False)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_machine(kind: type[FolderVault]) -> None:
    """If not: some order of actions loses or mixes records."""
    machine = type("Machine_" + kind.kind, (Machine,), {"kind": kind})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=checks),
    )
