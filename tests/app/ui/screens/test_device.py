"""The device screen over a real desk: figures in sight, the test refused over a patient, run, stopped, exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import BenchmarkDone, DeviceReading, Died, Progress
from edge.app.engine.scripted import After
from edge.app.i18n import tr
from edge.app.presenters.device import DevicePresenter
from tests.app.presenters.note_desk import NoteDesk
from tests.app.presenters.test_device import RESULT
from tests.app.ui.driver import Driver
from tests.app.ui.screens.screen_checks import SIZES, overflowing, small_targets


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    made.draft()
    for number in range(20):
        made.client.push(DeviceReading(50.0 + number, number > 15, 5_000_000_000, 340_000_000, 2400.0))
    made.pass_s(0.2)
    yield made
    made.close()


def mount(ui: Driver, desk: NoteDesk, **options: Any) -> Any:
    from edge.app.ui.screens.device import DeviceScreen

    presenter = DevicePresenter(desk.workspace, lambda: (40_000_000_000, 64_000_000_000))
    screen = ui.mount(lambda: DeviceScreen(presenter, desk.workspace), **options)
    screen.show()
    ui.frame(10)
    return screen


def button(ui: Driver, text: str) -> Any:
    return ui.find(text=text)


def test_figures_are_in_sight(ui: Driver, desk: NoteDesk) -> None:
    """Digest, device test, speed, memory, heat and storage, each in words."""
    screen = mount(ui, desk)
    words = ui.words()
    for wanted in ("0123456789ab", tr("device.verified_passed"), "10.0 tok/s", "340 MB", "69 °C", "40.00 GB"):
        assert wanted in words
    assert tr("device.throttled_now") in words and len(screen.ids.graph.points) == 20


def test_refused_over_a_patient_then_run_stop_and_result(ui: Driver, desk: NoteDesk, tmp_path: Path) -> None:
    """The whole way of a device test, by finger."""
    result = tmp_path / "r.json"
    result.write_text(json.dumps(RESULT))
    desk.client.answer = lambda r: [
        After(0.0, Progress(r.run_id, 3, 10)),
        After(5.0, BenchmarkDone(r.run_id, False, str(result), "1 of 8 gates does not hold.")),
    ]
    screen = mount(ui, desk)
    run = button(ui, tr("device.benchmark_run"))
    assert run.disabled and tr("device.refused_open") in ui.words()
    ui.tap(button(ui, tr("device.close_patient")))
    ui.frame(5)
    assert desk.workspace.encounter is None
    ui.tap(button(ui, tr("device.benchmark_run")))
    ui.frame(3)
    ui.tap(button(ui, tr("device.benchmark_go")))
    desk.pass_s(0.5)
    ui.frame(5)
    assert "Measuring, 30 %" in ui.words()
    stop = button(ui, tr("device.benchmark_stop"))
    assert stop.height >= 56
    ui.tap(stop)
    assert tr("device.benchmark_stop") not in ui.words()
    desk.pass_s(1.0)
    screen.presenter.ask_benchmark("note")
    screen.presenter.run_benchmark()
    desk.pass_s(6.0)
    ui.frame(6)
    words = ui.words()
    assert tr("device.not_passed") in words and "1 of 8 gates does not hold." in words and "684 ms" in words
    screen.start_folder = tmp_path
    ui.tap(button(ui, tr("device.export")))
    ui.frame(4)
    ui.window.children[0].act("choose")
    ui.frame(4)
    assert "SHA-256 " in ui.words() and len(list(tmp_path.glob("edge-device-test-*.json"))) == 1


def test_dead_engine_has_its_button(ui: Driver, desk: NoteDesk) -> None:
    """After a crash one tap loads the model again."""
    screen = mount(ui, desk)
    desk.client.push(Died(-9))
    desk.pass_s(0.2)
    ui.frame(5)
    assert "The suggestion engine stopped." in ui.words()
    starts = desk.client.starts
    ui.tap(button(ui, tr("device.restart")))
    assert desk.client.starts == starts + 1 and screen is not None


def test_no_model_says_what_still_works(ui: Driver, desk: NoteDesk) -> None:
    """An empty screen would look broken."""
    desk.workspace.services.engines.clear()  # type: ignore[attr-defined]
    mount(ui, desk)
    assert tr("device.no_models_hint") in ui.words()


@pytest.mark.parametrize("scale", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_targets_and_words_fit(ui: Driver, desk: NoteDesk, scale: float, size: tuple[int, int]) -> None:
    """A button too small for a glove, or a word that is cut, in either language."""
    for language in ("en", "de"):
        screen = mount(ui, desk, scale=scale, size=size, language=language)
        for pane in (0, 1):
            screen.pane = pane
            ui.frame(8)
            assert small_targets(ui, screen) == []
            assert overflowing(ui, screen) == []
        screen.hide()
