"""The texts of the kiosk's files: systemd unit, user, folders, device rules. Pure functions of a few numbers and paths.

The app runs as a user without rights, draws straight to the panel (KMSDRM, no desktop), has no network at all, sees the
graphics card, the touch panel and the sound card and no other device, and may write its own folder and mounted media.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from edge.app.kiosk.density import density_for
from edge.errors import InputError

NAME = "edge-bedside"
USER = "edge"
DATA = PurePosixPath("/var/lib/edge")
PROGRAM = PurePosixPath("/opt/edge/bin/edge")
MEDIA = PurePosixPath("/media/edge")  # where sticks are mounted; the person chooses a folder below it
UPDATES = PurePosixPath("/media/edge-updates")  # a stick from `edge repo copy`
UPDATES_LABEL = "EDGEUPDATES"  # of its file system; FAT allows 11 letters
GROUPS = ("video", "render", "input", "audio")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


@dataclass(frozen=True)
class KioskOptions:
    """bundles: folders on the device, absolute. density: pixels per dp. size_px: of the panel, None for its own mode.
    memory_max_bytes: of the app with its engines, None for no limit of its own. watchdog_s: a frame must come within.
    """

    bundles: tuple[PurePosixPath, ...]
    density: float = 1.0
    size_px: tuple[int, int] | None = None
    program: PurePosixPath = PROGRAM
    memory_max_bytes: int | None = None
    watchdog_s: int = 30
    speech_model: PurePosixPath | None = None
    tty: int = 1


def quoted(argument: str) -> str:
    """An argument of ExecStart: systemd expands % and $ and splits at blanks. Errors: InputError for controls."""
    if any(ord(letter) < 0x20 or letter == "\x7f" for letter in argument):
        raise InputError("a path of the kiosk has a control character", mend="rename it")
    plain = argument.replace("%", "%%").replace("$", "$$")
    if argument and _PLAIN.fullmatch(argument):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _absolute(path: PurePosixPath) -> str:
    if not path.is_absolute() or ".." in path.parts:
        raise InputError("a path of the kiosk is not absolute", where=path.name, mend="give it as it is on the device")
    return str(path)


def command(options: KioskOptions) -> str:
    """ExecStart. Errors: InputError for a path that is not absolute or a density that cannot be."""
    arguments = [_absolute(options.program), "app", *map(_absolute, options.bundles)]
    arguments += ["--data", str(DATA / "bedside"), "--fullscreen"]
    arguments += ["--density", f"{density_for(options.density * 160):g}"]
    if options.size_px:
        arguments += ["--size", f"{options.size_px[0]}x{options.size_px[1]}"]
    if options.speech_model:
        arguments += ["--speech-model", _absolute(options.speech_model)]
    return " ".join(map(quoted, arguments))


def render_unit(options: KioskOptions) -> str:
    """The text of edge-bedside.service. Errors: InputError."""
    if not 5 <= options.watchdog_s <= 600 or not 1 <= options.tty <= 63:
        raise InputError(
            "the kiosk's watchdog or terminal cannot be", mend="give 5 to 600 s, and a terminal from 1 to 63"
        )
    limits = ""
    if options.memory_max_bytes is not None:
        if options.memory_max_bytes < 256 << 20:
            raise InputError("the kiosk's memory is less than 256 MiB", mend="give more, or leave it out")
        # No swap: what the app holds in memory is patients' words, and swap lies on the disk.
        limits = f"MemoryMax={options.memory_max_bytes}\nMemorySwapMax=0\n"
    return f"""# Made by `edge app --kiosk-install`; docs/kiosk.md says what each part is for.
