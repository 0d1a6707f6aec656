"""The device's side of a verification: jobs, keys, and the host's list of whose key is whose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_dummies import SMALL
from remote_world import World

from edge.bench import on_device
from edge.bench.on_device import Done, identity, read_job, read_progress, run_job
from edge.bench.pins import FILE, check_pin, pin
from edge.bench.remote import new_job
from edge.bundle.keys import KeyStore
from edge.errors import BundleError, SpecError, UntrustedError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---- pins --------------------------------------------------------------------------------------------------------


def test_pins(tmp_path: Path) -> None:
    """If it fails, a device is forgotten or taken for another one."""
    host, boards = KeyStore(tmp_path / "host"), []
    for name in ("a", "b"):
        store = KeyStore(tmp_path / name)
        store.create("k", "device")
        boards.append(store.public("k"))
    first, second = boards
    assert check_pin(host, "ssh://x", first) is None
    made = pin(host, "ssh://x", first)
    assert (made.new, made.key.name) == (True, "x")
    assert not pin(host, "ssh://x", first).new
    assert pin(host, "ssh://y:22", first).key.name == "x"  # the same board under another address
    with pytest.raises(UntrustedError, match="on first contact"):
        pin(host, "ssh://x", second)
    assert pin(host, "adb:x", second).key.name == "x-2"
    host.untrust("x")
    assert check_pin(host, "ssh://x", second) is None
    (host.home / FILE).write_text("{")
    with pytest.raises(SpecError, match="list of devices"):
        pin(host, "ssh://x", second)


def test_a_builder_key_is_no_device(tmp_path: Path) -> None:
    """If it fails, whoever builds bundles can also prove them."""
    host, board = KeyStore(tmp_path / "host"), KeyStore(tmp_path / "board")
    host.create("b", "builder")
    key = replace(host.public("b"), role="device")
    with pytest.raises(UntrustedError, match="trusted as a builder key"):
        pin(host, "ssh://x", key)
    assert not board.list()


# ---- the device's side -------------------------------------------------------------------------------------------


def write_job(world: World, **changes: Any) -> Path:
    job = new_job(world.again(), world.store, SMALL, None)
    folder = world.board_folder / "verify" / job.run
    folder.mkdir(parents=True)
    (folder / on_device.JOB).write_text(json.dumps(job.to_json() | changes))
    return folder


def test_a_job_round_trips(world: World) -> None:
    """If it fails, a device measures something else than it was told."""
    folder = write_job(world)
    job = read_job(folder)
    assert job.workload == SMALL
    assert job.builder.fingerprint == world.opened.signer_fingerprint
    assert read_progress('{"label": "decode", "fraction": 0.5}') == ("decode", 0.5)
    assert read_progress("a library talks") is None


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"run": "x"}, {"bundle": "../../etc"}, {"builder": {}}, {"threads": "many"}]
)
def test_a_bad_job_is_refused_in_words(world: World, changes: dict[str, Any]) -> None:
    """If it fails, an app that gets a job from another edge crashes, or leaves its folder."""
    folder = write_job(world, **changes)
    done = run_job(folder, store=KeyStore(world.board_home))
    assert done.status == 5
    assert "not a job" in done.what
    assert Done.from_bytes((folder / on_device.DONE).read_bytes(), "x") == done
    assert isinstance(done.error("adb:1"), BundleError)


def test_an_identity_is_kept(world: World) -> None:
    """If it fails, a device has another key at each contact."""
    folder = write_job(world)
    store = KeyStore(world.board_home)
    done = run_job(folder, store=store, only_identity=True)
    assert (done.status, done.trusted_builder) == (0, True)
    first = (folder / on_device.KEY).read_bytes()
    assert identity(folder, store).public.to_pem() == first
    assert not run_job(folder, store=store, only_identity=True).trusted_builder
    with pytest.raises(BundleError, match="not known"):
        Done.from_bytes(b"{}", "x")
