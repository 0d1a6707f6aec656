"""The units of the package: the bedside app on the panel, the device test at first boot, the agent.

The kiosk's unit is the one of `edge app --kiosk-install`, with the package's paths. The device test runs before it, so
that nothing draws while it measures, and once: a bundle with a result of this device is left alone. The agent's unit is
not enabled: it waits for the agent's settings and for this device's enrolment (docs/agent.md).
"""

from __future__ import annotations

from pathlib import PurePosixPath

from edge.app.kiosk.unit import KioskOptions, render_unit
from edge.errors import InputError
from edge.package.deb_scripts import GROUPS, HOME, KIT, LIBRARY, MEDIA, USER

KIOSK, VERIFY, AGENT = "edge-bedside.service", "edge-verify.service", "edge-agent.service"
DEFAULTS = PurePosixPath("/etc/default/edge-kit")
AGENT_SETTINGS = PurePosixPath("/etc/edge-kit/agent.yaml")
PROGRAM = PurePosixPath("/usr/bin/edge")
LEAST_MEMORY_BYTES = 256 << 20
VERIFY_TIMEOUT_S = 3600
AGENT_RESTART_S = 60

_RIGHTS = """
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
UMask=0077
"""
_PLACES = """ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RemoveIPC=yes
"""


def _memory(memory_max_bytes: int | None) -> str:
    """No swap beside it: what a run holds is patients' words, and swap lies on the disk. Errors: InputError."""
    if memory_max_bytes is None:
        return ""
    if memory_max_bytes < LEAST_MEMORY_BYTES:
        raise InputError("the target leaves less than 256 MiB for edge", mend="choose a target with more memory")
    return f"MemoryMax={memory_max_bytes}\nMemorySwapMax=0\n"


def kiosk_unit(
    bundles: tuple[PurePosixPath, ...],
    *,
    density: float,
    size_px: tuple[int, int] | None,
    memory_max_bytes: int | None,
) -> str:
    """edge-bedside.service. bundles: as they are on the device. Errors: InputError."""
    _memory(memory_max_bytes)
    text = render_unit(
        KioskOptions(bundles, density=density, size_px=size_px, program=PROGRAM, memory_max_bytes=memory_max_bytes)
    )
    lines = text.splitlines()
    lines[0] = f"# Of the package; change it with {DEFAULTS} or `systemctl edit {KIOSK}`, not here."
    for at, line in enumerate(lines):
        if line.startswith("ExecStart="):
            lines[at] = f"EnvironmentFile=-{DEFAULTS}\n{line} $EDGE_APP_OPTIONS"
        elif line.startswith("ReadWritePaths="):
            # A test started from the app writes its result into the bundle; only that folder is the user's.
            lines[at] = f"{line} -{KIT}/bundles"
    return "\n".join(lines) + "\n"


def verify_unit(memory_max_bytes: int | None) -> str:
    """edge-verify.service. Errors: InputError."""
    return f"""# Of the package; docs/packages.md says what it does.
[Unit]
Description=edge proves its bundles on this device, once
Before={KIOSK}
After=local-fs.target systemd-tmpfiles-setup.service
ConditionPathIsDirectory={KIT}/bundles

[Service]
Type=oneshot
EnvironmentFile=-{DEFAULTS}
ExecStart={LIBRARY}/verify-new
TimeoutStartSec={VERIFY_TIMEOUT_S}
StandardOutput=journal+console
StandardError=journal+console
{_memory(memory_max_bytes)}
# Who and where
User={USER}
Group={USER}
SupplementaryGroups={" ".join(GROUPS)}
WorkingDirectory={HOME}
Environment=EDGE_HOME={HOME}
Environment=HOME={HOME}

# Nobody is reached
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any

# No device but the Raspberry Pi's own sensors
DevicePolicy=closed
DeviceAllow=/dev/vcio rw

# Files: the system is read-only; keys and results may be written
{_PLACES}ReadWritePaths={HOME} {KIT}/bundles
InaccessiblePaths=-{HOME}/bedside -{MEDIA}
{_RIGHTS}
[Install]
WantedBy=multi-user.target
"""


def agent_unit(memory_max_bytes: int | None = None) -> str:
    """edge-agent.service: reaches the fleet's server, and sees no patient's data.

    memory_max_bytes: of the agent with the benchmark that it starts, which holds the model. Errors: InputError.
    """
    return f"""# Of the package; docs/agent.md says what it does. Not enabled: it needs {AGENT_SETTINGS}
# and an enrolment, then: systemctl enable --now {AGENT}
[Unit]
Description=edge agent: benchmarks and builds between this device and its fleet
Wants=network-online.target
After=network-online.target {VERIFY}
ConditionPathExists={AGENT_SETTINGS}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={PROGRAM} agent --config {AGENT_SETTINGS}
# It also ends where the device is not enrolled yet; then it looks again after a while.
Restart=always
RestartSec={AGENT_RESTART_S}
TimeoutStopSec=20
{_memory(memory_max_bytes)}
# Who and where
User={USER}
Group={USER}
SupplementaryGroups={" ".join(GROUPS)}
WorkingDirectory={HOME}
Environment=EDGE_HOME={HOME}
Environment=HOME={HOME}

# The broker and the places of updates are reached
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6

# No device but the Raspberry Pi's own sensors
DevicePolicy=closed
DeviceAllow=/dev/vcio rw

# Files: keys, outbox, slots and results may be written
{_PLACES}ReadWritePaths={HOME} {KIT}
# The one part with a network sees no visit.
InaccessiblePaths=-{HOME}/bedside -{MEDIA}
{_RIGHTS}
[Install]
WantedBy=multi-user.target
"""


def defaults_file() -> str:
    """/etc/default/edge-kit, which the administrator may change and upgrades then leave alone."""
    return """# More options for the app on the panel, as on a command line; `edge app --help` lists them. For example
# EDGE_APP_OPTIONS="--density 1.5 --no-keyboard"
EDGE_APP_OPTIONS=""
# And for the device test at first boot; `edge verify --help` lists them.
EDGE_VERIFY_OPTIONS=""
"""
