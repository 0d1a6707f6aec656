"""Energy per token, per prompt and per note: from the samples of a run to the words of its result."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_dummies import SMALL, command, make_result, write_bundle
from scripted_worker import ScriptedEngine

from edge.bench import collect
from edge.bench.collect import Events
from edge.bench.measure import Speeds, Steps
from edge.bench.result import BenchResult, Energy, SensorSeries, WorkEnergy
from edge.bench.runner import run_bench
from edge.bench.words import headline, remarks
from edge.device.sensors import Series

TIMES = tuple(index * 0.5 for index in range(401))
POWER = Series("module.VDD_IN", "W", TIMES, tuple(5.0 for _ in TIMES))
PRESENT = {"energy": "present"}


def work(read: int, written: int, start: float, end: float) -> dict[str, Any]:
    return {"event": "work", "read": read, "written": written, "start": start, "end": end}


def events(*all_of_them: dict[str, Any]) -> Events:
    kept = Events()
    for event in all_of_them:
        kept.add(event)
    return kept


RUN = (
    work(64, 0, 1.0, 2.0),
    work(512, 0, 2.0, 8.0),
    work(512, 64, 10.0, 20.0),
    work(1, 64, 20.0, 22.0),
    work(512, 0, 30.0, 34.0),
    work(512, 64, 40.0, 54.0),
    {"event": "sustained", "start": 60.0, "end": 80.0, "tokens": 200},
)


def test_prompt_and_note_are_means_of_their_pieces() -> None:
    """If it fails, a note's joules are those of a decode without its prompt, or of all repetitions together."""
    told = collect.energy(events(*RUN), (POWER,), PRESENT)
    assert told.j_per_token == pytest.approx(0.5)
    assert told.leaves_out == "the carrier board, display and USB devices"
    assert told.prompt == WorkEnergy(512, 0, pytest.approx(25.0), 2, "module.VDD_IN", "")
    assert told.note == WorkEnergy(512, 64, pytest.approx(60.0), 2, "module.VDD_IN", "")


def test_a_workload_without_a_sustained_run_still_has_its_note() -> None:
    """If it fails, energy of a note is lost where the workload does not decode for minutes."""
    told = collect.energy(events(*RUN[:-1]), (POWER,), PRESENT)
    assert told.reason == "no sustained run"
    assert told.note is not None
    assert told.note.joules == pytest.approx(60.0)


def test_work_that_is_too_short_has_no_energy() -> None:
    """If it fails, a prompt of half a second has the energy of what ran before it."""
    told = collect.energy(events(work(64, 0, 10.0, 11.2), work(64, 0, 20.0, 29.0)), (POWER,), PRESENT)
    assert told.prompt == WorkEnergy(64, 0, None, 0, "", "1.2 s is too short for the sensor")
    assert told.note is None


def test_no_sensor_is_said_and_never_zero() -> None:
    """If it fails, a device without a sensor writes notes for nothing."""
    told = collect.energy(events(*RUN), (), {"energy": "no sensor: no power rails"})
    assert told.note == WorkEnergy(512, 64, None, 0, "", "no sensor: no power rails")
    assert told.j_per_token is None


def test_samples_that_do_not_cover_the_run_are_no_missing_sensor() -> None:
    """If it fails, a sensor that stopped half way is said not to exist."""
    cut = replace(POWER, times_s=TIMES[:30], values=POWER.values[:30])
    assert collect.energy(events(*RUN), (cut,), PRESENT).reason == "no sensor: its samples do not cover the run"


def test_the_measurements_say_when_they_worked() -> None:
    """If it fails, samples and work cannot be brought together: the times are of another clock."""
    engine, kept = ScriptedEngine(Path("m"), threads=1, context_tokens=256), list[dict[str, Any]]()
    speeds = Speeds(
        engine,
        SMALL,
        chunk_tokens=16,
        emit=kept.append,
        steps=Steps(kept.append, 9),
        clock=lambda: 0.0,
        wall=lambda: float(len(engine.passes)),
    )
    speeds.measure_prefill(48, 0)
    speeds.measure_decode(32, 0)
    assert [event for event in kept if event["event"] == "work"] == [work(48, 0, 0.0, 3.0), work(32, 8, 3.0, 13.0)]


def test_a_result_of_version_2_is_read_and_written_as_it_was() -> None:
    """If it fails, results of before cannot be read, or their signed digest no longer holds."""
    energy = Energy(0.4, 280.0, 700, "rapl.package-0", "")
    old = make_result(schema_version=2, energy=energy)
    value = json.loads(old.to_bytes())
    assert set(value["energy"]) == {"j_per_token", "joules", "tokens", "source", "reason"}
    again = BenchResult.from_json(value)
    assert again.energy == energy
    assert again.to_bytes() == old.to_bytes()


def test_a_new_result_keeps_its_energy() -> None:
    """If it fails, a stored result loses the note's energy."""
    energy = collect.energy(events(*RUN), (POWER,), PRESENT)
    result = make_result(energy=energy)
    assert BenchResult.from_json(json.loads(result.to_bytes())) == result


def test_words_of_energy() -> None:
    """If it fails, a reader takes the rails of a chip for all that the device draws."""
    energy = collect.energy(events(*RUN), (POWER,), PRESENT)
    tiles = {name: (value, what) for name, value, what in headline(make_result(energy=energy))}
    assert tiles["Energy"] == ("0.5 J", "per token, module.VDD_IN, without the carrier board, display and USB devices")
    assert tiles["Energy to read"] == ("0.0488 J", "per token of 512 read")
    assert tiles["Energy of a note"] == ("60 J", "512 tokens read, 64 written")
    plain = [name for name, _, _ in headline(make_result())]
    assert "Energy of a note" not in plain


def test_throttling_is_a_remark() -> None:
    """If it fails, speeds of a board that slowed itself down are shown as its own."""
    now = SensorSeries("throttling.now", "bits", (0.0, 1.0, 2.0), (0.0, 6.0, 0.0))
    before = SensorSeries("throttling.since_start", "bits", (0.0,), (15.0,))
    told = " ".join(remarks(make_result(sensor_series=(now, before))))
    assert "during the run: frequency capped, throttled." in told
    assert not any("slowed itself" in one for one in remarks(make_result(sensor_series=(before,))))


@pytest.mark.slow  # starts a process
def test_a_whole_run_on_a_board_of_five_watts(tmp_path: Path) -> None:
    """If it fails, a real run on a board with a sensor has no energy, or another than power times time."""
    folder = tmp_path / "root/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    folder.mkdir(parents=True)
    for name, text in (("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "1000")):
        (folder / name).write_text(f"{text}\n")
    (tmp_path / "root/proc").mkdir()
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    bundle, _ = write_bundle(tmp_path)
    result = run_bench(bundle.path, bundle.manifest, SMALL, engine_command=command(), root=tmp_path / "root")
    assert result.environment.sensors["energy"] == "present"
    assert result.energy.source == "module.VDD_IN"
    assert result.sustained is not None
    assert result.energy.joules == pytest.approx(5.0 * result.sustained.seconds, rel=0.2)
    assert result.energy.j_per_token == pytest.approx(result.energy.joules / result.sustained.tokens)
    assert result.energy.note is not None
    assert result.energy.note.reason.endswith("too short for the sensor")
    assert BenchResult.from_json(result.to_json()) == result
