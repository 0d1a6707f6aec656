"""`edge repo` as people type it. When these fail, the documented way does not work."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.errors import EdgeError
from edge.fleet.updates.command import repo
from tests.fleet.updates.update_world import World, bundle_files


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run `edge repo ...` on the machine of the world, whose home trusts the builder."""
    monkeypatch.setenv("EDGE_HOME", str(world.folder / "home"))
    monkeypatch.chdir(world.folder)

    def run(*arguments: str | Path, fails: bool = False, **more: str) -> Result:
        result = CliRunner().invoke(repo, [str(item) for item in arguments], **more)  # type: ignore[arg-type]
        if fails:
            assert isinstance(result.exception, EdgeError | SystemExit), result.output
        else:
            assert result.exit_code == 0, (result.output, result.exception)
        return result

    return run


def test_whole_way(world: World, run) -> None:  # type: ignore[no-untyped-def]
    """init, add, sign, publish, status, copy, trust, check, withdraw, prune."""
    made = run("init", "fleet", "--timestamp-days", "90")
    root = world.folder / "fleet" / "published" / "metadata" / "1.root.json"
    assert made.stdout.strip() == str(root)
    assert "90 days" in made.stderr
    bundle = world.bundle("new", bundle_files(adapter_seed=7))
    assert "chunks" in run("add", "fleet", bundle, "--release", "r1").stdout
    status = run("status", "fleet").stdout
    assert "0 of 1" in status
    assert "staged" in status
    assert run("publish", "fleet", fails=True).exception is not None
    signed = run("sign", "fleet", "targets")
    assert "1 of 1" in signed.stdout
    assert re.search(
        r"targets version 2, .*\n.*version 1, .*published.*\n.*release r1 .*[0-9a-f]{64}  NEW", signed.stderr
    )
    assert "releases: r1" in run("publish", "fleet").stdout
    assert "published" in run("status", "fleet").stdout
    run("copy", "fleet", "stick")
    run("trust", root)
    checked = run("check", "stick")
    assert "r1" in checked.stdout
    assert "every byte is right" in checked.stderr
    run("check", "stick", "--root", root, "--quick")
    run("withdraw", "fleet", "r1")
    assert "to be withdrawn" in run("status", "fleet").stdout
    run("sign", "fleet", "targets")
    run("publish", "fleet", "--renew")
    run("publish", "fleet")
    assert not run("prune", "fleet").stdout.startswith("0 files")


def test_offline_root(world: World, run) -> None:  # type: ignore[no-untyped-def]
    """The documented rotation with keys on sticks, on a repository with encrypted keys."""
    secret = {"EDGE_REPO_PASSPHRASE": "correct horse"}
    run("init", "fleet", "--encrypt", env=secret)
    run("rotate", "fleet", "root", "--replace", "root-2", "--encrypt", env=secret)
    keys = world.folder / "fleet-keys"
    carried = world.folder / "carried.json"
    shutil.copy(world.folder / "fleet" / "staging" / "root.json", carried)
    before = carried.read_bytes()
    blind = run("sign", carried, "--key", keys / "root-1.pem", env=secret, fails=True)
    assert (blind.exit_code, len(blind.stderr.splitlines())) == (2, 1)
    assert carried.read_bytes() == before
    root = world.folder / "fleet" / "published" / "metadata" / "1.root.json"
    signed = run("sign", carried, "--key", keys / "root-1.pem", "--against", root, "--yes", env=secret)
    assert "1 signatures" in signed.stdout
    assert "root version 2, expires" in signed.stderr
    assert re.search(r"root-4  [0-9a-f]{64}  NEW", signed.stderr)
    assert re.search(r"root-2  [0-9a-f]{64}  GOES", signed.stderr)
    line = run("sign", "fleet", "root", "--from", carried).stdout
    assert "1 of 2 signatures (root-1)" in line
    assert "still open" in line
    run("sign", "fleet", "root", "--key", keys / "root-3.pem", env=secret)
    assert "root 2" in run("publish", "fleet", env=secret).stdout
    assert run("publish", "fleet", env={"EDGE_REPO_PASSPHRASE": "wrong one"}, fails=True)


def test_a_person_is_asked(world: World) -> None:
    """If not: whoever changed the stick has his root or his release signed by pressing return."""
    world.repo.rotate("root", world.keys, replace="root-2")
    carried = world.folder / "carried.json"
    shutil.copy(world.folder / "repo" / "staging" / "root.json", carried)
    before = carried.read_bytes()
    command = "from edge.fleet.updates.command import repo; repo()"
    words = [sys.executable, "-c", command, "sign", str(carried), "--key", str(world.keys / "root-1.pem")]
    home = world.folder / "none"
    for answer, status in ((b"\n", 6), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        try:
            os.write(ours, answer)
            done = subprocess.run(
                words,
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=60,
                env={**os.environ, "EDGE_HOME": str(home)},
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == status, done.stderr
        assert done.stderr.index("root version 2") < done.stderr.index("sign this?")
        assert "compared with nothing" in done.stderr
        assert (carried.read_bytes() == before) == (status != 0)


def test_usage(world: World, run) -> None:  # type: ignore[no-untyped-def]
    """Slips of the pen."""
    run("sign", "repo", fails=True)
    run("sign", world.folder / "repo" / "repo.json", fails=True)
    run("rotate", "repo", "nobody", fails=True)
    run("check", "nowhere", fails=True)
    run("check", "https://x.example", "--ca", "x", fails=True)
    run("init", "repo", fails=True)
    run("init", "other", "--timestamp-days", "0", fails=True)
    run("init", "other", "--encrypt", env={"EDGE_REPO_PASSPHRASE": "short"}, fails=True)
