"""Every widget of the kit in one picture: `python -m benchmarks.app_gallery OUT.png [--night] [--scale 1.3]`.

For whoever changes the kit: look at it in both palettes and at three sizes of type. The words are samples.
"""

from __future__ import annotations

import argparse
from typing import Any

SIZE = (1280, 1700)
STREAM = (
    "Acute angle closure: a fixed, mid-dilated pupil with a pressure of 52 mmHg and a hazy cornea.\n"
    "Uveitis would usually give a small pupil and cells in the anterior chamber; check with the slit lamp."
)


def build(columns: int = 2) -> Any:
    """The widgets, in one or two columns. Import Kivy only after environment.prepare."""
    from kivy.uix.boxlayout import BoxLayout

    from edge.app.ui import kit

    root = BoxLayout(padding=16, spacing=16)
    parts = (_left(kit), _right(kit))
    for part in parts if columns == 2 else ([*parts[0], *parts[1]],):
        column = kit.EdgeColumn(pos_hint={"top": 1})
        for widget in part:
            column.add_widget(widget)
        root.add_widget(column)
    return root


def _card(kit: Any, title: str, *widgets: Any) -> Any:
    card = kit.EdgeCard()
    card.add_widget(kit.EdgeLabel(text=title, kind="small", medium=True, tone="ink_2"))
    for widget in widgets:
        card.add_widget(widget)
    return card


def _together(box: Any, *widgets: Any) -> Any:
    for widget in widgets:
        box.add_widget(widget)
    return box


def _left(kit: Any) -> list[Any]:
    chips = [
        kit.EdgeChip(text="Sudden eye pain", presence="present"),
        kit.EdgeChip(text="Red eye"),
        kit.EdgeChip(text="Halos", presence="absent"),
        kit.EdgeChip(text="Photophobia"),
        kit.EdgeChip(text="Nausea", presence="present", disabled=True),
    ]
    buttons = [
        kit.EdgeButton(text="Sign", icon="check-decagram", kind="primary", big=True),
        kit.EdgeButton(text="Draft note", icon="note", kind="primary"),
        kit.EdgeButton(text="Export", icon="export"),
        kit.EdgeButton(text="Delete", icon="delete", kind="danger"),
        kit.EdgeButton(text="Dismiss", kind="quiet"),
        kit.EdgeButton(text="Cannot now", icon="lock", disabled=True),
        kit.EdgeIconButton(icon="undo", kind="plain", spoken="Undo"),
        kit.EdgeIconButton(icon="redo", spoken="Redo", disabled=True),
    ]
    pills = [
        kit.EdgePill(text="Allergy: sulfa", icon="alert", tone="soft_danger"),
        kit.EdgePill(text="No known allergies", icon="check-circle", tone="support"),
        kit.EdgePill(text="Allergies not asked", icon="help-circle", tone="warning"),
        kit.EdgePill(text="Offline", icon="wifi-off", tone="support"),
        kit.EdgeTag(text="Model", icon="robot", tone="info"),
        kit.EdgeTag(text="Not in transcript", icon="link-off", tone="missing"),
        kit.EdgeTag(text="Draft", icon="pencil"),
    ]
    steppers = [
        kit.EdgeStepper(label="IOP OD", value_text="52", unit="mmHg", grade="critical"),
        kit.EdgeStepper(label="BP systolic", value_text="162", unit="mmHg", grade="high"),
        kit.EdgeStepper(label="Heart rate", value_text="92", unit="/min"),
        kit.EdgeStepper(label="SpO2"),
    ]
    eyes = [("OD", "OD right"), ("OS", "OS left"), ("OU", "OU both")]
    return [
        _card(kit, "Findings", kit.EdgeSearch(hint="Search findings", trailing="microphone"), _flow(kit, chips)),
        _card(kit, "Choice", kit.EdgeSegment(options=eyes, selected="OD")),
        _card(
            kit,
            "Vitals",
            _together(kit.EdgeRow(spacing=16), *steppers[:2]),
            _together(kit.EdgeRow(spacing=16), *steppers[2:]),
        ),
        _card(kit, "Commands", _flow(kit, buttons)),
        _card(kit, "States", _flow(kit, pills)),
        _card(
            kit,
            "Fields",
            kit.EdgeField(label="Name", text="MORALES, Ana"),
            kit.EdgeField(label="Date of birth", hint="14.03.1957", error="This date is in the future."),
            kit.EdgeSwitch(text="Night", note="Near black, for dark rooms", active=True),
            kit.EdgeSwitch(text="Beep", active=False),
        ),
    ]


def _flow(kit: Any, widgets: list[Any]) -> Any:
    return _together(kit.EdgeFlow(), *widgets)


def _right(kit: Any) -> list[Any]:
    first = kit.EdgeRank(
        rank="1",
        name="Acute angle-closure glaucoma",
        code="H40.211",
        score_text="68%",
        fraction=0.68,
        is_open=True,
        pinned=True,
    )
    found = [("a", "Sudden eye pain", True), ("b", "Halos", True), ("c", "IOP 52 mmHg", True)]
    first.add_widget(kit.EdgeBasis(role="supports", items=found))
    first.add_widget(kit.EdgeBasis(role="against", items=[("d", "No prior episodes", True)]))
    first.add_widget(kit.EdgeBasis(role="missing", items=[("e", "Gonioscopy", False)]))
    second = kit.EdgeRank(rank="2", name="Anterior uveitis", code="H20.00", score_text="16%", fraction=0.16)
    third = kit.EdgeRank(rank="3", name="Dismissed option", code="H34.811", score_text="7%", fraction=0.07, dimmed=True)
    points = [(second, 55 + 26 * (1 - 0.97**second)) for second in range(120)]
    graph = kit.EdgeGraph(points=points, lines=[(80, "80 °C", "danger")], words=("-2 min", "now"), unit="°C")
    pad = _together(kit.EdgeRow(spacing=32), kit.EdgeNumberPad(decimal=True, listens=False), kit.EdgePinDots(filled=2))
    return [
        kit.EdgeBanner(tone="danger", text="Sight-threatening: IOP 52 mmHg with pain OD. Same-day ophthalmology."),
        kit.EdgeBanner(tone="warning", text="Device is hot (81 °C). Slower than usual.", own_icon="fire"),
        kit.EdgeBanner(tone="info", text="Done in 14 s. Check each item.", trailing="close"),
        first,
        second,
        third,
        kit.EdgeTabs(options=[("0", "Findings"), ("1", "Differential")], selected="1"),
        _card(kit, "Model reasoning", kit.EdgeStreamText(text=STREAM, size_hint_y=None, height=110)),
        _card(kit, "Temperature", graph),
        _card(kit, "Pad", pad),
        kit.EdgeEmpty(icon="list", title="Nobody on the list", text="Start with a new patient.", command="New patient"),
    ]


def main() -> int:
    """Draw the picture named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--night", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    from edge.app.ui import environment

    environment.prepare(size=SIZE, backend="offscreen")
    from kivy.base import EventLoop, runTouchApp
    from kivy.core.window import Window
    from PIL import Image

    from edge.app.ui.picture import pixels
    from edge.app.ui.theme import theme

    theme.night, theme.scale = options.night, options.scale
    Window.size = (SIZE[0], int(SIZE[1] * max(1.0, options.scale * 1.15)))
    runTouchApp(embedded=True)
    Window.add_widget(build())
    for _ in range(10):
        EventLoop.idle()
    width, height, data = pixels(Window)
    image = Image.frombytes("RGBA", (width, height), data).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    image.convert("RGB").save(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
