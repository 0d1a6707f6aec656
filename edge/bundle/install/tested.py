"""One self-test of a build in its slot, as the rules hear of it; a visit that opens ends it (rules 8 and 11)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.bundle.install.outcome import SelfTestOutcome
from edge.bundle.install.rules import SelfTestEnded, VisitOpened
from edge.bundle.update_lock import VisitOpenError
from edge.errors import EdgeError, GateError

COMMIT_WAIT_S = 3.0


class VisitCameError(VisitOpenError):
    """A visit was opened while a build was in its self-test."""

    def __init__(self) -> None:
        super().__init__(
            "a visit was opened, so the self-test was ended; the build before stays, the new one waits whole",
            "finish the visit, then run `edge install resume`",
        )


def tested(
    self_test: Callable[[Path], SelfTestOutcome], folder: Path, visit_open: Callable[[], bool]
) -> tuple[SelfTestEnded | VisitOpened, EdgeError | None]:
    """Run it; (what the rules are told, why it did not pass). visit_open: asked before it, and after a failure."""
    if visit_open():
        return VisitOpened(), VisitCameError()
    try:
        outcome = self_test(folder)
    except EdgeError as error:  # it could not even be begun
        outcome = SelfTestOutcome(False, str(error))
    if outcome.passed:
        return SelfTestEnded(True), None
    if outcome.stopped or visit_open():
        return VisitOpened(), VisitCameError()
    why = outcome.detail.rstrip(".") or "no reason given"
    return SelfTestEnded(False), GateError(
        f"the self-test failed ({why}), so the build before is back",
        where=str(folder),
        mend="build it for this device, or choose another release",
    )
