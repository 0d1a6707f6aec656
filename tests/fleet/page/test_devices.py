"""What is said of each device. When these fail, an engineer drives to the wrong tablet."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from benchmarks.synthetic_fleet import NOW, PI_NEW, PI_OLD, Tablet, install, result
from edge.fleet.page.devices import FLAGS, DeviceView, Filter, counts, device_views, ordered, quarantine_since
from edge.fleet.page.queries import PER_BUILD, SHOWN_BUILDS, read_fleet
from edge.fleet.store import tables
from edge.fleet.store.store import Store, time_text

HOUR = timedelta(hours=1)


class Desk:
    """Puts one device's rows into a store and asks what is said of it."""

    def __init__(self, store: Store) -> None:
        self.store, self.chance = store, random.Random(4)
        self.tablet = Tablet("east-01", "rest", PI_OLD, 1.0)

    def write(self, table: Any, *rows: dict[str, Any]) -> None:
        """Insert."""
        with self.store.writing() as connection:
            connection.execute(insert(table), list(rows))

    def enrol(self, runs: str | None = PI_OLD.digest, **values: Any) -> None:
        """One device that reports this bundle and is online."""
        reported = None if runs is None else json.dumps({"bundle_digest": runs, **values.pop("said", {})})
        known = {"public_key": b"k" * 32, "key_fingerprint": "f" * 16, "enrolled_at": time_text(NOW - 900 * HOUR)}
        given = {"device": "east-01", "profile": PI_OLD.profile, "online": True, "reported": reported, **known}
        self.write(tables.devices, given | values)

    def measure(self, hours_ago: float, **changed: Any) -> dict[str, Any]:
        """A result that was received so long ago."""
        row = result(self.tablet, NOW - hours_ago * HOUR, self.chance) | changed
        self.write(tables.results, row)
        return row

    def release(self, build: Any, hours_ago: float) -> None:
        """Make one known."""
        names = ("release", "profile", "target")
        row = {name: getattr(build, name) for name in names}
        digests = {"bundle_digest": build.digest, "behaviour_digest": build.digest}
        self.write(tables.releases, row | digests | {"added_at": time_text(NOW - hours_ago * HOUR)})

    def view(self, stale_days: int = 7) -> DeviceView:
        """Of the one device."""
        rows = read_fleet(self.store, quarantine_since(NOW, stale_days))
        return device_views(rows, NOW, stale_days)[0]


@pytest.fixture
def desk(empty_store: Store) -> Desk:
    """Over a store of its own."""
    return Desk(empty_store)


def test_a_healthy_device_has_no_flag(desk: Desk) -> None:
    """Fails when a quiet device asks for a look."""
    desk.enrol()
    desk.measure(3)
    assert desk.view().flags == () and desk.view().verdict == "passed"


def test_never_measured(desk: Desk) -> None:
    """Fails when a device without a result is counted as passing."""
    desk.enrol()
    view = desk.view()
    assert view.verdict is None and view.flags == ("unproven", "stale") and view.ttft_ms is None


def test_failing_names_its_checks(desk: Desk) -> None:
    """Fails when the list does not say which budget broke."""
    desk.tablet.odd = "golden"
    desk.enrol()
    desk.measure(1)
    assert desk.view().flags == ("failing",) and desk.view().failed_checks == ("golden",)


def test_newest_is_what_the_device_counted_last(desk: Desk) -> None:
    """Fails when an old result that had to be sent again passes for the newest verdict."""
    desk.enrol()
    first = result(desk.tablet, NOW - HOUR, desk.chance)
    desk.measure(5, passed=False)
    desk.write(tables.results, first)  # counted first, arrived last
    assert desk.view().verdict == "failed"
    desk.measure(9, passed=False, epoch="00000000", seq=900)  # of an outbox before the device was set up anew
    desk.measure(0.5)
    assert desk.view().verdict == "passed"


def test_stale_by_the_chosen_days(desk: Desk) -> None:
    """Fails when "within N days" is not counted from now."""
    desk.enrol()
    desk.measure(8 * 24)
    assert desk.view(7).flags == ("stale",) and desk.view(9).flags == ()


def test_old_build_against_the_order(desk: Desk) -> None:
    """Fails when a device that does not do what it is told looks like the others."""
    desk.enrol()
    desk.measure(2)
    desk.release(PI_NEW, 50)
    assert desk.view().flags == ("old_build",)
    desk.write(tables.desired, {"device": "east-01", "version": 1, "profile": PI_OLD.profile,
                                "bundle_digest": PI_OLD.digest, "release": None})  # fmt: skip
    assert desk.view().flags == ()


def test_a_release_that_is_on_its_way_makes_nobody_old(desk: Desk) -> None:
    """Fails when every device waits for its ring in yellow, or for a release that was stopped."""
    desk.enrol()
    desk.measure(2)
    desk.release(PI_NEW, 50)
    row = {"rollout": "r", "plan": "", "release": PI_NEW.release, "state": "{}"}
    times = {"created_at": time_text(NOW), "updated_at": time_text(NOW)}
    desk.write(tables.rollouts, row | times | {"phase": "stopped"})
    assert desk.view().flags == ()


def test_unproven_after_an_install(desk: Desk) -> None:
    """Fails when the verdict of the build before is taken for the one it runs now."""
    desk.enrol(runs=PI_NEW.digest)
    desk.measure(2)
    view = desk.view()
    assert view.flags == ("unproven",) and view.result_digest == PI_OLD.digest
    desk.measure(1, bundle_digest=PI_NEW.digest)
    assert desk.view().flags == ()


