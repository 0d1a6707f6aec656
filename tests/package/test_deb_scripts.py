"""The shell scripts of the package, run as far as that needs no root. test_deb_root.py runs them whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.package import deb_scripts
from edge.package.deb_scripts import Device

HERE = sys.version_info[:2]
DEVICE = Device((3, 11), ("notes-1", "d-2"), ("a.service", "b.service"), ("a.service",), screen=True)
SCRIPTS = {
    "preinst": deb_scripts.preinst(), "postinst": deb_scripts.postinst(DEVICE), "prerm": deb_scripts.prerm(DEVICE),
    "postrm": deb_scripts.postrm(DEVICE), "launcher": deb_scripts.launcher(DEVICE),
    "verify-new": deb_scripts.verify_new(),
}  # fmt: skip


def run(text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script with a bare environment."""
    env = {"PATH": os.environ["PATH"]} | environment
    return subprocess.run(["sh", "-c", text, "sh", *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_shell_reads_it(name: str) -> None:
    """If not: dpkg stops half-way on a board whose /bin/sh is dash."""
    shells = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
    for shell in shells:
        command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
        done = subprocess.run(command, input=SCRIPTS[name], text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), shell
    assert shells and SCRIPTS[name].startswith("#!/bin/sh\n")
    assert "{" not in SCRIPTS[name].replace("{}", "").replace("${", "").replace("() {", ""), "a hole was not filled"


def launcher(tmp_path: Path) -> str:
    """The launcher for this Python and a package `edge` in tmp_path that says how it was started."""
    device = Device((HERE[0], HERE[1]), (), (), (), screen=False)
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("")
    (tmp_path / "edge" / "cli.py").write_text(
        "import os, sys\n"
        "home, path = os.environ.get('EDGE_HOME'), os.environ['PYTHONPATH']\n"
        "print(sys.argv[1:], sys.path[0], os.getcwd() in sys.path, home, path)\n"
    )
    text = deb_scripts.launcher(device)
    return text.replace(device.interpreter, sys.executable).replace(str(deb_scripts.SITE), str(tmp_path))


def test_the_launcher_s_own_path(tmp_path: Path) -> None:
    """If not: a folder called edge where somebody stands, or a package of the system, runs instead of ours."""
    text = launcher(tmp_path)
    trap = tmp_path / "trap"
    (trap / "edge").mkdir(parents=True)
    (trap / "edge" / "__init__.py").write_text("raise SystemExit('the trap ran')")
    done = subprocess.run(
        ["sh", "-c", text, "sh", "run", "a b", "$HOME"], cwd=trap, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(trap), "EDGE_HOME": "/x"},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == f"['run', 'a b', '$HOME'] {tmp_path} False /x {tmp_path}\n"
    assert not list(tmp_path.rglob("__pycache__")), "root's folder would get files of whoever runs it"


def test_the_home_of_the_app_s_user(tmp_path: Path) -> None:
    """If not: `sudo -u edge edge verify` looks for keys elsewhere than the app does, and trusts nobody."""
    text = launcher(tmp_path)
    assert run(text, "keys").stdout.split()[-2] == "None"
    who = tmp_path / "bin"
    who.mkdir()
    (who / "id").write_text("#!/bin/sh\necho edge\n")
    (who / "id").chmod(0o755)
    assert run(text, "keys", PATH=f"{who}:{os.environ['PATH']}").stdout.split()[-2] == "/var/lib/edge"


@pytest.mark.parametrize("command", deb_scripts.BUILD_COMMANDS)
def test_commands_that_are_not_on_a_device(command: str) -> None:
    """If not: `edge build` on a board is called a bug."""
    done = run(deb_scripts.launcher(DEVICE), command, "x")
    assert done.returncode == 10
    assert done.stderr.splitlines() == [
        f"edge: '{command}' needs the build tools, which are not on this device. Run it on the build host."
    ]


def test_verify_new(tmp_path: Path) -> None:
    """If not: a bundle is tested at each boot, or never, or one that fails keeps the next from its test."""
    for name, results in (("done-1", 1), ("bad-2", 0), ("fresh-3", 0), ("gone-4", 0)):
        (tmp_path / "bundles" / name / "attestations").mkdir(parents=True)
        if name != "gone-4":
            (tmp_path / "bundles" / name / "manifest.json").write_text("{}")
        for number in range(results):
            (tmp_path / "bundles" / name / "attestations" / f"{number}.json").write_text("{}")
    edge = tmp_path / "edge"
    edge.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\ncase "$2" in *bad*) exit 8 ;; esac\n')
    edge.chmod(0o755)
    text = deb_scripts.verify_new().replace("/usr/bin/edge", str(edge)).replace(str(deb_scripts.KIT), str(tmp_path))
    assert run(text).returncode == 8
    told = (tmp_path / "told").read_text().splitlines()
    assert told == [f"verify {tmp_path}/bundles/bad-2", f"verify {tmp_path}/bundles/fresh-3"]


def test_an_install_that_was_cut_short_is_ended_first(tmp_path: Path) -> None:
    """If not: the app opens a build that was switched to and never tested; or a board without slots fails at boot."""
    home, kit = tmp_path / "home", tmp_path / "kit"
    (kit / "bundles" / "fresh-1" / "attestations").mkdir(parents=True)
    (kit / "bundles" / "fresh-1" / "manifest.json").write_text("{}")
    edge = tmp_path / "edge"
    edge.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\ncase "$1" in install) exit 8 ;; esac\n')
    edge.chmod(0o755)
    text = deb_scripts.verify_new().replace("/usr/bin/edge", str(edge))
    text = text.replace(str(deb_scripts.KIT), str(kit)).replace(str(deb_scripts.HOME), str(home))
    assert run(text).returncode == 0
    (home / "slots").mkdir(parents=True)
    assert run(text).returncode == 8
    verify = f"verify {kit}/bundles/fresh-1"
    assert (tmp_path / "told").read_text().splitlines() == [verify, f"install resume --slots {home}/slots", verify]


@pytest.mark.parametrize("where", [".", "bedside"])
@pytest.mark.parametrize(("held", "status"), [(False, 0), (True, 1)])
def test_an_open_visit_holds_the_installer_off(tmp_path: Path, held: bool, status: int, where: str) -> None:
    """If not: an upgrade exchanges the model in the middle of a visit, also one of the app of the package before, which
    holds its lock beside the visits."""
    import fcntl

    lock = tmp_path / where / "encounter-open.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    text = deb_scripts.preinst().replace("/var/lib/edge", str(tmp_path)).replace("/run/", f"{tmp_path}/run/")
    with lock.open() as file:
        if held:
            fcntl.flock(file, fcntl.LOCK_SH)
        done = run(text, "upgrade", "1.0")
        assert done.returncode == status
        assert ("a visit is open" in done.stderr) == held
        assert run(text, "install").returncode == 0, "a first installation has no visit"
    lock.unlink()
    assert run(text, "upgrade", "1.0").returncode == 0
