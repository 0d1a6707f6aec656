"""The way to Android's own classes, over objects that answer as they do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edge.app.android import platform as platform_module
from edge.app.android.places import ENGINE_SERVICE, Places
from edge.app.android.platform import READ_BYTES, Platform, Wanted, on_new_intent, run_in_ui_thread
from edge.app.android.service import ENGINE, host_arguments, use_java
from edge.errors import MissingToolError, ResourceError
from edge.runtime.android_engine import open_java_engine
from edge.runtime.engines import ENGINES
from tests.runtime.fake_java import Buffer, ByteOrder, JavaError


class Channel:
    """A channel that gives a few bytes a time, as a compressed asset does."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step, self.at, self.closed = data, step, 0, False

    def read(self, buffer: Buffer) -> int:
        piece = self.data[self.at : self.at + min(self.step, buffer.end - buffer.at)]
        if not piece:
            return -1
        buffer.put(piece)
        self.at += len(piece)
        return len(piece)

    def close(self) -> None:
        self.closed = True


class Phone:
    """Implements Java: an activity with assets, services, a window."""

    def __init__(self, assets: dict[str, bytes], flags: int = 2) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.channels: list[Channel] = []
        self.external: str | None = "/storage/x"

        def opened(name: str) -> bytes:
            if name not in assets:
                raise JavaError("java.io.FileNotFoundException")
            return assets[name]

        def channel(data: bytes) -> Channel:
            self.channels.append(Channel(data, 7000))
            return self.channels[-1]

        metrics = SimpleNamespace(density=2.625, widthPixels=1920, heightPixels=1200)
        intent = SimpleNamespace(getAction=lambda: "org.edgekit.VERIFY", getStringExtra=lambda name: f"<{name}>")
        folder = SimpleNamespace(getAbsolutePath=lambda: self.external)
        activity = SimpleNamespace(
            getPackageName=lambda: "org.edgekit.edge",
            getAssets=lambda: SimpleNamespace(open=opened),
            getExternalFilesDir=lambda _kind: folder if self.external else None,
            getResources=lambda: SimpleNamespace(getDisplayMetrics=lambda: metrics),
            getApplicationInfo=lambda: SimpleNamespace(flags=flags),
            getWindow=lambda: SimpleNamespace(addFlags=lambda flag: self.calls.append(("flags", flag))),
            getIntent=lambda: intent,
        )
        service = SimpleNamespace(
            start=lambda *given: self.calls.append(("start", *given)),
            stop=lambda *given: self.calls.append(("stop", *given)),
        )
        self.activity = activity
        self.classes: dict[str, Any] = {
            "org.kivy.android.PythonActivity": SimpleNamespace(mActivity=activity),
            "org.edgekit.edge.ServiceEngine": service,
            "org.edgekit.edge.ServiceVerify": service,
            "java.nio.channels.Channels": SimpleNamespace(newChannel=channel),
            "java.nio.ByteBuffer": Buffer,
            "java.nio.ByteOrder": ByteOrder,
        }

    def find(self, name: str) -> Any:
        if name not in self.classes:
            raise JavaError(name)
        return self.classes[name]

    def cast(self, name: str, value: Any) -> Any:
        return value

    def to_bytes(self, array: Any) -> bytes:
        return bytes(array)


def test_assets_come_whole(tmp_path: Path) -> None:
    """Java gives a compressed asset in small pieces, a large one in several buffers; the last may be short."""
    data = bytes(range(256)) * (READ_BYTES // 256 * 2) + b"end"
    phone = Phone({"edge/a": data, "edge/empty": b""})
    platform = Platform(phone)
    assert b"".join(platform.asset("edge/a")) == data
    assert list(platform.asset("edge/empty")) == []
    assert all(channel.closed for channel in phone.channels)
    with pytest.raises(FileNotFoundError):
        next(platform.asset("edge/b"))


def test_services_window_and_screen() -> None:
    """What the app asks of Android, in Android's own words."""
    phone = Phone({})
    platform = Platform(phone)
    platform.start_service(ENGINE_SERVICE, "x")
    platform.stop_service(ENGINE_SERVICE)
    platform.hide_from_others(lambda function: function())
    assert phone.calls == [("start", phone.activity, "x"), ("stop", phone.activity), ("flags", 0x2000)]
    assert (platform.density(), platform.size_px()) == (2.625, (1920, 1200))
    assert platform.external() == Path("/storage/x")
    phone.external = None
    assert platform.external() is None
    assert platform.debuggable()
    assert not Platform(Phone({}, flags=4)).debuggable()


def test_intents() -> None:
    """Action and run, from the intent that started the app or from a later one; none is nothing."""
    platform = Platform(Phone({}))
    assert platform.wanted() == Wanted("org.edgekit.VERIFY", "<run>")
    empty = SimpleNamespace(getAction=lambda: None, getStringExtra=lambda _: None)
    assert platform.wanted(empty) == Wanted("", "")


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not Android, or an app that was put together otherwise: one line."""
    phone = Phone({})
    del phone.classes["org.edgekit.edge.ServiceEngine"]
    with pytest.raises(MissingToolError, match="Android app"):
        Platform(phone)
    monkeypatch.setitem(sys.modules, "jnius", None)
    with pytest.raises(MissingToolError):
        Platform()


def test_the_android_module_is_asked_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decorator for the window's thread, a binding for intents."""
    android, runnable = ModuleType("android"), ModuleType("android.runnable")
    bound: dict[str, Any] = {}
    vars(android).update(activity=SimpleNamespace(bind=lambda **given: bound.update(given)), runnable=runnable)
    vars(runnable)["run_on_ui_thread"] = lambda function: function
    monkeypatch.setitem(sys.modules, "android", android)
    monkeypatch.setitem(sys.modules, "android.runnable", runnable)
    called: list[int] = []
    run_in_ui_thread(lambda: called.append(1))
    on_new_intent(called.append)
    assert called == [1]
    bound["on_new_intent"](2)
    assert called == [1, 2]
    assert platform_module.FLAG_SECURE == 0x2000


def test_places(tmp_path: Path) -> None:
    """Everything lies in the app's private folder, closed to others; without one nothing starts."""
    environment = {"ANDROID_PRIVATE": str(tmp_path / "files")}
    places = Places.from_environment(environment)
    places.settle(environment)
    places.settle(environment)
    assert environment["EDGE_HOME"] == str(tmp_path / "files" / "home")
    assert environment["EDGE_CACHE"] == str(tmp_path / "cache" / "edge")
    for folder in (places.home, places.data, places.results, places.cache):
        assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ResourceError):
        Places.from_environment({})
    assert host_arguments(places) == [
        str(places.bundle), "--socket", str(places.socket), "--results", str(places.results)
    ]  # fmt: skip
    assert len(str(places.socket)) < 100


def test_the_service_runs_on_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the engine would look for a Python package that Android has not."""
    monkeypatch.setitem(ENGINES, ENGINE, ENGINES[ENGINE])
    use_java()
    assert ENGINES[ENGINE] is open_java_engine