def test_install_that_did_not_commit(desk: Desk) -> None:
    """Fails when a tablet without space is not seen."""
    desk.tablet.odd = "no_space"
    desk.enrol()
    desk.measure(2)
    desk.write(tables.installs, install(desk.tablet, PI_NEW.digest, None, NOW - HOUR, desk.chance))
    assert desk.view().flags == ("install_failed",) and desk.view().install_reason == "no_space"


def test_quarantined_with_its_reason_and_only_for_those_days(desk: Desk) -> None:
    """Fails when forged messages go unseen, or follow a device for ever."""
    desk.enrol()
    desk.measure(2)
    row = {"device": "east-01", "received_at": time_text(NOW - 30 * HOUR), "reason": "forged", "data": b"x"}
    desk.write(tables.quarantine, row | {"data_sha256": "a"}, row | {"data_sha256": "b"})
    view = desk.view()
    assert view.flags == ("quarantined",)
    assert (view.quarantined_messages, view.quarantine_reasons) == (2, ("forged",))
    assert desk.view(1).flags == ()


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"noisy_at": time_text(NOW - 3 * HOUR)}, "noisy"),
        ({"clock_wrong_at": time_text(NOW - 30 * HOUR)}, "clock_wrong"),
        ({"said": {"paused_reason": "encounter_open"}}, "paused"),
        ({"online": False}, "offline"),
        ({"online": None}, "offline"),
        ({"revoked_at": time_text(NOW - HOUR), "online": False, "noisy_at": time_text(NOW)}, "revoked"),
    ],
)
def test_what_the_collector_and_the_device_say(desk: Desk, values: dict[str, Any], flag: str) -> None:
    """Fails when presence, budget of messages, clock or a pause is not shown."""
    desk.enrol(**values)
    desk.measure(2)
    assert desk.view().flags == (flag,)


def test_calm_pauses_and_old_noise_are_no_flags(desk: Desk) -> None:
    """Fails when a device that measures right now asks for a look."""
    desk.enrol(said={"paused_reason": "running"}, noisy_at=time_text(NOW - 30 * HOUR))
    desk.measure(2)
    assert desk.view().flags == ()


def test_unsteady_needs_five_results(desk: Desk) -> None:
    """Fails when two runs make a device unsteady, or a wide spread is not seen."""
    desk.enrol()
    for index, speed in enumerate((8.0, 14.0, 11.0, 9.0)):
        desk.measure(20 - index, decode_tokens_per_s=speed)
    assert desk.view().flags == ()
    desk.measure(1, decode_tokens_per_s=15.0)
    assert desk.view().flags == ("unsteady",)


def test_emulated_results_have_no_speed(desk: Desk) -> None:
    """Fails when a number of an emulator stands in the list as the device's."""
    desk.enrol()
    desk.measure(2, emulated=True)
    view = desk.view()
    assert view.emulated and view.decode_tokens_per_s is None and view.temperature_highest_celsius is None


def test_reported_state_that_is_no_json_is_no_state(desk: Desk) -> None:
    """Fails when one odd row takes the page down for all."""
    desk.enrol(runs=None)
    with desk.store.writing() as connection:
        connection.execute(tables.devices.update().values(reported='["no", "object"]'))
    desk.measure(2, checks='{"not": "a list"}')
    assert desk.view().bundle_digest is None


def test_only_the_newest_results_of_the_newest_builds_are_read(desk: Desk) -> None:
    """Fails when the overview reads years of history."""
    desk.enrol()
    for build in range(SHOWN_BUILDS + 1):
        for index in range(PER_BUILD + 3):
            desk.measure(500 - build * 20 - index, bundle_digest=f"{build:064x}")
    rows = read_fleet(desk.store, quarantine_since(NOW, 7))
    assert len(rows.recent) == SHOWN_BUILDS * PER_BUILD and len(rows.builds) == SHOWN_BUILDS + 1
    assert {one.bundle_digest for one in rows.recent} == {f"{build:064x}" for build in range(1, SHOWN_BUILDS + 1)}
    assert rows.builds[0]["bundle_digest"] == f"{SHOWN_BUILDS:064x}" and rows.builds[0]["results"] == PER_BUILD + 3


def test_counts_filters_and_order(fleet_store: Store) -> None:
    """Fails when a tile leads to a list of another length, or devices without a value sort as zero."""
    rows = read_fleet(fleet_store, quarantine_since(NOW, 7))
    views = device_views(rows, NOW, 7)
    told = counts(views)
    for flag in FLAGS:
        assert sum(Filter(flag=flag).takes(view) for view in views) == told["flags"][flag]
    for group in told["groups"]:
        found = [view for view in views if Filter(profile=group["profile"], ring=group["ring"]).takes(view)]
        assert len([view for view in found if not view.revoked_at]) == sum(
            group[w] for w in ("passed", "failed", "none")
        )
    for descending in (False, True):
        speeds = [view.decode_tokens_per_s for view in ordered(views, "decode_tokens_per_s", descending=descending)]
        known = [speed for speed in speeds if speed is not None]
        assert known == sorted(known, reverse=descending) and None not in speeds[: len(known)]
    gravest = ordered(views, "flags", descending=True)[0]
    assert gravest.flags[0] == "failing"
