"""A device from what the user wrote after --device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.device.emulation import default_cache, prepare
from edge.device.reach.adb import AdbDevice
from edge.device.reach.base import Address, parse_address
from edge.device.reach.emulated import EmulatedDevice
from edge.device.reach.local import LocalDevice
from edge.device.reach.ssh import SshDevice


@dataclass(frozen=True)
class Ways:
    """How devices are reached. folder: edge's folder on the device, "" for its default; engines: what an emulated
    device must run; targets: the folder of the target files; ssh, adb: the programs."""

    folder: str = ""
    accept_new_host_key: bool = False
    ssh: Sequence[str] = ("ssh",)
    adb: Sequence[str] = ("adb",)
    engines: Sequence[str] = ("onnxruntime",)
    targets: Path = Path("targets")
    cache: Path | None = None


AnyDevice = LocalDevice | SshDevice | AdbDevice | EmulatedDevice


def open_device(
    text: str | Address, ways: Ways | None = None, *, say: Callable[[str], None] = lambda _: None
) -> AnyDevice:
    """Open a device. Errors: InputError for an address that cannot be read, and those of reaching it."""
    where = parse_address(text) if isinstance(text, str) else text
    chosen = ways or Ways()
    if where.kind == "ssh":
        return SshDevice(
            where, folder=chosen.folder, accept_new_host_key=chosen.accept_new_host_key, ssh_command=chosen.ssh
        )
    if where.kind == "adb":
        return AdbDevice(where.name, adb=chosen.adb)
    if where.kind == "emulated":
        cache = chosen.cache or default_cache()
        board = prepare(where.name, cache=cache, engines=tuple(chosen.engines), targets=chosen.targets, say=say)
        return EmulatedDevice(where.name, board, cache / "devices" / where.name)
    return LocalDevice(folder=chosen.folder)
