"""From the desk to the exporters: which builds, which rows of the log, which red flags go along with an encounter.

The work is done in the desk's own thread, since a document's check takes longer than a frame. What was exported is
written into the audit log by its digest, never by its path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.app.i18n import tr
from edge.clinical.encounter.model import Encounter
from edge.clinical.fhir.stamps import AuditRow, BundleStamp, DeviceStamp
from edge.errors import EdgeError, InputError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

AUDIT_ROWS = 500


@dataclass(frozen=True)
class Wish:
    """What a person asked for. kind: fhir or pdf; paper: A4 or Letter."""

    kind: str
    folder: Path
    with_transcript: bool = False
    paper: str = "A4"


@dataclass(frozen=True)
class Written:
    """What lies on the disk now."""

    path: Path
    sha256: str


Told = Callable[[Written | None, EdgeError | None], None]


def device_stamp(desk: Workspace) -> DeviceStamp:
    """The program and the builds that are loaded."""
    stamps: dict[str, BundleStamp] = {}
    for task in desk.runs.tasks:
        facts = desk.facts(task)
        if facts is not None:
            stamps[facts.behaviour_digest] = BundleStamp(
                facts.name, facts.behaviour_digest, facts.bundle_digest, facts.model_words, facts.verified
            )
    return DeviceStamp(__version__, tuple(stamps.values()))


def export(desk: Workspace, wish: Wish, done: Told) -> None:
    """Write one file; `done` is told by a later tick. Errors: InputError when nothing is open."""
    encounter = desk.encounter
    if encounter is None:
        raise InputError("no patient is open", mend="open one in the worklist")
    vault, device, flags = desk.vault, device_stamp(desk), desk.flags
    now, language = desk.services.clock(), desk.settings.language
    head = desk.services.background.call(vault.audit_head)[1]

    def work() -> Written:
        # Imported here: both libraries are large, and a person who never exports never waits for them.
        from edge.app.export.folder import export_fhir, export_pdf
        from edge.app.export.sheet import FlagRow

        if wish.kind == "fhir":
            rows = [
                AuditRow(one.at, one.action, one.encounter_id, one.detail, one.hash)
                for one in vault.audit_entries(AUDIT_ROWS)
            ]
            made = export_fhir(
                encounter, wish.folder, device=device, now=now, audit=rows, with_transcript=wish.with_transcript
            )
        else:
            made = export_pdf(
                encounter,
                wish.folder,
                now=now,
                flags=[FlagRow(tr(f"redflag.{flag.rule_id.replace('-', '_')}"), flag.source) for flag in flags],
                paper="a4" if wish.paper == "A4" else "letter",
                evidence=wish.with_transcript,
                language=language,
                audit_head=head,
            )
        return Written(made.path, made.sha256)

    def told(answer: Any, error: BaseException | None) -> None:
        if error is None:
            _audit(desk, encounter, wish.kind, answer.sha256)
            done(answer, None)
        elif isinstance(error, EdgeError):
            done(None, error)
        else:
            raise error

    desk.services.background.post(work, done=told)


def _audit(desk: Workspace, encounter: Encounter, kind: str, digest: str) -> None:
    desk.audit(f"export-{kind}", encounter.id, file_sha256=digest)
