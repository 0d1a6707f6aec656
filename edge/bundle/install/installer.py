"""Install a bundle into the slots of one profile: the IO around edge.bundle.install.rules.

    Installer(slots, "notes", trust=..., lock_folder=..., self_test=...).install(FolderSource(path))

Every step is saved before the next one begins, so whoever comes after a power cut calls `resume` and goes on where the
disk is. No call raises an EdgeError: the outcome says it in a word for the fleet, `last_error` in a line for a person.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

from edge.bundle.canonical import SLUG
from edge.bundle.in_use import nobody_else
from edge.bundle.install.checks import check_features, check_profile, check_target, listed, passed_here, whole
from edge.bundle.install.disk import SlotsDisk
from edge.bundle.install.memory import STATE_NAME, BrokenStateError, FutureStateError, rebuilt
from edge.bundle.install.outcome import (
    InstallStatus,
    NoSpaceError,
    NoWayBackError,
    SelfTestOutcome,
    error_of,
    name_of,
    reason_of,
)
from edge.bundle.install.rules import (
    SLOTS,
    AskedBack,
    Begin,
    Build,
    Checked,
    Denied,
    Effect,
    Event,
    Fill,
    Filled,
    InstallOutcome,
    Order,
    Reason,
    Restore,
    Restored,
    SelfTest,
    SelfTestBegun,
    SelfTestEnded,
    Slot,
    State,
    Switch,
    Switched,
    Verify,
    VisitOpened,
    Woke,
    advance,
    due,
)
from edge.bundle.install.source import BundleSource
from edge.bundle.install.tested import COMMIT_WAIT_S, VisitCameError, tested
from edge.bundle.manifest import Manifest
from edge.bundle.open import DeviceFacts, check_head, open_folder
from edge.bundle.signing import Trust
from edge.bundle.update_lock import VisitOpenError, exclusive, under_test, visit_open
from edge.errors import BundleError, EdgeError, ResourceError, SpecError
from edge.files import resource_error

__all__ = ["InstallOutcome", "InstallStatus", "Installer", "SelfTestOutcome"]

MARGIN_BYTES = 64 << 20  # what an install leaves free for the vault and the logs


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write at a place."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


class Installer:
    """The slots of one profile.

    Parameters
    ----------
    slots: the folder of all profiles; `slots/profile` is made. profile: a slug.
    trust: whose signatures count. device: when given, a bundle for another target is refused.
    lock_folder: of edge.bundle.update_lock. self_test: runs a build in its slot and signs what came out into it.
    Called with the slot; it ends, and says so, when a visit is opened. clock: seconds, monotonic. margin_bytes: left
    free. free: bytes that may be written at a place. commit_wait_s: that a commit waits for a visit to end.
    """

    def __init__(
        self,
        slots: Path,
        profile: str,
        *,
        trust: Trust,
        lock_folder: Path,
        self_test: Callable[[Path], SelfTestOutcome],
        clock: Callable[[], float] = time.monotonic,
        device: DeviceFacts | None = None,
        margin_bytes: int = MARGIN_BYTES,
        free: Callable[[Path], int] = free_bytes,
        commit_wait_s: float = COMMIT_WAIT_S,
    ) -> None:
        if not SLUG.fullmatch(profile):
            raise SpecError(f"profile {profile[:60]!r} is not lower case letters, digits, '.', '_', '-'")
        self.profile = profile
        self.disk = SlotsDisk(slots / profile)
        self.last_error: EdgeError | None = None
        self._trust, self._lock_folder, self._self_test = trust, lock_folder, self_test
        self._clock, self._device, self._margin_bytes, self._free = clock, device, margin_bytes, free
        self._commit_wait_s = commit_wait_s
        self._began_s = clock()
        self._state = State()

    # ---- what is asked ------------------------------------------------------------------------------------------

    def install(
        self, source: BundleSource, *, release: str | None = None, rollout: str | None = None
    ) -> InstallOutcome:
        """Fill, verify, switch, test, commit or roll back. An earlier install that was cut short is ended first."""
        self._start()
        order: Order | None = None
        try:
            manifest_bytes, signature = source.head()
            manifest = self._check_head(manifest_bytes, signature)
            order = Order(Build(manifest.bundle_digest, release), rollout=rollout)
            with self.disk.locked():
                return self._install(source, manifest, manifest_bytes, signature, order)
        except EdgeError as error:
            return self._refused(error, order)

    def resume(self) -> InstallOutcome | None:
        """Go on after a power cut, or after a visit that was open; None when there was nothing to do."""
        self._start()
        try:
            if not self.disk.base.is_dir():
                return None
            with self.disk.locked():
                before = self._wake()
                self._run()
                return self._outcome() if before != self._state.last else None
        except EdgeError as error:
            return self._refused(error, self._state.order)

    def rollback(self, reason: Reason = "requested") -> InstallOutcome:
        """Back to the build before: the one in the other slot, or, while another is on its way, the confirmed one."""
        self._start()
        try:
            with self.disk.locked():
                before = self._wake()
                self._step(AskedBack(reason))
                if self._state.phase == "idle" and self._state.last == before:
                    raise NoWayBackError(str(self.disk.base))
                self._run()
                return self._outcome()
        except EdgeError as error:
            return self._refused(error, self._state.order)

    def status(self) -> InstallStatus:
        """What is there now. Takes no lock and changes nothing."""
        try:
            state, phase = self.disk.load() or State(), ""
        except (BrokenStateError, FutureStateError, EdgeError):
            link = self.disk.link()
            build = listed(self.disk.slot(link)) if link else None
            state, phase = State(slot=link if build else None, build=build), "unknown"
        pending = state.order
        return InstallStatus(
            profile=self.profile,
            phase=phase or state.phase,
            slot=state.slot,
            bundle_digest=state.build.digest if state.build else None,
            release=state.build.release if state.build else None,
            previous_digest=state.previous.digest if state.previous else None,
            pending_digest=pending.build.digest if pending else None,
            rollout=pending.rollout if pending else None,
            tests=state.tests,
            last=state.last,
        )

    # ---- the way ------------------------------------------------------------------------------------------------

    def _install(
        self, source: BundleSource, manifest: Manifest, manifest_bytes: bytes, signature: bytes, order: Order
    ) -> InstallOutcome:
        self._wake()
        pending = self._state.order
        waits = self._state.phase in ("filled", "rolling_back")
        if pending is not None and pending.build.digest != order.build.digest and waits:
            self._step(AskedBack())  # it waited for a visit to end; this one takes its place
        self._run()
        if pending is not None and pending.build.digest == order.build.digest and not pending.back:
            return self._outcome()
        slot, build = self._state.slot, self._state.build
        if slot and build and build.digest == order.build.digest and whole(self.disk.slot(slot), self._trust):
            return self._already(order, manifest)
        target = self._state.target
        folder, installed = self.disk.slot(target), self._state.slot
        from_slot = self.disk.slot(installed) if installed else None
        with nobody_else(folder):
            room = self.disk.room(target, manifest)
            # A source may count on pieces of files that go: then all of what is missing is the bound.
            needed = min(source.needed_bytes(folder, from_slot) + room.replaced_bytes, room.missing_bytes)
            needed += self._margin_bytes
            there = self._free(folder) + room.freed_bytes
            if needed > there:
                raise NoSpaceError(
                    f"{needed / 1e6:.0f} MB are needed and {there / 1e6:.0f} MB are free",
                    where=str(self.disk.base),
                    mend="free space and run the same command again",
                )
            self._step(Begin(order))
            self._step(self._fill(target, source, manifest, manifest_bytes, signature))
        self._run()
        return self._outcome()

    def _wake(self) -> InstallOutcome | None:
        """Take up what is on disk. Returns the outcome that was told before."""
        try:
            found = self.disk.load()
        except FutureStateError as error:
            raise BundleError(
                f"was written by a newer edge (version {error.version})",
                where=str(self.disk.base / STATE_NAME),
                mend="update edge on this device; the build in force stays as it is",
            ) from None
        except BrokenStateError:
            found = None
        if found is None:
            wholes = {slot: opened for slot in SLOTS if (opened := whole(self.disk.slot(slot), self._trust))}
            builds = {slot: Build(opened.bundle_digest) for slot, opened in wholes.items()}
            verdicts = {slot: told for slot, opened in wholes.items() if (told := passed_here(opened)) is not None}
            found = rebuilt(self.disk.link(), builds, verdicts)
            if found != State():
                self.disk.save(found)
        before, self._state = found.last, found
        self._step(Woke(self.disk.link()))
        return before

    def _step(self, event: Event) -> None:
        """One event, and its state on disk before anything else happens."""
        before, now_s = self._state, self._clock()
        spent_s = before.spent_s + max(0.0, now_s - self._began_s)
        after = advance(replace(before, spent_s=spent_s) if before.order else before, event)
        if after != before:
            self._began_s = now_s
            self._state = after
            self.disk.save(after)

    def _run(self) -> None:
        """Until nothing is due. Errors: VisitOpenError, SelfTestRunsError before the switch, VisitCameError during the
        self-test; the order then waits."""
        said = False
        with ExitStack() as stack:
            while (effect := due(self._state)) is not None:
                order = self._state.order
                if isinstance(effect, Switch | SelfTest) and not (said or (order and order.back)):
                    # To the end: an app would else load the build before between test and commit.
                    stack.enter_context(under_test(self._lock_folder))
                    said = True
                if isinstance(effect, SelfTest):
                    self._test(effect.slot)
                    continue
                by_hand = isinstance(effect, Restore) and order is None and self.disk.link() != effect.slot
                with exclusive(self._lock_folder) if by_hand or isinstance(effect, Switch) else nullcontext():
                    self._step(self._perform(effect))

    def _test(self, slot: Slot) -> None:
        """The self-test and its commit (rules 8 to 11). Errors: VisitCameError, with the link back."""
        self._step(SelfTestBegun())
        event, error = tested(self._self_test, self.disk.slot(slot), lambda: visit_open(self._lock_folder))
        if event == SelfTestEnded(True):
            try:
                with exclusive(self._lock_folder, self._commit_wait_s):
                    self._step(event)
                return
            except VisitOpenError:
                event, error = VisitOpened(), VisitCameError()
        self.last_error = error
        self._step(event)
        if error is not None and isinstance(event, VisitOpened):
            self._step(self._perform(Restore(self._state.slot)))
            raise error

    def _perform(self, effect: Effect) -> Event:
        match effect:
            case Verify(slot, digest):
                return self._verify(slot, digest)
            case Switch(slot):
                self.disk.point(slot)
                return Switched()
            case Restore(slot):
                self.disk.point(slot)
                return Restored()
            case Fill() | SelfTest():
                return Denied("failed", "interrupted")  # only `install` has a source; `_run` tests

    def _fill(
        self, slot: Slot, source: BundleSource, manifest: Manifest, manifest_bytes: bytes, signature: bytes
    ) -> Event:
        try:
            self.disk.clear(slot, manifest)
            installed = self.disk.slot(self._state.slot) if self._state.slot else None
            moved = source.fill(self.disk.slot(slot), installed)
            self.disk.seal(slot, manifest_bytes, signature)
        except EdgeError as error:
            self.last_error = error
            return Denied("failed", reason_of(error))
        except OSError as error:
            self.last_error = resource_error(error, str(self.disk.slot(slot)))
            self.last_error.__cause__ = error
            return Denied("failed", reason_of(self.last_error))
        return Filled(moved.moved_bytes, moved.kept_bytes)

    def _already(self, order: Order, manifest: Manifest) -> InstallOutcome:
        """The build is in force and whole: nothing moves, it may only have got another name."""
        state = self._state
        last = InstallOutcome(
            outcome="committed",
            reason="none",
            from_digest=order.build.digest,
            to_digest=order.build.digest,
            release=order.build.release,
            slot=state.slot,
            moved_bytes=0,
            kept_bytes=sum(entry.size_bytes for entry in manifest.files),
            duration_s=round(max(0.0, self._clock() - self._began_s), 3),
            rollout=order.rollout,
        )
        self._state = replace(state, build=order.build, last=last)
        self.disk.save(self._state)
        return last

    # ---- checks -------------------------------------------------------------------------------------------------

    def _check_head(self, manifest_bytes: bytes, signature: bytes) -> Manifest:
        """Everything that can be refused before a byte is moved. Errors: UntrustedError, BundleError."""
        where = f"the bundle for '{self.profile}'"
        manifest, _ = check_head(manifest_bytes, signature, self._trust, device=None, where=where)
        check_profile(manifest, self.profile, where)
        check_target(manifest, self._device, where)
        check_features(manifest, where)
        return manifest

    def _verify(self, slot: Slot, digest: str) -> Event:
        folder = self.disk.slot(slot)
        try:
            opened = open_folder(folder, self._trust, check_files=True)
            if opened.bundle_digest != digest:
                raise BundleError("holds another bundle than was ordered", where=str(folder), mend="install it again")
            check_target(opened.manifest, self._device, str(folder))
            check_features(opened.manifest, str(folder))
        except EdgeError as error:
            self.last_error = error
            return Denied(name_of(error), reason_of(error))
        return Checked()

    # ---- what is told -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.last_error, self._began_s, self._state = None, self._clock(), State()

    def _outcome(self) -> InstallOutcome:
        last = self._state.last
        if last is None:
            raise ResourceError("nothing was installed", where=str(self.disk.base), mend="run it again")
        if self.last_error is None:
            self.last_error = error_of(last, str(self.disk.base))
        return last

    def _refused(self, error: EdgeError, order: Order | None) -> InstallOutcome:
        """The call came to an error before the rules could say how it ended; what is under way goes on later."""
        self.last_error = error
        now = self.status()
        return InstallOutcome(
            outcome=name_of(error),
            reason=reason_of(error),
            from_digest=now.bundle_digest,
            to_digest=order.build.digest if order else None,
            release=order.build.release if order else None,
            slot=now.slot,
            moved_bytes=self._state.moved_bytes,
            kept_bytes=self._state.kept_bytes,
            duration_s=round(max(0.0, self._clock() - self._began_s), 3),
            rollout=order.rollout if order else None,
        )
