"""What runs as root on the board when the package comes, changes or goes. Plain POSIX sh; pure functions.

Rules. (1) Nothing changes while a visit is open: the new package's preinst refuses an upgrade, prerm a removal, by the
lock that the app holds. (2) Patients' data, keys and attestations survive upgrade and removal; only purge deletes them,
and says what it deletes. (3) Below /var/lib/edge, which the app's user owns, root creates nothing: that user does.
(4) No unit is started at the first installation; units are enabled unless the administrator said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

PACKAGE = "edge-kit"
USER = "edge"
HOME = PurePosixPath("/var/lib/edge")  # what the app writes: patients' data, keys
KIT = PurePosixPath("/var/lib/edge-kit")  # bundles, and the attestations that this device wrote
LIBRARY = PurePosixPath("/usr/lib/edge-kit")
SHARE = PurePosixPath("/usr/share/edge-kit")
SITE = LIBRARY / "site"
TRUSTED = SHARE / "trusted"
MEDIA = PurePosixPath("/media/edge")
GROUPS = ("video", "render", "input", "audio")
RESTART_MARK = "/run/edge-kit.restart"
BUILD_COMMANDS = ("build", "rebuild", "plan", "adapt", "evaluate", "package")

_HEAD = "#!/bin/sh\nset -e\n"
_VISIT = f"""
# Runs a command while no visit can be opened: the app holds the lock for as long as one is open, and an install of a
# model when it exchanges one; a self-test of a model ends itself when this holds it. An app of a package before this
# one holds it beside the visits.
while_no_visit() {{
    old={HOME}/bedside/encounter-open.lock
    if [ -f "$old" ] && [ ! -L "$old" ]; then
        flock --nonblock --exclusive "$old" true || visit_open
    fi
    lock={HOME}/encounter-open.lock
    if [ ! -f "$lock" ] || [ -L "$lock" ]; then
        "$@"
        return
    fi
    status=0
    flock --nonblock --exclusive --conflict-exit-code 77 "$lock" "$@" || status=$?
    [ "$status" -ne 77 ] || visit_open
}}
visit_open() {{
    echo "{PACKAGE}: a visit is open in the app on this device, or a model is being installed; finish it and run" \\
        "this again. Nothing changed." >&2
    exit 1
}}
no_compiled_python() {{
    [ ! -d {SITE} ] || find {SITE} -depth -type d -name __pycache__ -exec rm -rf {{}} +
}}
"""


@dataclass(frozen=True)
class Device:
    """What the scripts must know. bundles: folders below /var/lib/edge-kit/bundles. enabled: units that start at boot.

    units: all units of the package. screen: the bedside app is in it.
    """

    python: tuple[int, int]
    bundles: tuple[str, ...]
    units: tuple[str, ...]
    enabled: tuple[str, ...]
    screen: bool

    @property
    def interpreter(self) -> str:
        """The board's own Python, of the minor version that the wheels are for."""
        return f"/usr/bin/python{self.python[0]}.{self.python[1]}"


def _words(values: Sequence[str]) -> str:
    return " ".join(values)


def launcher(device: Device) -> str:
    """/usr/bin/edge: the package's own Python path, and nothing of the caller's."""
    return f"""#!/bin/sh
# Runs edge from its own folder, whatever else is installed for Python on this device.
case "${{1:-}}" in
    {"|".join(BUILD_COMMANDS)})
        echo "edge: '$1' needs the build tools, which are not on this device. Run it on the build host." >&2
        exit 10
        ;;
esac
if [ -z "${{EDGE_HOME:-}}" ] && [ "$(id -un)" = {USER} ]; then
    EDGE_HOME={HOME}
    export EDGE_HOME
fi
PYTHONPATH={SITE}
PYTHONSAFEPATH=1
PYTHONNOUSERSITE=1
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONDONTWRITEBYTECODE
exec {device.interpreter} -m edge.cli "$@"
"""


def verify_new() -> str:
    """The program of edge-verify.service: an install that a power cut stopped is ended, and each bundle of the package
    that has no result of this device yet is verified."""
    return f"""#!/bin/sh
# Exit code: of the last bundle that did not pass, else 0.
set -u
status=0
# First: a build that is switched to and not tested must not be what the app opens.
if [ -d {HOME}/slots ]; then
    /usr/bin/edge install resume --slots {HOME}/slots || status=$?
fi
for bundle in {KIT}/bundles/*/; do
    [ -f "${{bundle}}manifest.json" ] || continue # an older bundle, of which only the results are left
    for result in "${{bundle}}attestations/"*.json; do
        [ ! -e "$result" ] || continue 2
    done
    # Options are words, so they are not quoted.
    /usr/bin/edge verify ${{EDGE_VERIFY_OPTIONS:-}} "${{bundle%/}}" || status=$?
done
exit "$status"
"""


def preinst() -> str:
    """Before the new files: no open visit, the app stopped, no compiled Python of the old version."""
    return f"""{_HEAD}{_VISIT}
if [ "$1" = upgrade ]; then
    if [ -d /run/systemd/system ] && systemctl --quiet is-active edge-bedside.service; then
        while_no_visit systemctl stop edge-bedside.service
        touch {RESTART_MARK}
    else
        while_no_visit true
    fi
    no_compiled_python
fi
exit 0
"""


