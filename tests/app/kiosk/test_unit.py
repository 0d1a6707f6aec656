"""The kiosk's files. When these fail, a board boots into a black screen, or into an app that can reach a network."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from edge.app.kiosk.install import ENABLED, SYSUSERS, TMPFILES, UDEV, UNIT, files, install
from edge.app.kiosk.unit import KioskOptions, command, options_of, quoted, render_udev, render_unit
from edge.errors import InputError

BUNDLE = PurePosixPath("/opt/edge/bundles/reference-notes")


def parsed(text: str) -> dict[str, dict[str, list[str]]]:
    """A unit as section -> key -> values, in order; keys may come more than once."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def service(**more: object) -> dict[str, list[str]]:
    """The service part with these options."""
    return parsed(render_unit(KioskOptions((BUNDLE,), **more)))["Service"]  # type: ignore[arg-type]


def test_no_network_and_no_rights() -> None:
    """If not: a visit's words have a way off the device."""
    found = service()
    assert found["PrivateNetwork"] == ["yes"]
    assert found["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK"]
    assert found["IPAddressDeny"] == ["any"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["ProtectSystem"] == ["strict"]
    assert found["ProtectHome"] == ["yes"]
    assert found["User"] == ["edge"]
    assert found["LimitCORE"] == ["0"]
    assert found["UMask"] == ["0077"]


def test_only_the_devices_of_a_panel() -> None:
    """If not: the screen stays dark, or the app reads a disk past its own folder."""
    found = service(tty=2)
    assert found["DevicePolicy"] == ["closed"]
    assert found["DeviceAllow"] == ["char-drm rw", "char-input rw", "char-alsa rw", "char-tty rw", "/dev/tty2 rw"]
    assert found["TTYPath"] == ["/dev/tty2"]
    environment = dict(one.split("=", 1) for one in found["Environment"])
    assert environment["SDL_VIDEODRIVER"] == "kmsdrm"
    assert environment["EDGE_HOME"] == "/var/lib/edge"
    assert "getty@tty2.service" in render_unit(KioskOptions((BUNDLE,), tty=2))


def test_it_comes_back() -> None:
    """If not: a frozen or fallen app stays so until somebody with a keyboard comes."""
    found = service(watchdog_s=20, memory_max_bytes=2 << 30)
    assert found["Restart"] == ["always"]
    assert found["Type"] == ["notify"]
    assert found["WatchdogSec"] == ["20"]
    assert found["MemoryMax"] == [str(2 << 30)]
    assert found["MemorySwapMax"] == ["0"]
    assert found["OOMPolicy"] == ["continue"]  # an engine that grew too large dies alone
    assert "MemoryMax" not in service()
    assert parsed(render_unit(KioskOptions((BUNDLE,))))["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_the_density_reaches_the_app() -> None:
    """If not: buttons are too small for a finger on a dense panel."""
    found = service(density=210 / 160, size_px=(1280, 720))
    assert "KIVY_METRICS_DENSITY=1.3125" in found["Environment"]
    words = shlex.split(found["ExecStart"][0])
    assert words[words.index("--density") + 1] == "1.3125"
    assert words[words.index("--size") + 1] == "1280x720"


def test_the_command_line() -> None:
    """If not: systemd splits or expands a path and starts something else."""
    odd = PurePosixPath('/opt/a b/100%/$HOME/"x"')
    line = command(KioskOptions((odd,), speech_model=PurePosixPath("/opt/whisper")))
    undone = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
    assert undone[:3] == ["/opt/edge/bin/edge", "app", str(odd)]
    assert undone[-2:] == ["--speech-model", "/opt/whisper"]
    assert "--fullscreen" in undone
    assert undone[undone.index("--data") + 1] == "/var/lib/edge/bedside"
    assert quoted("") == '""'
    for bad in ("relative", "/opt/../etc"):
        with pytest.raises(InputError, match="not absolute"):
            command(KioskOptions((PurePosixPath(bad),)))
    with pytest.raises(InputError, match="control character"):
        command(KioskOptions((PurePosixPath("/opt/a\nExecStartPre=/bin/sh"),)))


@pytest.mark.parametrize("more", [{"watchdog_s": 0}, {"tty": 0}, {"memory_max_bytes": 1}, {"density": -1.0}])
def test_numbers_that_cannot_be(more: dict[str, float]) -> None:
    """If not: a unit is written that systemd refuses at the next boot."""
    with pytest.raises(InputError):
        render_unit(KioskOptions((BUNDLE,), **more))  # type: ignore[arg-type]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """If not: systemd itself finds an unknown key or a wrong value."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edge-bedside.service"
    program = PurePosixPath(shutil.which("sh") or "/bin/sh")
    unit.write_text(render_unit(KioskOptions((BUNDLE,), program=program, memory_max_bytes=1 << 30)), encoding="utf-8")
    check = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    if "Failed to" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("systemd-analyze cannot run here")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectSystem=strict", "ProtectSystm=strict"))
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert "ProtectSystm" in done.stderr, "the check finds nothing, so that its silence says nothing"


def test_files_of_an_image(tmp_path: Path) -> None:
    """If not: an image is built without the unit, or with paths of the machine that built it."""
    written = install(tmp_path, bundles=[tmp_path / "opt/edge/b1", Path("/opt/edge/b2")], density=1.5)
    assert [str(path.relative_to(tmp_path)) for path in written] == [UNIT, SYSUSERS, TMPFILES, UDEV, ENABLED]
    text = (tmp_path / UNIT).read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert " app /opt/edge/b1 /opt/edge/b2 " in text
    assert (tmp_path / UNIT).stat().st_mode & 0o777 == 0o644
    link = tmp_path / ENABLED
    assert link.readlink() == Path("/") / UNIT
    before = {path: path.lstat().st_ino for path in written[4:]}
    assert install(tmp_path, bundles=[tmp_path / "opt/edge/b1", Path("/opt/edge/b2")], density=1.5) == written
    assert {path: path.lstat().st_ino for path in written[4:]} == before
    assert (tmp_path / UNIT).read_text(encoding="utf-8") == text


def test_what_cannot_be_installed(tmp_path: Path) -> None:
    """If not: a mistake at the command line is a traceback or half an installation."""
    with pytest.raises(InputError, match="root folder"):
        install(tmp_path / "none", bundles=[Path("/b")])
    with pytest.raises(InputError, match="no bundle"):
        install(tmp_path, bundles=[])
    (tmp_path / "usr").write_text("a file", encoding="utf-8")
    from edge.errors import EdgeError

    with pytest.raises(EdgeError) as caught:
        install(tmp_path, bundles=[Path("/b")])
    assert len(str(caught.value).splitlines()) == 1


def test_the_other_files() -> None:
    """If not: the user lacks a group, or a folder of patients' data is open to others."""
    texts = files(options_of(["/b"], 1.0))
    assert 'u edge - "edge bedside app" /var/lib/edge' in texts[SYSUSERS]
    for group in service()["SupplementaryGroups"][0].split():
        assert f"m edge {group}\n" in texts[SYSUSERS]
    rows = [line.split() for line in texts[TMPFILES].splitlines() if not line.startswith("#")]
    assert [(row[1], row[2]) for row in rows] == [
        ("/var/lib/edge", "0700"), ("/var/lib/edge/bedside", "0700"), ("/media/edge", "0750"),
    ]  # fmt: skip
    assert "nosuid,nodev,noexec" in texts[UDEV]


def test_a_stick_with_updates_is_read_only_and_apart() -> None:
    """If not: the agent sees the sticks that visits are exported to, or a stick of updates is written to."""
    rules = render_udev()
    updates, rest = rules.split("# Any other stick goes")
    assert 'ENV{ID_FS_LABEL}=="EDGEUPDATES"' in updates and "-o ro,nosuid,nodev,noexec" in updates
    assert "/media/edge-updates" in updates and 'GOTO="edge_bedside_end"' in updates
    assert rest.rstrip().endswith('LABEL="edge_bedside_end"') and "edge-updates" not in rest
