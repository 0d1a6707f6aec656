"""An encounter as a FHIR R4 document: a pure mapping, and a check by a library that is loaded only for an export."""

from edge.clinical.fhir.document import document
from edge.clinical.fhir.stamps import AuditRow, BundleStamp, DeviceStamp

__all__ = ["AuditRow", "BundleStamp", "DeviceStamp", "document"]
