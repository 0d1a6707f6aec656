"""The page's answers. When these fail, the page shows nothing, or something else than the database says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from benchmarks.synthetic_fleet import NOW, PI_NEW, PI_OLD
from edge.fleet.page.server import make_app, static_files
from edge.fleet.store import tables
from edge.fleet.store.store import Store, open_store
from tests.fleet.page.conftest import ask, serving


def told(base: str, path: str) -> dict[str, Any]:
    """A JSON answer."""
    answer = ask(base, path)
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(answer.body)
    assert found["at"] == "2026-11-22T12:00:03.120Z"
    return found


def test_overview(fleet_page: str) -> None:
    """Fails when a device is counted twice, left out, or a revoked one counts."""
    found = told(fleet_page, "/api/v1/overview")
    counts = found["counts"]
    assert counts["devices"] == 49 == sum(counts["verdicts"].values()) and counts["flags"]["revoked"] == 1
    assert sum(sum(group[w] for w in ("passed", "failed", "none")) for group in counts["groups"]) == 49
    for flag in ("failing", "stale", "quarantined", "noisy", "unsteady", "clock_wrong", "paused", "offline"):
        assert counts["flags"][flag] > 0, flag
    phases = {one["rollout"]: one["phase"] for one in found["rollouts"]}
    assert phases == {"notes-1.1.0": "running", "notes-pi5-1.1.0": "stopped"}
    assert "state" not in found["rollouts"][0]
    stopped = next(one for one in found["rollouts"] if one["phase"] == "stopped")
    assert [ring["ring"] for ring in stopped["rings"]] == ["canary", "early", "rest"]
    assert set(stopped["rings"][1]["statuses"]) == {"waiting"}, "halted in its canary"


def test_list_is_filtered_sorted_and_cut(fleet_page: str) -> None:
    """Fails when an address does not give the list that it names."""
    found = told(fleet_page, "/api/v1/devices?ring=canary&sort=ttft_ms&order=desc&limit=3")
    assert found["total"] > 3 == len(found["devices"]) and found["all"] == 50
    speeds = [device["ttft_ms"] for device in found["devices"]]
    assert speeds == sorted(speeds, reverse=True) and all(one["ring"] == "canary" for one in found["devices"])
    rest = told(fleet_page, "/api/v1/devices?ring=canary&sort=ttft_ms&order=desc&offset=3")
    assert rest["devices"][0]["ttft_ms"] <= speeds[-1] and len(rest["devices"]) == found["total"] - 3
    one = told(fleet_page, "/api/v1/devices?text=hill-0&flag=quarantined")["devices"]
    assert all("quarantined" in device["flags"] and "forged" in device["quarantine_reasons"] for device in one)


@pytest.mark.parametrize(
    "query", ["sort=public_key", "flag=x", "limit=0", "limit=1001", "offset=-1", "limit=1e3", "stale_days=0", "limit=٣"]
)
def test_odd_questions_get_one_line(fleet_page: str, query: str) -> None:
    """Fails when a question that makes no sense is an error of ours, or is answered as another one."""
    from urllib.parse import quote

    answer = ask(fleet_page, f"/api/v1/devices?{quote(query, safe='=')}")
    assert answer.status == 400 and list(json.loads(answer.body)) == ["error"]


def test_device_with_its_history(fleet_page: str, fleet_store: Store) -> None:
    """Fails when a result, install or message of the device is missing, or another's is shown."""
    with fleet_store.reading() as connection:
        name = connection.execute(
            select(tables.installs.c.device).where(tables.installs.c.to_digest == PI_NEW.digest)
        ).scalars().first()  # fmt: skip
        count = len(connection.execute(select(tables.results.c.seq).where(tables.results.c.device == name)).all())
    found = told(fleet_page, f"/api/v1/devices/{name}")
    assert found["device"]["device"] == name and len(found["results"]) == count
    assert [one["received_at"] for one in found["results"]] == sorted(
        (one["received_at"] for one in found["results"]), reverse=True
    )
    assert {one["bundle_digest"] for one in found["results"]} == {PI_OLD.digest, PI_NEW.digest}
    assert found["installs"][0]["from_digest"] and found["rollouts"][0]["rollout"] == "notes-pi5-1.1.0"
    check = next(one for one in found["checks"] if one["name"] == "sustained")
    assert (check["title"], check["unit"], check["least"], check["limit"]) == (
        "Speed kept when sustained", "share", True, 0.7,
    )  # fmt: skip
    assert "public_key" not in json.dumps(found)


def test_speeds_and_what_changed(fleet_page: str) -> None:
    """Fails when the made-up regression is not found, or emulated devices take part."""
    found = told(fleet_page, "/api/v1/speeds")
    change = next(one for one in found["changes"] if one["profile"] == "reference-notes-pi5")
    lines = {line["metric"]: line["change"] for line in change["lines"]}
    assert (change["old"], change["new"]) == (PI_OLD.digest, PI_NEW.digest)
    for metric in ("ttft_ms", "decode_tokens_per_s", "floor_ratio", "temperature_highest_celsius"):
        assert lines[metric]["verdict"] == "worse" and lines[metric]["paired"]
    assert lines["ttft_ms"]["low"] < 10_500 / 9_700 < lines["ttft_ms"]["high"]
    back = told(fleet_page, f"/api/v1/speeds?old={PI_NEW.digest}&new={PI_OLD.digest}")
    again = next(one for one in back["changes"] if one["profile"] == "reference-notes-pi5")
    assert {line["change"]["verdict"] for line in again["lines"]} == {"better"}
    emulated = next(one for one in found["targets"] if one["target"] == "raspberry-pi-4")
    assert emulated["emulated_left_out"] > 0
    assert all(build["summary"] is None for metric in emulated["metrics"] for build in metric["builds"])
    pi = next(one for one in found["targets"] if one["target"] == "raspberry-pi-5")
    limits = {metric["metric"]: [build["limit"] for build in metric["builds"]] for metric in pi["metrics"]}
    assert limits["ttft_ms"] == [15_000, 15_000] and limits["temperature_highest_celsius"] == [None, None]


