"""An Android device by adb's documented commands, against a program that behaves like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.device.reach.adb import AdbDevice, adb_failure, choose, parse_devices
from edge.device.reach.base import Completed
from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError, SourceError, UntrustedError
from tests.device.reach.phone import LINE, Phone

LISTED = f"""* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
{LINE}
emulator-5554          offline transport_id:2
0123456789             no permissions (user in plugdev group; are your udev rules wrong?); see [http://x] usb:1-2

"""


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    return Phone(tmp_path / "phone")


def test_the_list_is_read() -> None:
    """If it fails, a device that is plugged in is not seen, or its state is taken for its name."""
    first, second, third = parse_devices(LISTED)
    assert (first.serial, first.state, first.model) == ("R58M123ABC", "device", "SM T870")
    assert (second.state, third.state) == ("offline", "no")
    assert choose((first, second, third), "R58M123ABC") == first


@pytest.mark.parametrize(
    ("lines", "serial", "words", "kind"),
    [
        ([], "", "there is no device", ResourceError),
        ([LINE, "b device"], "", r"several devices \(R58M123ABC, b\)", ResourceError),
        ([LINE], "other", "no such device", ResourceError),
        (["a unauthorized transport_id:1"], "", "adb:a: is not authorised; unlock it", UntrustedError),
        (["a offline"], "", "is offline", ResourceError),
        (["a authorizing"], "a", "is being authorised", ResourceError),
        (["a no permissions (udev)"], "", "may not be used by you", ResourceError),
        (["a recovery"], "", "state 'recovery'", ResourceError),
    ],
)
def test_one_line_for_every_state(
    phone: Phone, lines: list[str], serial: str, words: str, kind: type[EdgeError]
) -> None:
    """If it fails, a phone that waits for a tap on its screen ends in adb's own words, or in silence."""
    phone.set(devices=lines)
    with pytest.raises(kind, match=words) as caught:
        phone.connect(serial)
    assert "\n" not in str(caught.value)


def test_adb_is_missing() -> None:
    """If it fails, a machine without adb shows a traceback."""
    with pytest.raises(MissingToolError, match="not installed"):
        AdbDevice("", adb=["adb-that-is-not-there"])


def test_facts(phone: Phone) -> None:
    """If it fails, a bundle for another processor is pushed, or a phone without the app gets a gigabyte."""
    phone.set(features="fp asimd asimddp", free_kb=1000)
    with phone.connect() as device:
        facts = device.facts()
        assert (facts.arch, facts.python, facts.board, facts.system) == ("aarch64", None, "SM T870", "Android 14")
        assert "asimddp" in facts.isa_features
        assert facts.free_bytes == 1_024_000
        assert device.describe() == "adb:R58M123ABC (SM T870, Android 14)"
    phone.set(installed=False)
    with pytest.raises(SourceError, match=r"app org\.edgekit\.edge is not installed"):
        phone.connect().facts()
    phone.set(properties={"ro.product.cpu.abi": "armeabi-v7a"})
    with pytest.raises(SourceError, match="armeabi-v7a"):
        phone.connect().facts()


def test_push_pull_and_run(phone: Phone, tmp_path: Path) -> None:
    """If it fails, a bundle arrives changed, twice, or under the name of a part."""
    source = tmp_path / "s"
    (source / "model").mkdir(parents=True)
    (source / "model/a b.onnx").write_bytes(b"weights" * 1000)
    (source / "card.md").write_bytes(b"card")
    with phone.connect() as device:
        assert device.push(source, "bundles/x").sent_files == 2
        assert (phone.folder / "bundles/x/model/a b.onnx").read_bytes() == b"weights" * 1000
        (phone.folder / "bundles/x/old").write_bytes(b"")
        (phone.folder / "bundles/x/card.md.part").write_bytes(b"half")
        again = device.push(source, "bundles/x")
        assert (again.sent_files, again.kept_files) == (0, 2)
        names = sorted(str(path.relative_to(phone.folder)) for path in phone.folder.rglob("*") if path.is_file())
        assert names == ["bundles/x/card.md", "bundles/x/model/a b.onnx"]
        device.pull("bundles/x/card.md", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"card"
        assert device.read("bundles/x/none") is None
        with pytest.raises(BundleError, match="leaves the app's folder"):
            device.pull("../x", tmp_path / "no")
        assert device.run(["echo", "a b"], {"X": "y"}, 5).stdout == "a b\n"
        with pytest.raises(ResourceError, match="adb failed"):
            device.pull("bundles/x/none", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_no_space(phone: Phone, tmp_path: Path) -> None:
    """If it fails, a phone is filled up, before or in the middle of a file."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a").write_bytes(b"x" * 5000)
    phone.set(free_kb=10)
    with pytest.raises(ResourceError, match="nothing was copied"):
        phone.connect().push(tmp_path / "s", "b")
    phone.set(free_kb=10_000_000, push_after_bytes=100)
    with pytest.raises(ResourceError, match="no space left on the device"):
        phone.connect().push(tmp_path / "s", "b")
    assert not list(phone.folder.rglob("a*"))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"push_after_bytes": 1, "push_error": "device 'R58M123ABC' not found"}, "connection was cut"),
        ({"push_after_bytes": 1, "push_error": "device offline"}, "connection was cut"),
        ({"push_after_bytes": 1, "push_error": "remote couldn't create file: Permission denied"}, "open the app once"),
        ({"garble": True}, "reads back other"),
    ],
)
def test_a_push_that_fails_leaves_nothing(phone: Phone, tmp_path: Path, state: dict[str, object], words: str) -> None:
    """If it fails, half a file counts, or a cable that was pulled ends in a traceback."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a").write_bytes(b"weights")
    phone.set(**state)
    with pytest.raises(ResourceError, match=words):
        phone.connect().push(tmp_path / "s", "b")
    assert not list(phone.folder.rglob("a*"))


def test_the_app_is_told_to_begin(phone: Phone) -> None:
    """If it fails, the app is not asked in the words that it listens for, or its refusal is not seen."""
    device = phone.connect()
    device.start_verification("0123456789abcdef")
    said = phone.log()[-1][-1]
    assert said.startswith("am start -n org.edgekit.edge/org.kivy.android.PythonActivity -a org.edgekit.VERIFY")
    assert "--es run 0123456789abcdef" in said
    phone.set(am="Error type 3\nError: Activity class {org.edgekit.edge} does not exist.")
    with pytest.raises(SourceError, match="the app did not start"):
        device.start_verification("0123456789abcdef")


def test_unknown_words_are_passed_on() -> None:
    """If it fails, a failure that nobody foresaw says nothing."""
    error = adb_failure(Completed(1, "", "adb: strange\n"), "adb:x")
    assert "adb failed with 1 (adb: strange)" in str(error)
