"""A desk for tests of presenters and screens: a real vault that costs nothing, a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

from edge.app.engine.scripted import ScriptedClient
from edge.app.vault.backoff import Moment
from edge.app.vault.keys import Cost
from edge.app.vault.rows import RowVault
from edge.app.workspace import Services, Workspace
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import FoundItem, Patient, Presence

if not hasattr(Workspace, "restore_vault"):

    def _restore_vault(self: Any, path: Path, passphrase: str, pin: str, done: Callable[[Any], None]) -> None:
        self._enter(lambda: self.services.vault.restore(path, passphrase, pin), "unlock", done)

    Workspace.restore_vault = _restore_vault  # type: ignore[attr-defined]

PIN = "274913"
OTHER_PIN = "86420975"
CHEAP = Cost(memory_kib=8, passes=1)
START = datetime(2026, 3, 14, 10, 42, tzinfo=UTC)
ANA = Patient("MORALES, Ana", "1957-05-02", None, "female", "00124821", "12", ("sulfa",), True)
BEN = Patient("OKAFOR, Ben", "", 34, "male", "00777310", "3", (), True)
EVA = Patient("MÜLLER, Eva", "2025-01-20", None, "female", "55114821", "", (), False)


@dataclass
class Clock:
    """Wall time and the time since start; both move only by `pass_s`."""

    at: datetime = START
    since_s: float = 100.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.since_s

    def moment(self) -> Moment:
        return Moment(self.at.timestamp(), self.since_s, "one boot")

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.since_s += seconds


@dataclass
class Desk:
    """workspace: a real one. settle: let the vault's thread end what it has, then one tick."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    engines: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engines = self.engines or {"note": ScriptedClient(self.clock.monotonic)}
        numbers = count(1)
        self.vault = RowVault(self.folder / "vault", clock=self.clock.now, moment=self.clock.moment, cost=CHEAP)
        self.workspace = Workspace(
            Services(
                vault=self.vault,
                clock=self.clock.now,
                monotonic=self.clock.monotonic,
                new_id=lambda: f"visit-{next(numbers)}",
                engines=self.engines,
            )
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is asked for in the block starts after it: the screen is seen before its answer can have come."""
        go = Event()
        self.workspace.services.background.post(go.wait)
        try:
            yield
        finally:
            go.set()

    def settle(self, times: int = 2) -> None:
        for _ in range(times):
            self.workspace.services.background.call(lambda: None)
            self.workspace.services.background.poll()

    def open(self, pin: str = PIN) -> Workspace:
        """Make the vault under PIN and open it."""
        errors: list[object] = []
        self.workspace.create_vault(pin, errors.append)
        self.settle()
        assert errors == [None]
        return self.workspace

    def add(self, *patients: Patient, each: Callable[[], None] = lambda: None) -> list[str]:
        """Make visits, a minute apart; none is open after it."""
        made = []
        for patient in patients:
            made.append(self.workspace.new_encounter(patient))
            each()
            self.workspace.close()
            self.clock.pass_s(60)
        return made

    def sign(self) -> None:
        """Close the open visit for ever, with one finding in it."""
        self.workspace.edit(edits.set_finding, FoundItem("f1", "Red eye", Presence.PRESENT))
        self.workspace.sign(PIN, "Dr Test")

    def close(self) -> None:
        self.workspace.services.background.close()
