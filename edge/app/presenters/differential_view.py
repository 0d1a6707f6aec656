"""What the pane of the ranked differential draws: frozen snapshots, made by edge.app.presenters.differential."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.app.presenters.places import Link
from edge.clinical.encounter.model import Eye

Key = tuple[str, Eye | None]  # a row: its name and its eye


@dataclass(frozen=True)
class RowView:
    """An option. moved: how it came to its place, in words; '' where it stood before. way: up, down, new or ''."""

    key: Key
    rank: int
    name: str
    eye: str
    icd10: str
    score: str
    fraction: float
    origin: str
    by_model: bool
    pinned: bool
    opened: bool
    moved: str
    way: str
    supports: tuple[Link, ...]
    against: tuple[Link, ...]
    missing: tuple[Link, ...]


@dataclass(frozen=True)
class DismissedView:
    """A dismissed option with its reason, in words."""

    key: Key
    name: str
    why: str = field(repr=False)


@dataclass(frozen=True)
class FlagView:
    """A red flag. links: the words it rests on."""

    key: str
    title: str
    source: str
    severe: bool
    opened: bool
    links: tuple[Link, ...]


@dataclass(frozen=True)
class TaskView:
    """A tab of the toggle. reason: why it cannot be used, '' when it can."""

    task: str
    title: str
    selected: bool


@dataclass(frozen=True)
class DifferentialView:
    """Everything that the pane shows. off: why Rank cannot be tapped, '' when it can; tone: of the status words;
    overlay: what holds beside the status (hot, not verified).
    """

    tasks: tuple[TaskView, ...] = ()
    flags: tuple[FlagView, ...] = ()
    more_flags: str = ""
    rank_word: str = ""
    off: str = ""
    running: bool = False
    status: str = ""
    tone: str = "plain"
    overlay: str = ""
    progress: float | None = None
    progress_words: str = ""
    rows: tuple[RowView, ...] = ()
    dismissed: tuple[DismissedView, ...] = ()
    dismissed_title: str = ""
    stale: str = ""
    waiting: str = ""
    notices: tuple[str, ...] = ()
    missing: tuple[Link, ...] = ()
    empty: str = ""
    not_ranked: bool = True
    signed: bool = False
