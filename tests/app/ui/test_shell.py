"""The shell around two plain screens, over a real desk with a scripted engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import DeviceReading
from edge.app.engine.scripted import ScriptedClient, differential_answer
from edge.app.presenters.base import Presenter
from edge.app.ui.kit import EdgeDialog, EdgeField, EdgeLabel, EdgePane, EdgeScreen
from edge.app.ui.screens.note_dialogs import _TextDialog
from edge.app.ui.shell.shell import Shell
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import FoundItem, Presence
from tests.app.presenters.bedside_desk import ANA, PIN, Clock, Desk
from tests.app.ui.driver import Driver
from tests.app.ui.reach import too_near, too_small

PLACES = ("worklist", "exam", "eye", "note", "review", "device", "settings")
SIZES = [(1280, 800), (800, 1280), (1024, 600)]
LONG = replace(
    ANA,
    name="SCHMIDT-WOLFENSTEIN-OBERHUBER, Maria Magdalena Theresia",
    allergies=("sulfa", "penicillin (anaphylaxis)", "latex", "iodinated contrast"),
)


class Plain(Presenter[str]):
    """Says the name of the patient."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        super().__init__(self.make_view())

    def make_view(self) -> str:
        """The name."""
        return self._desk.encounter.patient.name if self._desk.encounter else ""


class PlainScreen(EdgeScreen):
    """A screen with a patient's words in a label and a field."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        pane = EdgePane()
        self.name, self.field = EdgeLabel(), EdgeField(label="Name")
        pane.add_widget(self.name)
        pane.add_widget(self.field)
        self.add_widget(pane)

    def render(self, view: str) -> None:
        """Show the name twice."""
        self.name.text = view
        self.field.show(view)


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = Clock()
    engine = ScriptedClient(clock.monotonic, differential_answer({}, step_s=1.0, total=30))
    made = Desk(tmp_path, clock=clock, engines={"note": engine, "differential": engine})
    made.open()
    made.workspace.runs.start_engines()
    engine.push(DeviceReading(61.0, False, 1_400_000_000, 1_200_000_000))
    made.workspace.tick()
    yield made
    made.close()


def shell_of(desk: Desk) -> Shell:
    """A shell with plain screens."""
    desk_ = desk.workspace
    return Shell(desk_, {name: lambda: PlainScreen(Plain(desk_), desk_) for name in (*PLACES, "lock")})


def start(desk: Desk) -> None:
    """A differential that runs."""
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Eye pain", Presence.PRESENT))
    desk.workspace.runs.start_differential()
    desk.workspace.tick()


def test_the_rail_leads_to_the_screens(ui: Driver, desk: Desk) -> None:
    """Fails when a tap on the rail does not change the screen, or a blocked place is silent."""
    shell = ui.mount(lambda: shell_of(desk))
    ui.tap(shell.rail.items["exam"])
    assert shell.place == "worklist" and shell.hint.text == "Open a patient in the worklist first."
    desk.workspace.new_encounter(ANA)
    ui.tap(shell.rail.items["exam"])
    assert shell.place == "exam" and shell.rail.items["exam"].selected
    assert shell.body.children[0].name.text == "MORALES, Ana"
    ui.key("4", "alt")
    assert shell.place == "note"


def test_a_screen_is_made_once_and_only_the_shown_one_draws(ui: Driver, desk: Desk) -> None:
    """Fails when each visit builds the screen anew, or hidden screens cost time."""
    shell = ui.mount(lambda: shell_of(desk))
    first = shell.body.children[0]
    shell.go("device")
    assert not first.is_shown
    shell.go("worklist")
    assert shell.body.children == [first] and first.is_shown


def test_stop_within_one_frame(ui: Driver, desk: Desk) -> None:
    """Fails when Stop is smaller than 56 dp, not one tap away, or shows later than the next frame."""
    shell = ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(ANA)
    start(desk)
    ui.frame()
    stop = ui.find(text="Stop")
    assert stop.width >= 56 and stop.height >= 56
    stop.dispatch("on_release")
    ui.frame()
    assert "Stopped. Partial result, not for use." in ui.words(shell)
    assert desk.workspace.runs.streaming is None


def test_nothing_moves_when_an_engine_starts(ui: Driver, desk: Desk) -> None:
    """Fails when a row moves under a finger because a status line came."""
    shell = ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(ANA)
    ui.frame(3)
    before = (tuple(shell.body.pos), tuple(shell.body.size))
    start(desk)
    ui.frame(3)
    assert (tuple(shell.body.pos), tuple(shell.body.size)) == before


def test_lock_leaves_no_word(ui: Driver, desk: Desk) -> None:
    """Fails when a locked app keeps a patient's word in any widget that lives, on the screen or not."""
    import gc

    shell = ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(replace(ANA, name="QUAGGA, Zoe"))  # a name that no other test leaves behind
    for place in PLACES:
        shell.go(place)
        ui.frame()
    dialog = EdgeDialog(title="Delete QUAGGA, Zoe?", actions=[("cancel", "Cancel", "quiet")])
    dialog.open()
    ui.frame(2)
    del dialog
    ui.tap(ui.find(text="Cancel"))
    shell.presenter.lock()
    ui.frame(3)
    assert "QUAGGA" not in ui.words(ui.root)
    assert shell.frame.parent is None and shell.lock_layer.parent is shell
    gc.collect()
    widgets = [w for w in gc.get_objects() if issubclass(type(w), (EdgeLabel, EdgeField, PlainScreen))]
    assert not [w for w in widgets if "QUAGGA" in getattr(w, "text", "")]
    assert "QUAGGA" not in repr(shell.presenter.view)


