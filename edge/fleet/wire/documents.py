"""Base of every document on the wire: only fields that are listed, no free text, a version, one way to write it.

Text is a name, a digest, a time or one of a list. What a patient, a clinician, a file or an exception says has no field
that it could go into: that is how no such word leaves the device.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from edge.bundle.canonical import HEX_DIGEST, SLUG, canonical_json
from edge.errors import InputError

Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG.pattern}$")]
Digest = Annotated[str, StringConstraints(pattern=f"^{HEX_DIGEST.pattern}$")]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9][0-9a-z.+-]{0,39}$")]
Epoch = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Sequence = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
Positive = Annotated[float, Field(ge=0, le=1e18)]
Number = Annotated[float, Field(ge=-1e18, le=1e18)]
Share = Annotated[float, Field(ge=0, le=1)]
Celsius = Annotated[float, Field(ge=-100, le=300)]
_STATED_VERSION = re.compile(rb'"version":\s*(\d{1,9})')


class FutureVersionError(InputError):
    """A document of a newer edge: kept, not understood."""


class Part(BaseModel):
    """A piece of a document: frozen, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Document(Part):
    """A whole one. `VERSION`: the one that this edge writes and reads."""

    VERSION: ClassVar[int] = 1
    version: int = 1

    def to_bytes(self) -> bytes:
        """Canonical JSON without its line's end."""
        return canonical_json(self.model_dump(mode="json")).rstrip(b"\n")

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Inverse of to_bytes. `where` names the document in the error, which never holds its content.

        Errors: FutureVersionError for a version that this edge does not know; InputError for all else.
        """
        try:
            found = cls.model_validate_json(data)
        except ValidationError as error:
            stated = _STATED_VERSION.search(data)
            if stated is not None and int(stated[1]) > cls.VERSION:
                raise cls._future(where) from error
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            if first["type"] == "json_invalid":
                raise InputError(
                    f"is no {cls.__name__}: no JSON, or cut short", where=where, mend="bring it again from its sender"
                ) from error
            # Keys of an unknown field are the sender's own words: only fields that we know are named.
            known = [str(part) for part in first["loc"] if isinstance(part, int) or part in cls.model_fields]
            raise InputError(
                f"is no {cls.__name__} ({'.'.join(known) or 'as a whole'}: {first['type']})",
                where=where,
                mend="look at the sender's edge version",
            ) from error
        except RecursionError as error:
            raise InputError(f"is no {cls.__name__}", where=where, mend="look at the sender") from error
        if found.version > cls.VERSION:
            raise cls._future(where)
        if found.version != cls.VERSION:
            raise InputError(f"has no version of {cls.__name__} that is known", where=where, mend="update edge there")
        return found

    @classmethod
    def _future(cls, where: str) -> FutureVersionError:
        return FutureVersionError(
            f"is a {cls.__name__} of a newer edge (known: {cls.VERSION})", where=where, mend="update edge here"
        )