[Unit]
Description=edge bedside app on this panel
After=systemd-user-sessions.service systemd-logind.service
Conflicts=getty@tty{options.tty}.service
After=getty@tty{options.tty}.service
# A bedside panel is never given up: it must come back when a cable or a stick was put right.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command(options)}
Restart=always
RestartSec=3
TimeoutStartSec=60
TimeoutStopSec=15
WatchdogSec={options.watchdog_s}
# A frozen app must end at once: it cannot save any more, and its last autosave is less than a second old.
WatchdogSignal=SIGKILL
KillMode=control-group
OOMPolicy=continue
{limits}
# Who and where
User={USER}
Group={USER}
SupplementaryGroups={" ".join(GROUPS)}
UMask=0077
StateDirectory=edge
StateDirectoryMode=0700
WorkingDirectory={DATA}
Environment=EDGE_HOME={DATA}
Environment=EDGE_SLOTS={DATA}/slots
Environment=HOME={DATA}
Environment=SDL_VIDEODRIVER=kmsdrm
Environment=SDL_AUDIODRIVER=dummy
Environment=KIVY_METRICS_DENSITY={density_for(options.density * 160):g}
Environment=PYTHONDONTWRITEBYTECODE=1
TTYPath=/dev/tty{options.tty}
TTYReset=yes
TTYVHangup=yes
TTYVTDisallocate=yes
StandardInput=tty
StandardOutput=journal
StandardError=journal

# No network. AF_NETLINK stays for the kernel's news of plugged-in panels (udev); in a network namespace of its own,
# with not even a loopback address up, it reaches nobody.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
IPAddressDeny=any

# Devices: graphics, input, sound, the terminal; nothing else
DevicePolicy=closed
DeviceAllow=char-drm rw
DeviceAllow=char-input rw
DeviceAllow=char-alsa rw
DeviceAllow=char-tty rw
DeviceAllow=/dev/tty{options.tty} rw

# Files: the system is read-only, home folders are not there; its own folder and media may be written
ProtectSystem=strict
ProtectHome=yes
ReadWritePaths=-{MEDIA}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RemoveIPC=yes

# Rights
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LimitCORE=0
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# Not MemoryDenyWriteExecute: the graphics drivers translate shaders into machine code.

[Install]
WantedBy=multi-user.target
"""


def render_sysusers() -> str:
    """The user, without a login, in the groups that own the devices."""
    members = "".join(f"m {USER} {group}\n" for group in GROUPS)
    groups = "".join(f"g {group} -\n" for group in GROUPS)
    user = f'u {USER} - "edge bedside app" {DATA}\n'
    return f"# The user of the bedside app: no password, no shell.\n{groups}{user}{members}"


def render_tmpfiles() -> str:
    """The folders: data for the app alone, a place for media."""
    return (
        "# Patients' data, encrypted by the app; for nobody else on this machine.\n"
        f"d {DATA} 0700 {USER} {USER} -\n"
        f"d {DATA}/bedside 0700 {USER} {USER} -\n"
        "# Where sticks are mounted for an export.\n"
        f"d {MEDIA} 0750 root {USER} -\n"
    )


def render_udev() -> str:
    """The rules: who may draw, who may read touches, and sticks mounted so that the app may write to them."""
    mount = f"/usr/bin/systemd-mount --no-block --collect --owner={USER} -o nosuid,nodev,noexec,sync"
    return f"""# Graphics and touch for the bedside app's groups.
SUBSYSTEM=="drm", KERNEL=="card[0-9]*", GROUP="video", MODE="0660"
SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", MODE="0660"
SUBSYSTEM=="input", KERNEL=="event*", GROUP="input", MODE="0660"
# A stick with updates, by its label, is read only and apart: the fleet's agent sees it, and no visit is written to it.
ACTION=="add", SUBSYSTEM=="block", ENV{{ID_BUS}}=="usb", ENV{{ID_FS_LABEL}}=="{UPDATES_LABEL}", \\
  RUN{{program}}+="/usr/bin/systemd-mount --no-block --collect -o ro,nosuid,nodev,noexec $devnode {UPDATES}", \\
  GOTO="edge_bedside_end"
# Any other stick goes below {MEDIA}: nothing on it runs, and what is exported is on it when the app says so.
ACTION=="add", SUBSYSTEM=="block", ENV{{ID_BUS}}=="usb", ENV{{ID_FS_USAGE}}=="filesystem", \\
  RUN{{program}}+="{mount} $devnode {MEDIA}/%k"
LABEL="edge_bedside_end"
"""


def options_of(bundles: Sequence[str | PurePosixPath], density: float) -> KioskOptions:
    """Options with nothing but bundles and density."""
    return KioskOptions(tuple(PurePosixPath(one) for one in bundles), density)
