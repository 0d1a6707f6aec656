"""The check of a document by fhir.resources, loaded only here: an export needs it, nothing else does.

Version 8 of the library speaks R5 by default; this takes its R4B models. Every resource of our documents has the same
elements in R4 and R4B (docs/fhir.md says how that is held).
"""

from __future__ import annotations

import re
from typing import Any

from edge.errors import InputError, MissingToolError

_PLACE = re.compile(r"[A-Za-z0-9_]{1,40}")


def validate(bundle: dict[str, Any]) -> None:
    """Hold a Bundle against FHIR's structure and its references against each other.

    Errors: InputError naming the first element that is wrong, never its content; MissingToolError without the library.
    """
    try:
        from fhir.resources.R4B.bundle import Bundle
        from pydantic import ValidationError
    except ImportError as error:
        raise MissingToolError(
            "FHIR export needs the package fhir.resources", mend="install it with pip install 'edge-kit[app]'"
        ) from error
    try:
        Bundle.model_validate(bundle)
    except ValidationError as error:
        # The library's message quotes the value that it refuses, which may be a patient's word: only the place is told.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if _PLACE.fullmatch(str(part)))
        raise InputError(
            f"the FHIR document is not valid at {place or 'its root'} ({first['type']})",
            mend="export the PDF instead and report this as a bug",
        ) from None
    if dangling(bundle):
        raise InputError("the FHIR document refers to what is not in it", mend="report this as a bug")


def references(value: object) -> list[str]:
    """Every literal reference inside a resource."""
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def dangling(bundle: dict[str, Any]) -> list[str]:
    """References that no entry answers to."""
    known = {entry["fullUrl"] for entry in bundle["entry"]}
    return sorted({one for entry in bundle["entry"] for one in references(entry["resource"]) if one not in known})
