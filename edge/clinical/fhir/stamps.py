"""What a FHIR document says of the software that made it: builds by their digests, and rows of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BundleStamp:
    """A build that may have written into the encounter. model: in words, as edge.app shows it; verified: passed,
    failed, none or forced.
    """

    name: str
    behaviour_digest: str
    bundle_digest: str = ""
    model: str = ""
    verified: str = ""


@dataclass(frozen=True)
class DeviceStamp:
    """The program and the builds it had loaded. version: of edge; speech: name of the speech model, '' without one."""

    version: str
    bundles: tuple[BundleStamp, ...] = ()
    speech: str = ""

    def bundle_of(self, behaviour_digest: str) -> BundleStamp | None:
        """The build with this behaviour digest, None where it is not loaded now."""
        return next((one for one in self.bundles if one.behaviour_digest == behaviour_digest), None)


@dataclass(frozen=True)
class AuditRow:
    """One row of the audit log. at: UTC ISO 8601; digest: of the row in its chain, hex. detail holds no patient's
    words; that is the log's own rule.
    """

    at: str
    action: str
    encounter_id: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
