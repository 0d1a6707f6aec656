"""An error with the catalogue key of the sentence that a person sees for it (edge.app.presenters.errors takes it)."""

from __future__ import annotations

from typing import TypeVar

from edge.errors import EdgeError

Error = TypeVar("Error", bound=EdgeError)


def keyed(error: Error, key: str) -> Error:
    """The same error, carrying `area.name` of the catalogue."""
    vars(error)["key"] = key
    return error
