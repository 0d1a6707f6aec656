"""A desk for tests: a real vault in a folder (its key cheap), scripted engines, a clock that the test holds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.app.background import Worker
from edge.app.engine.scripted import Answer, ScriptedClient, quiet
from edge.app.vault.keys import Cost
from edge.app.vault.rows import RowVault
from edge.app.workspace import Services, Workspace
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Patient, VisitText
from edge.errors import EdgeError

PIN = "271828"
CHEAP = Cost(memory_kib=64, passes=1)
PATIENT = Patient(
    "MORALES, Ana", "1958-03-14", None, "female", "10054821", "12", allergies=("sulfa",), allergies_asked=True
)
VISIT = (
    "[doctor] what brings you in today ?\n"
    "[patient] my right eye hurts since this morning , the pain is eight out of ten .\n"
    "[doctor] any nausea ?\n"
    "[patient] yes , but no vomiting . i take amlodipine 5 milligrams .\n"
)
NOTE: dict[str, Any] = {
    "schema_version": 1,
    "label": "Draft",
    "sections": [
        {
            "section": "HPI",
            "heading": "HISTORY OF PRESENT ILLNESS",
            "lines": [
                {
                    "text": "The right eye hurts since this morning, pain 8 of 10.",
                    "origin": "model",
                    "evidence": [{"start": 45, "end": 110, "quote": ""}],
                },
                {"text": "She takes amlodipine 5 mg.", "origin": "model", "evidence": []},
            ],
        }
    ],
    "withheld": 1,
    "notices": [],
    "red_flags": [],
    "cancelled": False,
}


@dataclass
class Desk:
    """now_s moves only by `wait`; `workspace.tick` is called by it."""

    folder: Path
    answer: Answer = quiet
    now_s: float = 1000.0
    dead: bool = False
    engine: ScriptedClient = field(init=False)
    workspace: Workspace = field(init=False)

    def __post_init__(self) -> None:
        self.engine = ScriptedClient(clock=lambda: self.now_s, answer=self.answer)
        ids = itertools.count(1)
        vault = RowVault(self.folder / "vault", cost=CHEAP)
        self.workspace = Workspace(
            Services(
                vault=vault,
                clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now_s),
                monotonic=lambda: self.now_s,
                new_id=lambda: f"id-{next(ids)}",
                engines=dict.fromkeys(("note", "differential", "ophthalmology"), self.engine),
                background=Worker(),
            )
        )

    def settle(self) -> None:
        """Until the thread behind the desk has nothing more to tell."""
        for _ in range(3):
            self.workspace.services.background.call(lambda: None)
            self.workspace.tick()

    def wait(self, seconds: float, *, step_s: float = 0.1) -> None:
        """Time passes, a tick a step."""
        for _ in range(max(1, round(seconds / step_s))):
            self.now_s += step_s
            self.workspace.tick()
        self.settle()

    def create(self) -> Desk:
        """With a new vault, unlocked."""
        told: list[EdgeError | None] = []
        self.workspace.create_vault(PIN, told.append)
        self.settle()
        if told != [None]:
            raise RuntimeError(f"the vault was not made: {told}")
        return self

    def unlock(self, pin: str = PIN) -> EdgeError | None:
        """What unlocking tells."""
        told: list[EdgeError | None] = []
        self.workspace.unlock(pin, told.append)
        self.settle()
        return told[0]

    def with_patient(self, visit: str = VISIT) -> Desk:
        """And an open encounter with a transcript."""
        self.workspace.new_encounter(PATIENT)
        if visit:
            self.workspace.edit(edits.set_visit, VisitText(visit))
        return self

    def cut_power(self) -> None:
        """End it: nothing is saved that was not."""
        self.workspace.services.vault.lock()
        self.workspace.services.background.close()
        self.dead = True

    def close(self) -> None:
        """End it in good order, unless the power went."""
        if not self.dead:
            self.workspace.quit()
