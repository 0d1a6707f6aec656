"""The package's units. When these fail, a board boots into a unit that fails, or one that can reach a network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from edge.errors import InputError
from edge.package import systemd

MEMORY_BYTES = 4 << 30
BUNDLES = (PurePosixPath("/var/lib/edge-kit/notes"), PurePosixPath("/var/lib/edge-kit/differential"))


def kiosk() -> str:
    return systemd.kiosk_unit(BUNDLES, density=1.3125, size_px=(1280, 720), memory_max_bytes=MEMORY_BYTES)


UNITS = {
    systemd.KIOSK: kiosk(),
    systemd.VERIFY: systemd.verify_unit(MEMORY_BYTES),
    systemd.AGENT: systemd.agent_unit(),
}


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.partition("=")[0] == key]


@pytest.mark.parametrize("name", UNITS)
def test_nobody_gains_rights(name: str) -> None:
    """If not: a fault in a library of ours is a fault of the whole board."""
    text = UNITS[name]
    for key, wanted in {
        "User": "edge", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict",
        "ProtectHome": "yes", "RestrictNamespaces": "yes", "SystemCallFilter": "@system-service", "UMask": "0077",
        "LimitCORE": "0", "PrivateTmp": "yes",
    }.items():  # fmt: skip
        assert values(text, key) == [wanted], key


@pytest.mark.parametrize("name", [systemd.KIOSK, systemd.VERIFY])
def test_nothing_leaves_the_device(name: str) -> None:
    """If not: a visit's words have a way out."""
    assert values(UNITS[name], "PrivateNetwork") == ["yes"]
    assert values(UNITS[name], "IPAddressDeny") == ["any"]
    assert values(UNITS[name], "MemoryMax") == [str(MEMORY_BYTES)]
    assert values(UNITS[name], "MemorySwapMax") == ["0"]


def test_the_agent_waits_for_its_settings_and_sees_no_visit() -> None:
    """If not: a unit without a program fails at each boot, or the one part with a network reads patients' data."""
    text = UNITS[systemd.AGENT]
    assert values(text, "ConditionPathExists") == ["/etc/edge-kit/agent.yaml"]
    assert values(text, "InaccessiblePaths") == ["-/var/lib/edge/bedside -/media/edge"]
    assert values(text, "ExecStart") == ["/usr/bin/edge agent --config /etc/edge-kit/agent.yaml"]
    assert values(text, "ReadWritePaths") == ["/var/lib/edge /var/lib/edge-kit"]
    # The MQTT client binds port 0 before it connects: with SocketBindDeny it never would.
    assert values(text, "SocketBindDeny") == []
    assert "agent, which this one is not" not in text


def test_the_agent_s_memory_is_the_benchmark_s() -> None:
    """If not: the benchmark that the agent starts is killed for a limit that fits an agent without a model."""
    assert values(UNITS[systemd.AGENT], "MemoryMax") == []
    text = systemd.agent_unit(MEMORY_BYTES)
    assert values(text, "MemoryMax") == [str(MEMORY_BYTES)]
    with pytest.raises(InputError, match="256 MiB"):
        systemd.agent_unit(1000)


def test_the_kiosk_is_the_app_s_own_with_the_package_s_paths() -> None:
    """If not: the panel starts another program, or the administrator's options are lost."""
    text = UNITS[systemd.KIOSK]
    (line,) = values(text, "ExecStart")
    assert line.startswith("/usr/bin/edge app /var/lib/edge-kit/notes /var/lib/edge-kit/differential --data ")
    assert line.endswith(" --size 1280x720 $EDGE_APP_OPTIONS")
    assert values(text, "EnvironmentFile") == ["-/etc/default/edge-kit"]
    assert values(text, "ReadWritePaths") == ["-/media/edge -/var/lib/edge-kit/bundles"]
    assert values(text, "ProtectSystem") == ["strict"]
    assert "kiosk-install" not in text
    assert "EDGE_APP_OPTIONS=" in systemd.defaults_file()


def test_the_device_test_comes_first() -> None:
    """If not: the app draws while the speed of the device is measured."""
    assert values(UNITS[systemd.VERIFY], "Before") == [systemd.KIOSK]
    assert values(UNITS[systemd.VERIFY], "Type") == ["oneshot"]


def test_too_little_memory() -> None:
    """If not: systemd kills the app at its start, for ever."""
    with pytest.raises(InputError, match="256 MiB"):
        systemd.verify_unit(1000)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_unit(name: str, tmp_path: Path) -> None:
    """If not: systemd itself finds an unknown key or a wrong value."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / name
    text = UNITS[name].replace("/usr/bin/edge", "/bin/sh").replace("/usr/lib/edge-kit/verify-new", "/bin/sh")
    unit.write_text(text, encoding="utf-8")
    check = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("systemd-analyze cannot run here")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(text.replace("ProtectSystem=strict", "ProtectSystm=strict"), encoding="utf-8")
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert "ProtectSystm" in done.stderr, "the check finds nothing, so that its silence says nothing"
