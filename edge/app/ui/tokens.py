"""Colours, text sizes, spaces: one place, no Kivy, so that contrast is tested without a screen.

Colours are #RRGGBB (overlay: #RRGGBBAA). Sizes are sp or dp at font scale 1. A colour never stands alone: each tone has
an icon and a word beside it.
"""

from __future__ import annotations

LIGHT: dict[str, str] = {
    "background": "#F4F6F8",
    "surface": "#FFFFFF",
    "surface_2": "#E9EEF2",
    "ink": "#14202B",
    "ink_2": "#475765",
    "line": "#C3CDD6",
    "outline": "#7C8B98",
    "track": "#DCE4EA",
    "primary": "#0B5C6B",
    "primary_ink": "#FFFFFF",
    "primary_soft": "#D3EBEF",
    "primary_soft_ink": "#0A4A57",
    "bar": "#0B7285",
    "support": "#1B6B3A",
    "support_soft": "#DDF2E4",
    "against": "#85500B",
    "against_soft": "#FBEBD3",
    "missing": "#4650A8",
    "missing_soft": "#E6E8FA",
    "danger": "#B3161B",
    "danger_ink": "#FFFFFF",
    "danger_soft": "#FDE4E3",
    "danger_soft_ink": "#8C1014",
    "focus": "#1E5FD0",
    "overlay": "#0B141BB8",
}

NIGHT: dict[str, str] = {
    "background": "#0B0F12",
    "surface": "#151B20",
    "surface_2": "#202930",
    "ink": "#E6ECF0",
    "ink_2": "#A9B7C2",
    "line": "#33404A",
    "outline": "#6B7C89",
    "track": "#2A343C",
    "primary": "#6CC9D8",
    "primary_ink": "#04252C",
    "primary_soft": "#123C45",
    "primary_soft_ink": "#BDE9F0",
    "bar": "#4FB3C4",
    "support": "#7FD3A0",
    "support_soft": "#143524",
    "against": "#E8B26A",
    "against_soft": "#3B2A10",
    "missing": "#B0B8FF",
    "missing_soft": "#232748",
    "danger": "#FF8A84",
    "danger_ink": "#3A0306",
    "danger_soft": "#471417",
    "danger_soft_ink": "#FFC9C5",
    "focus": "#9DC3FF",
    "overlay": "#020405CC",
}

# (words, ground): every pair that the kit or a screen draws text in. At least 4.5:1 in both lists.
TEXT_PAIRS: tuple[tuple[str, str], ...] = (
    ("ink", "background"),
    ("ink", "surface"),
    ("ink", "surface_2"),
    ("ink", "primary_soft"),
    ("ink", "support_soft"),
    ("ink", "against_soft"),
    ("ink", "missing_soft"),
    ("ink", "danger_soft"),
    ("ink_2", "background"),
    ("ink_2", "surface"),
    ("ink_2", "surface_2"),
    ("primary", "background"),
    ("primary", "surface"),
    ("primary", "surface_2"),
    ("primary_ink", "primary"),
    ("primary_soft_ink", "primary_soft"),
    ("support", "surface"),
    ("support", "background"),
    ("support", "support_soft"),
    ("against", "surface"),
    ("against", "background"),
    ("against", "against_soft"),
    ("missing", "surface"),
    ("missing", "background"),
    ("missing", "missing_soft"),
    ("danger", "surface"),
    ("danger", "background"),
    ("danger", "surface_2"),
    ("danger", "danger_soft"),
    ("danger_ink", "danger"),
    ("danger_soft_ink", "danger_soft"),
)
# (shape, ground): borders of what can be touched, bars and focus rings. At least 3:1 (WCAG 1.4.11).
SHAPE_PAIRS: tuple[tuple[str, str], ...] = (
    ("outline", "surface"),
    ("outline", "background"),
    ("bar", "track"),
    ("focus", "surface"),
    ("focus", "background"),
    ("primary", "surface"),
)

TYPE: dict[str, int] = {"display": 28, "title": 20, "heading": 18, "body": 16, "label": 15, "small": 14, "tiny": 13}
SPACE: tuple[int, ...] = (4, 8, 12, 16, 24, 32)
RADIUS: dict[str, int] = {"small": 8, "card": 12, "round": 24}
TOUCH = 48
TOUCH_BIG = 56
WIDE = 840  # dp; below it one pane with tabs
SCALE_LEAST, SCALE_MOST = 0.85, 2.0
MOTION_S = 0.15

# tone -> (ground, words, icon): what pills and banners of a tone look like. Icons differ, so colour is never alone.
TONES: dict[str, tuple[str, str, str]] = {
    "plain": ("surface_2", "ink", "information"),
    "info": ("primary_soft", "primary_soft_ink", "information"),
    "support": ("support_soft", "support", "check-circle"),
    "warning": ("against_soft", "against", "alert"),
    "missing": ("missing_soft", "missing", "help-circle"),
    "soft_danger": ("danger_soft", "danger_soft_ink", "alert"),
    "danger": ("danger", "danger_ink", "alert-octagon"),
}


def luminance(colour: str) -> float:
    """Relative luminance of #RRGGBB by WCAG 2.1, 0 to 1."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two #RRGGBB by WCAG 2.1, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
