"""Patients' words at every place from which something is sent or logged. When it fails, one of them left the device."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from edge.fleet.agent.agent import REQUESTS, RESULTS
from edge.fleet.agent.config import AgentConfig, load_config
from edge.fleet.wire import topics
from edge.fleet.wire.event import INSTALL, RESULT, TELEMETRY
from edge.fleet.wire.messages import Command
from tests.fleet.agent.listener import listen
from tests.fleet.agent.makers import DEVICE
from tests.fleet.agent.world import Runner, events, send, statuses
from tests.fleet.real_broker import Broker

PATIENT = "Jane Quimby 4711080542 keratoconus"
WORDS = ("jane", "quimby", "4711080542", "keratoconus")


def hostile_device(tmp_path: Path, config: AgentConfig) -> AgentConfig:
    """The same device, with a patient's words wherever somebody or something could put them."""
    from bench_dummies import golden_json, write_bundle

    folder = tmp_path / "Jane Quimby 4711080542"
    golden = golden_json()
    for case in golden["cases"]:
        case["id"] = f"jane-quimby-4711080542-{case['id']}"
    shutil.rmtree(tmp_path / "bundle")
    shutil.rmtree(tmp_path / "home/keys")
    shutil.rmtree(tmp_path / "home/trusted")
    folder.mkdir()
    write_bundle(folder, golden=golden)
    for name in ("keys", "trusted"):
        (folder / "home" / name).rename(tmp_path / "home" / name)
    text = config.path.read_text().replace(f"bundle: {tmp_path}/bundle", f'bundle: "{folder}/bundle"')
    config.path.write_text(text + f"# {PATIENT}\n")
    home = config.home
    for name in (RESULTS, REQUESTS):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "memory.json").write_text(json.dumps({"version": 1, "queue": [PATIENT]}))
    (home / REQUESTS / "bench-0123abcd.json").write_text(json.dumps({"workload": PATIENT}))
    (home / REQUESTS / f"bench-{PATIENT}.json").write_text(PATIENT)
    (home / RESULTS / f"result-{PATIENT}.json").write_text(PATIENT)
    for kind in ("result", "install"):
        for value in ({"version": 1, "note": PATIENT}, {"version": 2, "release": PATIENT}):
            data = json.dumps(value).encode()
            (home / RESULTS / f"{kind}-{hashlib.sha256(data).hexdigest()}.json").write_bytes(data)
    supply = tmp_path / "root/sys/class/power_supply" / PATIENT
    supply.mkdir(parents=True)
    for name, text in (("type", "Battery"), ("status", PATIENT), ("capacity", "88"), ("model_name", PATIENT)):
        (supply / name).write_text(text)
    return load_config(config.path)


@pytest.mark.slow
def test_no_word_gets_out(config: AgentConfig, broker: Broker, tmp_path: Path) -> None:
    """If not: what a file, a name, an exception or a firmware says is published, or stands in a log."""
    config = hostile_device(tmp_path, config)
    model = tmp_path / "model/proc/device-tree/model"
    model.parent.mkdir(parents=True)
    model.write_text(f"{PATIENT}'s tablet")
    (tmp_path / "model/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    everything = listen(broker, filters=("#",))
    runner = Runner(config, tmp_path / "root", fault=f"root={tmp_path}/model")
    runner.until(lambda: any(e.type == RESULT for e in events(everything)), "no result")
    runner.fault = "words"  # an exception and a library's print with the patient in them
    send(everything, topics.command(DEVICE, "bench", "c1"), Command(status="init").to_bytes())
    runner.until(lambda: "failed:other" in statuses(everything, "bench", "c1"), "the command does not end")
    runner.until(lambda: any(e.type == TELEMETRY for e in events(everything)), "no telemetry")
    for payload in (json.dumps({"version": 1, "status": PATIENT}).encode(), PATIENT.encode()):
        everything.got.append(("mark", b"", [], False))
        send(everything, topics.command(DEVICE, "bench", f"c{len(payload)}"), payload)
        name = topics.command(DEVICE, "bench", f"c{len(payload)}")
        runner.until(lambda: any(t == name and b"bad_arguments" in p for t, p, *_ in everything.got), "no answer")  # noqa: B023
        everything.got = [one for one in everything.got if one[1] != payload]  # our own words to the device
    send(everything, topics.down(DEVICE, "desired"), json.dumps({"version": 1, "release": PATIENT}).encode())
    runner.until(lambda: any("DesiredState" in line for line in runner.said), "a bad order is not said")
    everything.got = [one for one in everything.got if not one[0].endswith("desired")]
    runner.agent.close()
    seen = events(everything)
    assert {event.type for event in seen} == {RESULT, TELEMETRY}, "a file of another form was sent"
    assert not [event for event in seen if event.type == INSTALL]
    assert len(everything.got) > 6
    said = "\n".join(runner.said)
    broker_log = "".join(path.read_text() for path in (tmp_path / "broker").glob("*.log"))
    sent = "".join(f"{topic}{payload!r}{properties}" for topic, payload, properties, _ in everything.got)
    for name, text in (("log", said), ("broker's log", broker_log), ("message", sent)):
        for word in WORDS:
            assert word not in text.lower(), f"{word} stands in a {name}: {text}"
    kept = [path.name for path in (config.home / RESULTS).iterdir() if path.suffix == ".kept"]
    assert len(kept) == 4, "what was not sent is not kept"
    everything.client.loop_stop()