def postinst(device: Device) -> str:
    """After the new files: user, folders, trust in the builder, compiled Python, units."""
    bundles = " ".join(f"{KIT}/bundles/{name}" for name in device.bundles)
    screen = f"""
    runuser -u {USER} -- mkdir -p -m 0700 {HOME}/bedside
    install -d -o root -g {USER} -m 0750 {MEDIA}
    if command -v udevadm >/dev/null && [ -d /run/udev ]; then
        udevadm control --reload || true
    fi"""
    now = _words(("edge-verify.service", *(("edge-bedside.service",) if device.screen else ())))
    return f"""{_HEAD}
case "$1" in
configure | abort-upgrade | abort-remove | abort-deconfigure)
    for group in {_words(GROUPS)} {USER}; do
        getent group "$group" >/dev/null || addgroup --quiet --system "$group"
    done
    if ! getent passwd {USER} >/dev/null; then
        adduser --quiet --system --ingroup {USER} --home {HOME} --no-create-home --shell /usr/sbin/nologin \\
            --gecos "edge bedside app" {USER}
    elif [ "$(id -u {USER})" -ge 1000 ]; then
        echo "{PACKAGE}: the account '{USER}' belongs to a person; the app needs that name. Rename the account." >&2
        exit 1
    fi
    for group in {_words(GROUPS)}; do
        adduser --quiet {USER} "$group"
    done
    [ -d {HOME} ] || install -d -o {USER} -g {USER} -m 0700 {HOME}
    runuser -u {USER} -- mkdir -p -m 0700 {HOME}/trusted
    # The keys whose bundles this package brings are trusted, and no longer those of the package before.
    runuser -u {USER} -- sh -c 'rm -f {HOME}/trusted/deb-*.pub.pem'
    for key in {TRUSTED}/*.pub.pem; do
        runuser -u {USER} -- install -m 0644 "$key" "{HOME}/trusted/${{key##*/}}"
    done
    for bundle in {bundles}; do
        chown {USER}:{USER} "$bundle/attestations"
    done{screen if device.screen else ""}
    # Not a reason to fail: without it edge starts more slowly.
    {device.interpreter} -I -m compileall -qq --invalidation-mode unchecked-hash {SITE} || true
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload || true
    fi
    if command -v deb-systemd-helper >/dev/null; then
        for unit in {_words(device.enabled)}; do
            deb-systemd-helper unmask "$unit" >/dev/null || true
            if deb-systemd-helper --quiet was-enabled "$unit"; then
                deb-systemd-helper enable "$unit" >/dev/null || true
            else
                deb-systemd-helper update-state "$unit" >/dev/null || true
            fi
        done
    fi
    if [ -e {RESTART_MARK} ]; then
        rm -f {RESTART_MARK}
        if [ -d /run/systemd/system ]; then
            deb-systemd-invoke start edge-bedside.service || true
        fi
    fi
    for bundle in {bundles}; do
        if [ "$1" = configure ] && [ -z "$(find "$bundle/attestations" -name '*.json' -print -quit)" ]; then
            echo "{PACKAGE}: ${{bundle##*/}} is tested on this device at the next boot; now: systemctl start {now}"
        fi
    done
    ;;
esac
exit 0
"""


def prerm(device: Device) -> str:
    """Before the files go: no open visit, all units stopped, no compiled Python."""
    return f"""{_HEAD}{_VISIT}
case "$1" in
remove | deconfigure)
    if [ -d /run/systemd/system ]; then
        while_no_visit deb-systemd-invoke stop {_words(device.units)}
    else
        while_no_visit true
    fi
    no_compiled_python
    ;;
esac
exit 0
"""


def postrm(device: Device) -> str:
    """After the files went; on purge all data, each folder named."""
    return f"""{_HEAD}
delete() {{
    if [ -e "$1" ]; then
        echo "{PACKAGE}: deleting $1 ($2)"
        rm -rf "$1"
    fi
}}
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || true
fi
if [ "$1" = purge ]; then
    if command -v deb-systemd-helper >/dev/null; then
        deb-systemd-helper purge {_words(device.units)} >/dev/null || true
        deb-systemd-helper unmask {_words(device.units)} >/dev/null || true
    fi
    delete {HOME} "patients' data, keys and settings of the app"
    delete {KIT} "results of device tests, and what was put beside the bundles"
    delete /etc/edge-kit "settings of the agent"
    delete {SHARE} "what was put beside the package's own files"
    delete {LIBRARY} "what was put beside the package's own files"
    rm -f {RESTART_MARK}
    if [ -d {MEDIA} ]; then
        rmdir --ignore-fail-on-non-empty {MEDIA}
    fi
    if getent passwd {USER} >/dev/null && [ "$(id -u {USER})" -lt 1000 ]; then
        deluser --quiet --system {USER} 2>/dev/null || echo "{PACKAGE}: the account '{USER}' stays"
    fi
fi
exit 0
"""
