"""The base of the screens that the ranked differential stands on: Exam and Eye."""

from __future__ import annotations

from typing import Any

from edge.app.presenters.differential import shared_differential
from edge.app.presenters.places import Jump
from edge.app.ui.kit import EdgeScreen
from edge.app.ui.screens.differential import DifferentialPane  # noqa: F401  (a name in the screens' .kv)


class CaseScreen(EdgeScreen):
    """A screen with the differential beside it. Its .kv has DifferentialPane with the id `ranking`."""

    name = ""

    def __init__(self, presenter: Any = None, workspace: Any = None, **kwargs: Any) -> None:
        self.ranking = shared_differential(workspace)
        super().__init__(presenter, workspace, **kwargs)

    def on_show(self) -> None:
        """Draw the pane too, and take up a jump that led here."""
        self.ranking.on_jump = self.follow
        self.ids.ranking.start()
        jump = self.ranking.take_jump(self.name)
        if jump is not None:
            self.follow(jump)

    def on_hide(self) -> None:
        """The pane rests."""
        self.ids.ranking.stop()
        if self.ranking.on_jump == self.follow:
            self.ranking.on_jump = None

    def clear_text(self) -> None:
        """Locked: the presenter that both screens share lets go of the patient as well."""
        super().clear_text()
        self.ranking.refresh()

    def follow(self, jump: Jump) -> None:
        """Show what a jump points at, here or on its own screen."""
        if jump.screen != self.name:
            self.go(jump.screen)
            return
        self.ranking.pending = None
        self.pane = 0
        self.presenter.reveal(jump)
