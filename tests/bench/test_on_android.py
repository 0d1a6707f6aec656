"""`edge verify --device adb:SERIAL`: what is handed to the app, what is waited for, what is kept of its answer.

The app is the device's own side (edge.bench.on_device) with a scripted engine, started by a program that is like adb.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from bench_dummies import SMALL, write_bundle

from edge.bench.on_android import verify_on_android
from edge.bench.remote import Proven
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import BundleError, ResourceError, SourceError, UntrustedError
from tests.device.reach.phone import Phone

pytestmark = pytest.mark.slow  # starts a process for every adb command

HERE = Path(__file__).parent


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s, self.sleeps = 0.0, 0

    def sleep(self, seconds: float) -> None:
        self.now_s += 50 * seconds
        self.sleeps += 1

    def read(self) -> float:
        return self.now_s


class Desk:
    """A host with a bundle and a phone with the app."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, Clock()
        self.opened, self.store = write_bundle(root)
        self.phone = Phone(root / "phone")
        self.phone.set(properties={"ro.product.cpu.abi": "x86_64", "ro.build.version.release": "14"})
        self.said: list[str] = []

    def app(self, fault: str = "") -> None:
        """Install an app."""
        environment = ["env", f"EDGE_HOME={self.root}/phone-home", f"PYTHONPATH={HERE.parents[1]}"]
        self.phone.set(app=[*environment, sys.executable, str(HERE / "scripted_device.py"), fault, "verify"])

    def verify(self, **options: Any) -> Proven:
        bundle = open_bundle(self.root / "bundle", self.store.trust_store())
        return verify_on_android(
            bundle,
            self.phone.connect(),
            store=self.store,
            workload=SMALL,
            say=self.said.append,
            sleep=self.clock.sleep,
            clock=self.clock.read,
            **options,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_app_proves_and_its_answer_is_kept(desk: Desk) -> None:
    """If it fails, a tablet's own proof does not come back, or its files stay there."""
    desk.app()
    proven = desk.verify()
    assert proven.pinned.new
    again = open_bundle(desk.root / "bundle", desk.store.trust_store())
    assert again.attestations == (proven.verification.attestation,)
    assert proven.pinned.key.fingerprint == KeyStore(desk.root / "phone-home").fingerprint("my-device")
    assert not list((desk.phone.folder / "verify").iterdir())
    assert (desk.phone.folder / "bundles" / again.bundle_digest / "manifest.json").is_file()
    assert any("now trusts the builder" in line for line in desk.said)
    assert not desk.verify().pinned.new
    assert "3 files were there" not in desk.said[-1]


def test_an_app_that_lies_is_refused(desk: Desk) -> None:
    """If it fails, an app can hand in a result that it did not sign."""
    desk.app("other-result")
    with pytest.raises(BundleError, match="another result than it signed"):
        desk.verify()
    assert not (desk.root / "bundle/attestations").exists()


def test_an_app_that_refuses_is_heard(desk: Desk) -> None:
    """If it fails, the app's own reason is lost."""
    desk.app()
    KeyStore(desk.root / "phone-home").create("somebody", "builder")
    with pytest.raises(UntrustedError, match="trusts other builders"):
        desk.verify()
    assert not list((desk.phone.folder / "verify").iterdir())


def test_an_app_that_does_not_answer(desk: Desk) -> None:
    """If it fails, the command waits for ever, or leaves its job on the phone."""
    with pytest.raises(ResourceError, match="gave no result in 960 s"):
        desk.verify()
    assert 5 < desk.clock.sleeps < 20
    assert not list((desk.phone.folder / "verify").iterdir())


def test_an_app_that_does_not_start(desk: Desk) -> None:
    """If it fails, the command waits for an app that is not there."""
    desk.phone.set(am="Error: Activity class does not exist.")
    with pytest.raises(SourceError, match="did not start"):
        desk.verify()
    assert desk.clock.sleeps == 0


def test_another_processor(desk: Desk) -> None:
    """If it fails, a gigabyte is pushed to a phone that cannot run it."""
    desk.phone.set(properties={"ro.product.cpu.abi": "arm64-v8a"})
    with pytest.raises(BundleError, match="this device is aarch64"):
        desk.verify()
    assert not any("push" in line for line in desk.phone.log())
