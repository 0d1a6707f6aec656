"""Both vaults, with an Argon2id that costs nothing and clocks that stand still until a test moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.app.vault.backoff import Moment
from edge.app.vault.folder import FolderVault
from edge.app.vault.keys import Cost
from edge.app.vault.rows import RowVault
from edge.app.vault.sqlcipher import SqlCipherVault

CHEAP = Cost(memory_kib=8, passes=1, lanes=1)
PIN, OTHER_PIN = "402917", "prune-Stone 77"
PASSPHRASE = "marble kettle 19 ferns"
KINDS = (SqlCipherVault, RowVault)
Make = Callable[..., FolderVault]


class Clocks:
    """Wall clock, clock since start, and the start's name."""

    def __init__(self) -> None:
        self.wall, self.boot, self.name = 1_800_000_000.0, 1000.0, "start-1"

    def moment(self) -> Moment:
        """As the vault reads them."""
        return Moment(self.wall, self.boot, self.name)

    def now(self) -> datetime:
        """For the log."""
        return datetime.fromtimestamp(self.wall, UTC)

    def pass_s(self, seconds: float) -> None:
        """Time goes by."""
        self.wall += seconds
        self.boot += seconds


@pytest.fixture
def clocks() -> Clocks:
    """Fresh clocks."""
    return Clocks()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> type[FolderVault]:
    """Each of the two vaults."""
    found: type[FolderVault] = request.param
    return found


@pytest.fixture
def make(kind: type[FolderVault], clocks: Clocks, tmp_path: Path) -> Iterator[Make]:
    """make(folder=..., cost=..., device_secret=...): a vault object; all are locked at the end."""
    made: list[FolderVault] = []

    def one(folder: Path = tmp_path / "data", kind: type[FolderVault] = kind, **options: Any) -> FolderVault:
        options = {"clock": clocks.now, "moment": clocks.moment, "cost": CHEAP} | options
        made.append(kind(folder, **options))
        return made[-1]

    yield one
    for vault in made:
        vault.lock()