def test_unlocking_comes_back(ui: Driver, desk: Desk) -> None:
    """Fails when unlocking shows an empty screen or another patient."""
    shell = ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(ANA)
    shell.go("note")
    shell.presenter.lock()
    ui.frame(2)
    desk.settle()
    errors: list[Any] = []
    desk.workspace.unlock(PIN, errors.append)
    desk.settle()
    ui.frame(3)
    assert errors == [None] and shell.place == "note"
    assert shell.lock_layer.parent is None and "MORALES, Ana" in ui.words(shell)


def test_the_lock_takes_every_touch(ui: Driver, desk: Desk) -> None:
    """Fails when a finger reaches the app through the lock."""
    shell = ui.mount(lambda: shell_of(desk))
    place = shell.rail.items["device"]
    at = place.to_window(*place.center)
    shell.presenter.lock()
    ui.frame(2)
    ui.touch(*at)
    ui.key("6", "alt")
    assert shell.place == "worklist"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("language", ["en", "de"])
def test_the_frame_fits(ui: Driver, desk: Desk, size: tuple[int, int], scale: float, language: str) -> None:
    """Fails when the frame overflows, cuts the allergies, or its targets are too small or too near."""
    shell = ui.mount(lambda: shell_of(desk), size=size, scale=scale, language=language)
    desk.workspace.new_encounter(LONG)
    start(desk)
    ui.frame(5)
    allergy = shell.patient_bar.allergy
    assert "iodinated contrast" in allergy.words.text
    assert allergy.words.width <= allergy.width and allergy.words.height <= allergy.height
    for widget in ui.walk(shell.frame):
        if isinstance(widget, EdgeLabel) and widget.text and not widget.elide:
            assert widget.texture_size[0] <= widget.width + 1, widget.text
    for part in (allergy, shell.patient_bar.lock, shell.status_bar.engine.button, shell.patient_bar.name):
        x, y = part.to_window(part.x, part.y)
        assert x >= -1 and x + part.width <= size[0] + 1 and y >= -1 and y + part.height <= size[1] + 1
    assert too_small(ui, shell.patient_bar) == too_small(ui, shell.status_bar) == []
    assert too_small(ui, shell.rail if shell.wide else shell.bottom_rail) == []
    assert too_near(ui, shell.patient_bar) == too_near(ui, shell.rail if shell.wide else shell.bottom_rail) == []
    assert shell.body.height >= 120, "no room is left for the screen"


def test_the_name_gives_way_first(ui: Driver, desk: Desk) -> None:
    """Fails when a long name pushes age, bed or allergies off the bar."""
    shell = ui.mount(lambda: shell_of(desk), size=(1024, 600))
    desk.workspace.new_encounter(LONG)
    ui.frame(3)
    bar = shell.patient_bar
    assert bar.name.width < bar.name.natural_width or bar.name.natural_width <= bar.width
    assert bar.details.words.text == "F 68   MRN ••4821   Bed 12"
    assert bar.details.words.width <= bar.details.width


def test_night_is_one_tap(ui: Driver, desk: Desk) -> None:
    """Fails when the button does not reach the settings."""
    shell = ui.mount(lambda: shell_of(desk))
    ui.tap(shell.patient_bar.night)
    assert desk.workspace.settings.night and shell.patient_bar.night.text == "Day"


def test_undo_by_keyboard(ui: Driver, desk: Desk) -> None:
    """Fails when Ctrl+Z does not take the last edit back."""
    ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(ANA)
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Eye pain", Presence.PRESENT))
    ui.key("z", "ctrl")
    assert desk.workspace.encounter is not None and not desk.workspace.encounter.findings
    ui.key("y", "ctrl")
    assert desk.workspace.encounter.findings


def test_close_lets_go(ui: Driver, desk: Desk) -> None:
    """Fails when a replaced shell still listens and draws."""
    shell = ui.mount(lambda: shell_of(desk))
    shell.close()
    desk.workspace.new_encounter(ANA)
    ui.frame(2)
    assert "MORALES" not in ui.words(shell)


def test_half_typed_words_are_kept_at_a_lock(ui: Driver, desk: Desk) -> None:
    """A clinician who is called away while typing must find her words in the record, not nowhere."""
    shell = ui.mount(lambda: shell_of(desk))
    desk.workspace.new_encounter(ANA)
    ui.frame(2)
    told: list[str] = []
    shell.go("note")
    ui.frame(2)
    screen: Any = shell.screen("note")
    screen.field.bind(on_commit=lambda _field, text: told.append(text))
    screen.field.ids.input.text = "half a sent"
    asked: list[str] = []

    class Asked(_TextDialog):
        def answered(self, key: str, text: str) -> None:
            asked.append(text)

    dialog = Asked("Own line", "Add", "plus", hint="")
    dialog.open()
    ui.frame(2)
    dialog.field.ids.input.text = "she walks with"
    desk.workspace.lock()
    ui.frame(3)
    assert told == ["half a sent"]
    assert asked == ["she walks with"]
    assert "half a sent" not in ui.words(shell)
    shell.close()
    assert not desk.workspace.before_lock
