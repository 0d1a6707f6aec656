"""What a person may set, kept in the vault: nothing of it says anything of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge.app.i18n import LANGUAGES

FONT_SCALES = (0.85, 1.0, 1.3, 1.6, 2.0)
AUTOLOCK_S = (60, 120, 300, 600)
TEMPERATURE_UNITS = ("C", "F")
VA_NOTATIONS = ("20ft", "6m", "decimal", "logmar")


@dataclass(frozen=True)
class Settings:
    """autolock_s: idle seconds until the screen locks. signer: staff name proposed for signing."""

    language: str = "en"
    night: bool = False
    font_scale: float = 1.0
    autolock_s: int = 120
    temperature_unit: str = "C"
    va_notation: str = "20ft"
    signer: str = ""
    paper: str = "A4"

    def with_value(self, name: str, value: Any) -> Settings:
        """A copy with one value changed; a value that is not one of the choices changes nothing."""
        allowed: Mapping[str, tuple[Any, ...]] = {
            "language": tuple(LANGUAGES),
            "night": (False, True),
            "font_scale": FONT_SCALES,
            "autolock_s": AUTOLOCK_S,
            "temperature_unit": TEMPERATURE_UNITS,
            "va_notation": VA_NOTATIONS,
            "paper": ("A4", "Letter"),
        }
        if name == "signer":
            return replace(self, signer=str(value)[:80])
        return replace(self, **{name: value}) if value in allowed.get(name, ()) else self

    def to_text(self) -> dict[str, str]:
        """As the vault keeps it."""
        return {name: str(value) for name, value in vars(self).items()}

    @staticmethod
    def from_text(kept: Mapping[str, str]) -> Settings:
        """From the vault; what is missing or not a choice stays at its default."""
        base = Settings()
        for name, default in vars(base).items():
            text = kept.get(name)
            if text is None:
                continue
            try:
                value = text == "True" if isinstance(default, bool) else type(default)(text)
            except ValueError:
                continue
            base = base.with_value(name, value)
        return base
