"""What the settings say of the app itself: versions, licences, limits, the builds in use, and the log in words."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from edge.app.i18n import catalogue, tr, tr_n
from edge.app.presenters.when import local

if TYPE_CHECKING:
    from edge.app.vault.protocol import AuditEntry, AuditState
    from edge.app.workspace import Workspace

# Distribution -> licence (SPDX), of what is in the app's process or the engine's. "" as distribution: not a package.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("edge-kit", "edge-kit", "Apache-2.0"),
    ("Kivy", "kivy", "MIT"),
    ("SQLCipher (sqlcipher3)", "sqlcipher3", "BSD-3-Clause, Zlib"),
    ("cryptography", "cryptography", "Apache-2.0 OR BSD-3-Clause"),
    ("ONNX Runtime", "onnxruntime", "MIT"),
    ("Tokenizers", "tokenizers", "Apache-2.0"),
    ("llguidance", "llguidance", "MIT"),
    ("NumPy", "numpy", "BSD-3-Clause"),
    ("RapidFuzz", "rapidfuzz", "MIT"),
    ("PyYAML", "pyyaml", "MIT"),
    ("psutil", "psutil", "BSD-3-Clause"),
    ("ReportLab", "reportlab", "BSD-3-Clause"),
    ("fhir.resources", "fhir.resources", "BSD-3-Clause"),
    ("Roboto", "", "Apache-2.0"),
    ("Material Design Icons", "", "Apache-2.0"),
)
LIMITS = ("support", "score", "screen_reader", "right_to_left", "languages", "one_person")
DIGITS_SHOWN = 16


@dataclass(frozen=True)
class Part:
    """A piece of software: version '' where it has none here."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class BundleRow:
    """A build in use. tone: support, danger or missing, as `verified_words` say."""

    name: str
    model: str
    tasks: str
    target: str
    behaviour_digest: str
    bundle_digest: str
    verified_words: str
    tone: str


@dataclass(frozen=True)
class AboutView:
    """versions: (label, value)."""

    versions: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    limits: tuple[str, ...]
    bundles: tuple[BundleRow, ...]


@dataclass(frozen=True)
class AuditRow:
    """One entry of the log in words. visit: the beginning of an id that means nothing to a person, '' for none."""

    number: int
    at: str
    words: str
    visit: str


@dataclass(frozen=True)
class AuditView:
    """loading: the log is being read and checked. tone: support or danger, as `state_words` say."""

    loading: bool = True
    state_words: str = ""
    tone: str = ""
    rows: tuple[AuditRow, ...] = ()
    head: str = ""


@lru_cache(maxsize=32)
def version_of(distribution: str) -> str:
    """Version of an installed distribution, '' when it is not installed."""
    if not distribution:
        return ""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def about(workspace: Workspace) -> AboutView:
    """As things are now."""
    return AboutView(
        versions=(
            (tr("settings.about_app"), version_of("edge-kit") or tr("settings.about_source")),
            ("Python", platform.python_version()),
            (tr("settings.about_system"), f"{platform.system()} {platform.machine()}"),
        ),
        parts=tuple(
            Part(name, version_of(distribution), licence)
            for name, distribution, licence in PARTS
            if not distribution or version_of(distribution)
        ),
        limits=tuple(tr(f"settings.limit_{name}") for name in LIMITS),
        bundles=_bundles(workspace),
    )


def _bundles(workspace: Workspace) -> tuple[BundleRow, ...]:
    rows: dict[str, BundleRow] = {}
    for task in workspace.services.engines:
        facts = workspace.facts(task)
        if facts is None or facts.bundle_digest in rows:
            continue
        tone = {"passed": "support", "failed": "danger"}.get(facts.verified, "missing")
        rows[facts.bundle_digest] = BundleRow(
            name=facts.name,
            model=facts.model_words,
            tasks=", ".join(_task_words(one) for one in facts.tasks),
            target=facts.target,
            behaviour_digest=facts.behaviour_digest[:DIGITS_SHOWN],
            bundle_digest=facts.bundle_digest[:DIGITS_SHOWN],
            verified_words=tr(f"settings.verified_{facts.verified}"),
            tone=tone,
        )
    return tuple(rows.values())


def _task_words(task: str) -> str:
    return _known(f"settings.task_{task.replace('-', '_')}", task)


def _known(key: str, otherwise: str, **values: object) -> str:
    return tr(key, **values) if key in catalogue("en") else otherwise


def audit_words(action: str, reason: str = "") -> str:
    """An action of the log in words; one without words stays as it is written there."""
    said = _known(f"settings.audit_{action.replace('-', '_')}", action)
    why = _known(f"worklist.reason_{reason.replace('-', '_')}", "") if reason else ""
    return f"{said} ({why})" if why else said


def audit_view(entries: tuple[AuditEntry, ...], state: AuditState, zone: tzinfo | None = None) -> AuditView:
    """The log and what its check found. Times to the second: a log is compared with other logs."""
    if not state.whole:
        reason = _known(f"settings.broken_{state.reason.replace('-', '_')}", state.reason)
        said, tone = tr("settings.audit_broken", number=state.first_broken, reason=reason), "danger"
        if state.rows_altered:
            said = f"{said} {tr('settings.audit_rows_too')}"
    elif state.rows_altered:
        said, tone = tr("settings.audit_rows_altered"), "danger"
    else:
        said, tone = tr_n("settings.audit_whole", state.entries), "support"
    rows = tuple(
        AuditRow(
            one.sequence,
            _moment(local(one.at, zone)),
            audit_words(one.action, one.detail.get("reason", "")),
            one.encounter_id[:8],
        )
        for one in entries
    )
    head = f"{entries[0].sequence} {entries[0].hash[:DIGITS_SHOWN]}" if entries else ""
    return AuditView(False, said, tone, rows, head)


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at is not None else ""