def test_rollout_with_every_decision(fleet_page: str, fleet_store: Store) -> None:
    """Fails when a decision or what it rests on is not told."""
    found = told(fleet_page, "/api/v1/rollouts/notes-pi5-1.1.0")["rollout"]
    with fleet_store.reading() as connection:
        kept = connection.execute(
            select(tables.decisions.c.id).where(tables.decisions.c.rollout == "notes-pi5-1.1.0")
        ).all()
    assert len(found["decisions"]) == len(kept) and found["reason"] == "failures"
    last = found["decisions"][0]
    assert last["decision"] == "stopped" and last["evidence"]["failed"] > last["evidence"]["failures_allowed"]
    assert found["rings"][0]["open_next"]["passed_share_min"] == 0.65 and found["plan_text"].startswith("# A longer")


def test_quarantine_without_content(fleet_page: str, fleet_store: Store) -> None:
    """Fails when bytes that nobody believed are shown to somebody."""
    found = told(fleet_page, "/api/v1/quarantine")["quarantine"]
    assert {one["reason"] for one in found} == {"forged", "implausible", "unknown_device"}
    assert all("data" not in one and "data_sha256" not in one and one["bytes"] > 0 for one in found)
    assert [one["enrolled"] for one in found if one["device"] == "spare-77"] == [False, False]


@pytest.mark.parametrize(
    "path", ["/api/v1/devices/nobody", "/api/v1/rollouts/none", "/static/../server.py", "/a", "/static/"]
)
def test_what_is_not_there(fleet_page: str, path: str) -> None:
    """Fails when a missing thing is an error of ours."""
    assert ask(fleet_page, path).status == 404


def test_static_files(fleet_page: str) -> None:
    """Fails when the page is incomplete when installed, names another host, or is sent again for nothing."""
    names = static_files()
    assert {"index.html", "page.js", "page.css", "icon.svg", "overview.js", "plot.js"} <= set(names)
    for name, (data, kind, tag) in names.items():
        answer = ask(fleet_page, f"/static/{name}")
        assert answer.body == data and answer.headers["content-type"] == kind
        assert ask(fleet_page, f"/static/{name}", if_none_match=tag).status == 304
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text
        assert "innerHTML" not in text and "style=" not in text and "eval(" not in text
    assert ask(fleet_page, "/").body == names["index.html"][0]


def test_metrics_only_where_given(fleet_page: str, empty_store: Store) -> None:
    """Fails when Prometheus finds nothing, or an app without metrics has some."""
    assert ask(fleet_page, "/metrics").body == b"edge_up 1\n"
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        assert ask(base, "/metrics").status == 404


def test_empty_fleet(empty_store: Store) -> None:
    """Fails when the first look at a new collector is an error."""
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        assert told(base, "/api/v1/overview")["counts"]["devices"] == 0
        assert told(base, "/api/v1/speeds")["targets"] == []
        for path in ("devices", "rollouts", "quarantine"):
            told(base, f"/api/v1/{path}")
        assert ask(base, "/export/results.csv").body.startswith(b"device,epoch,seq")
        assert ask(base, "/export/results.json").body == b"[]\n"


def test_database_that_does_not_answer(tmp_path: Path) -> None:
    """Fails when a lost database shows its address, a traceback, or yesterday's numbers as today's."""
    file = tmp_path / "fleet.db"
    store = open_store(str(file), clock=lambda: NOW)
    with serving(make_app(store, clock=lambda: NOW)) as base:
        assert ask(base, "/api/v1/rollouts").status == 200
        store.close()
        for found in tmp_path.glob("fleet.db*"):
            found.unlink()
        file.write_bytes(b"this is no database, " * 500)
        answer = ask(base, "/api/v1/rollouts/any")
        assert answer.status == 503 and b"does not answer" in answer.body and b"sqlite" not in answer.body.lower()
        assert ask(base, "/").status == 200
    store.close()


def test_names_from_the_database_are_only_text(empty_store: Store) -> None:
    """Fails when an answer could be taken for a page."""
    from tests.fleet.page.test_devices import Desk

    desk = Desk(empty_store)
    desk.enrol()
    with empty_store.writing() as connection:
        connection.execute(update(tables.devices).values(ring="<script>alert(1)</script>"))
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        answer = ask(base, "/api/v1/devices")
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["devices"][0]["ring"] == "<script>alert(1)</script>"


def test_reading_is_shared_for_a_moment(empty_store: Store) -> None:
    """Fails when ten open pages read the whole fleet ten times, or a new device never appears."""
    from edge.fleet.page.cache import KEPT_S, FleetCache
    from tests.fleet.page.test_devices import Desk

    seconds = [100.0]
    cache = FleetCache(empty_store, lambda: NOW, lambda: seconds[0])
    first = cache.reading(7)
    Desk(empty_store).enrol()
    assert cache.reading(7) is first and cache.reading(8) is not first
    seconds[0] += KEPT_S
    assert len(cache.reading(7).views) == 1
