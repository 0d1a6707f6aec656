"""From a panel's dots per inch to pixels per dp."""

from __future__ import annotations

import math

from edge.errors import InputError

BASE_DPI = 160.0  # at this density a dp is a pixel
LEAST, MOST = 0.5, 4.0
INCH_MM = 25.4


def density_for(dpi: float) -> float:
    """Pixels per dp of a panel, held between 0.5 and 4. Errors: InputError for what is no density."""
    if not (math.isfinite(dpi) and dpi > 0):
        raise InputError("the panel's dots per inch are not a positive number", mend="give them as the data sheet does")
    return max(LEAST, min(MOST, dpi / BASE_DPI))


def dpi_of(size_px: tuple[int, int], size_mm: tuple[float, float]) -> float:
    """Dots per inch from pixels and millimetres, as the panel's EDID tells both. Errors: InputError."""
    if min(*size_px, *size_mm) <= 0:
        raise InputError("the panel's size is not known", mend="give its dots per inch")
    return math.hypot(*size_px) / (math.hypot(*size_mm) / INCH_MM)
