"""The device screen's presenter: figures must be those that were measured, and the test must not run over a patient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.engine.messages import BenchmarkDone, DeviceReading, Died, Progress, Refused
from edge.app.engine.scripted import After, ScriptedClient
from edge.app.i18n import tr, translator
from edge.app.presenters.device import DevicePresenter
from edge.app.presenters.device_view import heat_graph, number, percentile, read_result, result_facts, size
from tests.app.presenters.note_desk import NoteDesk

RESULT: dict[str, Any] = {
    "load": {"load_ms": {"median": 684.0}},
    "prefill": [{"prompt_tokens": 64, "ttft_ms": {"median": 541.0}}],
    "decode": [{"context_tokens": 0, "tokens_per_s": {"median": 15.0}}],
    "memory": {"peak_rss_bytes": 330_403_840},
    "sustained": {"floor_ratio": 0.97},
    "temperature": {"highest_celsius": None},
    "golden": {"passed": True},
}


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[NoteDesk]:
    made = NoteDesk(tmp_path)
    yield made
    made.close()
    translator.language = "en"


def make(desk: NoteDesk) -> DevicePresenter:
    return DevicePresenter(desk.workspace, lambda: (40_000_000_000, 64_000_000_000))


def test_a_model_shows_digest_and_device_test(desk: NoteDesk) -> None:
    """Whoever signs must be able to read which build wrote, and whether it was tested here."""
    presenter = make(desk)
    assert presenter.view.models[0].facts == ()
    desk.draft()
    facts = {one.name: one for one in presenter.view.models[0].facts}
    assert facts[tr("device.behaviour_digest")].value == "0123456789ab"
    assert facts[tr("device.behaviour_digest")].long.startswith("0123456789ab0000")
    assert facts[tr("device.device_test")].tone == "good" and facts[tr("device.device_test")].icon == "shield-check"
    assert facts[tr("device.load_time")].value == "900 ms"


def test_speed_is_of_this_sessions_runs(desk: NoteDesk) -> None:
    """A speed of another run, or of none, would be a guess."""
    presenter = make(desk)
    assert presenter.view.speed == ()
    desk.draft()
    facts = {one.name: one.value for one in presenter.view.speed}
    assert facts[tr("device.tok_s_p50")] == "10.0 tok/s" and facts[tr("device.runs_title")] == "1 run"


def test_heat_and_memory_follow_the_readings(desk: NoteDesk) -> None:
    """A hot device must say that it is hot, in words and with an icon."""
    presenter = make(desk)
    desk.workspace.runs.start_engines()
    for temperature, hot in ((40.0, False), (81.0, True)):
        desk.client.push(DeviceReading(temperature, hot, 5_000_000_000, 340_000_000, 2400.0))
    desk.pass_s(0.2)
    view = presenter.view
    assert view.graph == (40.0, 81.0) and view.hot == (False, True)
    assert any(one.value == tr("device.throttled_now") and one.icon == "fire" for one in view.temperature)
    assert "from 40 to 81" in view.graph_words
    assert size(340_000_000) in [one.value for one in view.memory]
    assert [one.value for one in view.storage] == ["40.00 GB", "64.00 GB"]


def test_a_device_without_sensor_says_so() -> None:
    """A missing sensor must not read as 0 degrees."""
    assert heat_graph([DeviceReading(None, False, 1, 1)] * 3) == ((), (), "")


def test_the_test_is_refused_with_its_reason(desk: NoteDesk) -> None:
    """A benchmark in the middle of a visit takes the model from the patient."""
    presenter = make(desk)
    assert presenter.view.benchmark.reason == tr("device.refused_open") and presenter.view.benchmark.can_close_patient
    presenter.ask_benchmark("note")
    assert not presenter.view.benchmark.asking
    presenter.close_patient()
    assert presenter.view.benchmark.reason == ""
    presenter.ask_benchmark("note")
    assert presenter.view.benchmark.asking
    presenter.cancel_benchmark()
    presenter.run_benchmark()
    presenter.ask_benchmark("note")
    assert not presenter.view.benchmark.asking


def test_run_result_and_export(desk: NoteDesk, tmp_path: Path) -> None:
    """The exported file must be the result, byte for byte, with its digest on the screen."""
    result = tmp_path / "r.json"
    result.write_text(json.dumps(RESULT))
    desk.client.answer = lambda r: [
        After(0.0, Progress(r.run_id, 3, 10)),
        After(5.0, BenchmarkDone(r.run_id, True, str(result), "All gates hold.")),
    ]
    presenter = make(desk)
    presenter.close_patient()
    presenter.ask_benchmark("note")
    presenter.run_benchmark()
    desk.pass_s(1.0)
    assert presenter.view.benchmark.fraction == 0.3 and presenter.view.benchmark.running_words == "Measuring, 30 %"
    desk.pass_s(6.0)
    card = presenter.view.benchmark
    assert card.passed and card.verdict == "Passed" and card.words == "All gates hold."
    assert [fact.value for fact in card.facts] == [
        "684 ms", "541 ms", "15.0 tok/s", "330 MB", "97 %", "No sensor", "As built",
    ]  # fmt: skip
    (tmp_path / "out").mkdir()
    presenter.export_result(tmp_path / "out")
    written = next((tmp_path / "out").iterdir())
    assert written.read_bytes() == result.read_bytes()
    assert presenter.view.benchmark.exported[1].endswith(hashlib.sha256(result.read_bytes()).hexdigest())
    presenter.export_result(tmp_path / "nowhere")
    assert presenter.view.benchmark.export_error.startswith("Not saved.")


def test_stop_ends_the_test_in_the_same_frame(desk: NoteDesk) -> None:
    """A device test that cannot be stopped keeps the model from the next patient."""
    desk.client.answer = lambda r: [After(0.0, Progress(r.run_id, 1, 10))]
    presenter = make(desk)
    presenter.close_patient()
    presenter.ask_benchmark("note")
    presenter.run_benchmark()
    desk.pass_s(0.5)
    presenter.stop_benchmark()
    assert presenter.view.benchmark.fraction is None


def test_restart_after_death_and_words_of_a_missing_model(tmp_path: Path) -> None:
    """An engine that ended must say so and have its button."""
    desk = NoteDesk(tmp_path, loading=(After(0.0, Died(-11)),))
    presenter = make(desk)
    desk.workspace.runs.start_engines()
    desk.pass_s(0.2)
    assert presenter.view.models[0].restart and "stopped" in presenter.view.models[0].status
    desk.client.loading = (After(0.0, Refused("missing", "none")),)
    presenter.restart("note")
    desk.pass_s(0.2)
    assert presenter.view.models[0].status.startswith("No model on this device")
    assert isinstance(desk.client, ScriptedClient) and desk.client.starts == 2
    desk.close()


@pytest.mark.parametrize("value", [{}, {"load": 3, "prefill": [None], "decode": "x", "golden": {"passed": "yes"}}])
def test_a_result_of_another_version_shows_what_it_has(value: dict[str, Any]) -> None:
    """A file of a later version must not end the app."""
    assert result_facts(value) == ()


def test_an_unreadable_result_is_none(tmp_path: Path) -> None:
    """Nor must a broken one."""
    (tmp_path / "x").write_bytes(b"{")
    assert read_result(tmp_path / "x") is None and read_result(tmp_path / "y") is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(0, 100))
def test_percentile_lies_among_the_values(values: list[float], percent: float) -> None:
    """A p95 outside of what was measured is invented."""
    assert min(values) <= percentile(values, percent) <= max(values) + 1e-6


def test_numbers_in_the_language_in_use() -> None:
    """1.024 is a thousand in German and one in English."""
    assert number(1234.5, 1) == "1,234.5"
    translator.language = "de"
    assert number(1234.5, 1) == "1.234,5"
    translator.language = "en"


def test_the_disk_is_that_of_the_data(desk: NoteDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free space of another disk than the one that patients' data lies on helps nobody."""
    asked: list[Path] = []

    def disk_of(folder: Path) -> tuple[int, int]:
        asked.append(folder)
        return 1, 2

    monkeypatch.setattr("edge.app.presenters.device.disk_of", disk_of)
    services = replace(desk.workspace.services, data_folder=tmp_path)
    desk.workspace.services = services
    DevicePresenter(desk.workspace)
    assert asked == [tmp_path]
