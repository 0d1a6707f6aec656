"""Makes icons.ttf and Edge-Medium.ttf in edge/app/ui/fonts from their public packages.

    npm pack @mdi/font@7.4.47 && tar xzf mdi-font-7.4.47.tgz
    npm pack roboto-fontface@0.10.0 && mkdir roboto && tar xzf roboto-fontface-0.10.0.tgz -C roboto
    python benchmarks/make_icons.py package/css/materialdesignicons.css package/fonts/materialdesignicons-webfont.ttf \
        roboto/package/fonts/roboto/Roboto-Medium.woff

Needs fonttools, which the app does not. Prints the dictionary of edge/app/ui/icons.py. Kivy ships Roboto regular and
bold; the medium weight of names, buttons and figures is ours.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

# name in the app -> name in Material Design Icons
NAMES = {
    "account": "account-outline",
    "account-plus": "account-plus-outline",
    "alert": "alert",
    "alert-circle": "alert-circle",
    "alert-octagon": "alert-octagon",
    "arrow-left": "arrow-left",
    "arrow-right": "arrow-right",
    "backspace": "backspace-outline",
    "bed": "bed-outline",
    "bone": "bone",
    "brain": "brain",
    "calendar": "calendar",
    "check": "check",
    "check-circle": "check-circle-outline",
    "check-decagram": "check-decagram-outline",
    "chevron-down": "chevron-down",
    "chevron-left": "chevron-left",
    "chevron-right": "chevron-right",
    "chevron-up": "chevron-up",
    "chip": "chip",
    "clock": "clock-outline",
    "close": "close",
    "cog": "cog-outline",
    "copy": "content-copy",
    "delete": "delete-outline",
    "dots": "dots-horizontal",
    "ear": "ear-hearing",
    "export": "export-variant",
    "eye": "eye-outline",
    "file-document": "file-document-outline",
    "file-pdf": "file-pdf-box",
    "filter": "filter-variant",
    "fire": "fire",
    "flask": "flask-outline",
    "folder-open": "folder-open-outline",
    "format-size": "format-size",
    "gauge": "gauge",
    "hand": "hand-back-right-outline",
    "heart-pulse": "heart-pulse",
    "help-circle": "help-circle-outline",
    "history": "history",
    "information": "information-outline",
    "keyboard": "keyboard-outline",
    "link": "link",
    "link-off": "link-off",
    "list": "format-list-bulleted",
    "lock": "lock-outline",
    "lock-open": "lock-open-outline",
    "lungs": "lungs",
    "magnify": "magnify",
    "memory": "memory",
    "microphone": "microphone-outline",
    "microphone-off": "microphone-off",
    "minus": "minus",
    "minus-circle": "minus-circle-outline",
    "note": "file-document-outline",
    "pencil": "pencil-outline",
    "pin": "pin",
    "pin-off": "pin-off",
    "play": "play",
    "plus": "plus",
    "quote": "format-quote-close",
    "record-circle": "record-circle-outline",
    "redo": "redo",
    "refresh": "refresh",
    "robot": "robot-outline",
    "content-save": "content-save-outline",
    "shield-alert": "shield-alert-outline",
    "shield-check": "shield-check-outline",
    "shield-off": "shield-off-outline",
    "speedometer": "speedometer",
    "stethoscope": "stethoscope",
    "stomach": "stomach",
    "stop-circle": "stop-circle-outline",
    "swap-horizontal": "swap-horizontal",
    "sync": "sync",
    "thermometer": "thermometer",
    "translate": "translate",
    "undo": "undo",
    "upload": "upload",
    "water": "water-outline",
    "waveform": "waveform",
    "weather-night": "weather-night",
    "white-balance-sunny": "white-balance-sunny",
    "wifi-off": "wifi-off",
}
# Basic Latin, Latin-1, Latin Extended-A, and the typographic marks that the catalogues may use.
MEDIUM_RANGES = ((0x20, 0x7E), (0xA0, 0x17F), (0x2010, 0x2027), (0x2030, 0x203A), (0x20AC, 0x20AC), (0x2212, 0x2265))


def code_points(css: str) -> dict[str, int]:
    """Name in the app -> code point, read from the style sheet of the package. KeyError: a name is not in it."""
    found = {
        name: int(code, 16)
        for name, code in re.findall(r'\.mdi-([a-z0-9-]+)::before \{\s*content: "\\([0-9A-F]+)"', css)
    }
    return {name: found[source] for name, source in sorted(NAMES.items())}


def subset(source: Path, target: Path, points: set[int]) -> None:
    """Write a TrueType font with only these characters."""
    tool, ttlib = import_module("fontTools.subset"), import_module("fontTools.ttLib")
    options = tool.Options(
        hinting=False, layout_features=["kern"], notdef_outline=True, name_IDs=[0, 1, 2, 4, 5, 6, 13]
    )
    font = ttlib.TTFont(source, recalcTimestamp=False)
    font.flavor = None
    worker = tool.Subsetter(options)
    worker.populate(unicodes=points)
    worker.subset(font)
    # The icons' side bearings are 0 whatever their shape, and rasterisers believe them: every icon would stand left.
    for name, (advance, _) in font["hmtx"].metrics.items():
        glyph = font["glyf"][name]
        if glyph.numberOfContours:
            glyph.recalcBounds(font["glyf"])
            font["hmtx"][name] = (advance, glyph.xMin)
    font.save(target)


def main() -> int:
    """Read the packages named on the command line, write the fonts, print the code points."""
    css, icons, medium = (Path(argument) for argument in sys.argv[1:4])
    points = code_points(css.read_text(encoding="utf-8"))
    folder = Path(__file__).parent.parent / "edge" / "app" / "ui" / "fonts"
    subset(icons, folder / "icons.ttf", set(points.values()))
    subset(medium, folder / "Edge-Medium.ttf", {c for low, high in MEDIUM_RANGES for c in range(low, high + 1)})
    for name, code in points.items():
        print(f'    "{name}": "\\U{code:08X}",')
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
