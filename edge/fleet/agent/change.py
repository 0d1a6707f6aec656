"""Installs and ways back, in a process of their own: python -m edge.fleet.agent.change FOLDER

Brings the places of updates and the slots together: refresh the metadata, find the release, hand its chunks to the
installer, report. The agent that waits for it reads no metadata and holds no file of a bundle. A kill at any point is
what the installer is made for: the next one takes it up.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BundleError, ClockError, EdgeError, InputError, OfflineError
from edge.fleet.agent.clock import utc_now
from edge.fleet.agent.job_files import Answer, ChangeJob, Done, end_with_agent, quiet, read_change_job
from edge.fleet.wire.connection import Credentials
from edge.fleet.wire.messages import InstallReport

if TYPE_CHECKING:
    from edge.bundle.install.installer import Installer
    from edge.bundle.install.outcome import SelfTestOutcome
    from edge.bundle.install.rules import InstallOutcome
    from edge.fleet.updates.source import ChunkSource

    SelfTest = Callable[[Path], SelfTestOutcome]


class NoUpdateError(OfflineError):
    """The release is not to be had now; nothing was tried."""


def make_installer(job: ChangeJob, self_test: SelfTest | None = None) -> Installer:
    """The slots of this device. Errors: EdgeError of the key store."""
    from edge.bundle.install.installer import Installer
    from edge.bundle.keys import KeyStore
    from edge.bundle.update_lock import visit_open
    from edge.device.facts import local_facts
    from edge.fleet.install.self_test import ChildSelfTest

    lock_folder = Path(job.lock_folder)
    return Installer(
        Path(job.slots),
        job.profile,
        trust=KeyStore(Path(job.keys)).trust_store(),
        lock_folder=lock_folder,
        self_test=self_test
        or ChildSelfTest(lambda: visit_open(lock_folder), environment={**os.environ, "EDGE_HOME": job.keys}),
        device=local_facts(),
    )


def find_source(job: ChangeJob, clock: Callable[[], datetime] = utc_now) -> ChunkSource:
    """Where the release comes from. Errors: NoUpdateError when no place has it; others of UpdateClient."""
    from edge.fleet.updates.client import UpdateClient
    from edge.fleet.updates.places import open_place

    credentials = Credentials(Path(job.ca), Path(job.certificate), Path(job.tls_key))
    places = tuple(
        open_place(one, credentials if one.startswith("https://") else None)
        for one in job.updates
        if one.startswith("https://") or Path(one).is_dir()
    )
    if not places:
        raise NoUpdateError("no place of updates can be reached")
    client = UpdateClient(Path(job.updates_home), places, clock)
    with contextlib.suppress(OfflineError):  # what was refreshed before may do
        client.refresh()
    release = next((one for one in client.releases() if one.release == job.release), None)
    if release is None:
        raise NoUpdateError("the release is not listed")
    if job.digest is not None and release.bundle_digest != job.digest:
        raise BundleError("the release is another bundle than the desired one", mend="add it under another name")
    return client.source(release)


def change(
    job: ChangeJob, *, self_test: SelfTest | None = None, clock: Callable[[], datetime] = utc_now
) -> InstallOutcome | None:
    """Do it. None: there was nothing to take up. Errors: NoUpdateError; others before anything was changed."""
    installer = make_installer(job, self_test)
    if job.operation == "resume":
        return installer.resume()
    if job.operation == "rollback":
        return installer.rollback("requested")
    return installer.install(find_source(job, clock), release=job.release, rollout=job.rollout)


def refused(job: ChangeJob, error: EdgeError) -> InstallReport:
    """An install that never began, as the fleet hears of it."""
    from edge.bundle.install.outcome import reason_of

    return InstallReport(
        outcome="refused",
        reason="expired_metadata" if isinstance(error, ClockError) else reason_of(error),
        from_digest=None,
        to_digest=job.digest,
        release=job.release,
        slot=None,
        moved_bytes=0,
        kept_bytes=0,
        duration_s=0.0,
        rollout=job.rollout,
    )


def main(arguments: list[str]) -> int:
    """One job. Exit code 0 when there is an answer."""
    quiet()
    folder = Path(arguments[0])
    answer = Answer(folder)
    end_with_agent(lambda: os._exit(1))
    try:
        job = read_change_job(folder)
        try:
            outcome = change(job)
        except (NoUpdateError, InputError):
            answer.give(Done(no_update=True, outcome="refused", install_reason="other"))
            return 1
        except EdgeError as error:
            report = refused(job, error)
            answer.give(Done(outcome="refused", install_reason=report.reason), report.to_bytes())
            return 1
        if outcome is None:
            answer.give(Done())
            return 1
        report = InstallReport(**asdict(replace(outcome, rollout=outcome.rollout or job.rollout)))
        answer.give(Done(outcome=report.outcome, install_reason=report.reason), report.to_bytes())
    except Exception:  # noqa: BLE001  its text stays here
        answer.give(Done(outcome="failed", install_reason="other"))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
