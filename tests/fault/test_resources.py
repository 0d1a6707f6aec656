"""No space, no memory, a read-only folder, a second build, a wrong clock, a reader that goes away.

When these fail, a machine that is full or half broken loses a bundle, or says nothing that helps.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from edge.errors import ExitStatus
from tests.e2e.world import REPO, WORKLOAD, Result, World, tree

RESOURCE = ExitStatus.RESOURCE


def mounts() -> tuple[str, ...]:
    """A command that starts another where mounting is allowed and seen by nobody else; () where there is none."""
    for options in (("unshare", "-m"), ("unshare", "-rm")):
        if shutil.which("unshare"):
            tried = subprocess.run([*options, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True)
            if tried.returncode == 0:
                return options
    return ()


MOUNTS = mounts()
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="this machine lets us mount nothing, not even with unshare -rm")


def on_disk(world: World, folder: str, options: str, *arguments: str, **more: object) -> tuple[Result, list[str]]:
    """Run a command with a file system of its own at `folder` (what lay there is put onto it); what lies there after.

    options: as mount -t tmpfs takes them; "ro" is set after the copying.
    """
    (world.root / folder).mkdir(exist_ok=True)
    script = f"""
        set -e; cp -a "{folder}" on-disk.before; mount -t tmpfs -o {options} none "{folder}"
        cp -a on-disk.before/. "{folder}"/; [ "$READ_ONLY" = 0 ] || mount -o remount,ro "{folder}"
        set +e; "$@"; status=$?; (cd "{folder}" && find . -type f) > on-disk.after; exit $status"""
    read_only = "0" if more.pop("writable", True) else "1"
    prefix = (*MOUNTS, "sh", "-c", script, "sh")
    said = world.edge(*arguments, prefix=prefix, env={"READ_ONLY": read_only, **more.pop("env", {})})  # type: ignore[dict-item]
    shutil.rmtree(world.root / "on-disk.before")
    return said, (world.root / "on-disk.after").read_text().split()


ALL_THE_SPACE = "import shutil\nshutil.disk_usage = lambda path: type('U', (), {'free': 1 << 50})()\n"


# ---- space -------------------------------------------------------------------------------------------------


def test_too_little_space_is_said_before_anything_is_written(world: World) -> None:
    """If not: a build computes for minutes and then fails."""
    before = tree(world.bundle)
    hook = world.sitecustomize("import shutil\nshutil.disk_usage = lambda path: type('U', (), {'free': 1000})()\n")
    world.build(env=hook).fails(RESOURCE, "no space left: the build needs", "free space and run")
    assert tree(world.bundle) == before
    assert world.litter() == []


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("left_kib", [8, 32, 128, 400])
def test_full_disk_in_the_middle_of_a_build(world: World, left_kib: int) -> None:
    """If not: whichever file the disk ends in, the old bundle is lost or half a new one stays."""
    used_kib = sum(-(-path.stat().st_size // 4096) * 4 for path in (world.root / "out").rglob("*"))
    world.profile(quantisation={"scheme": "int8"})
    before = {f"./{path.relative_to(world.root / 'out')}" for path in (world.root / "out").rglob("*") if path.is_file()}
    said, after = on_disk(
        world,
        "out",
        f"size={used_kib + left_kib}k",
        *("build", "profiles/tiny.yaml", "-o", "out/tiny"),
        env=world.sitecustomize(ALL_THE_SPACE),
    )
    said.fails(RESOURCE, "no space left")
    assert set(after) == before


@pytest.mark.parametrize("limit_kib", [4, 64, 300])
def test_a_file_that_may_not_grow(world: World, limit_kib: int) -> None:
    """If not: where a quota ends the writing, something half written stays. Needs no mounting."""
    world.profile(quantisation={"scheme": "int8"})
    before = tree(world.bundle)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_kib << 10, limit_kib << 10))

    world.build(before=limit).fails(RESOURCE, "File too large")
    assert tree(world.bundle) == before
    assert world.litter() == []


@needs_mounts
@pytest.mark.slow
def test_full_cache(world: World) -> None:
    """If not: a full cache leaves half a rounding or half a copy of a .tar, which the next run then trusts."""
    world.profile("gptq", quantisation={"rounding": "gptq", "calibration": {"text": "text", "tokens": 64}})
    said, after = on_disk(world, "cache", "size=64k", "build", "profiles/gptq.yaml", "-o", "out/gptq")
    said.fails(RESOURCE, "no space left")
    assert after == []
    assert not (world.root / "out" / "gptq").exists()
    world.edge("pack", "out/tiny", "tiny.tar").ok()
    said, after = on_disk(world, "cache", "size=64k", "run", "tiny.tar", "--task", "note", "visit.txt")
    said.fails(RESOURCE, "no space left", "EDGE_CACHE")
    assert [name for name in after if "prefixes" not in name] == []  # that of an earlier run
    said, after = on_disk(world, "tars", "size=64k", "pack", "out/tiny", "tars/tiny.tar")
    said.fails(RESOURCE, "no space left")
    assert after == []


# ---- memory ------------------------------------------------------------------------------------------------


def test_target_with_too_little_memory(world: World) -> None:
    """If not: a bundle is built that its device cannot load."""
    (world.root / "targets").unlink()
    (world.root / "targets").mkdir()
    target = yaml.safe_load((REPO / "targets" / "x86_64-linux.yaml").read_text())
    target |= {"name": "small", "memory_bytes": 100_000_000, "memory_reserved_bytes": 60_000_000}
    (world.root / "targets" / "small.yaml").write_text(yaml.safe_dump(target))
    config = json.loads((world.profiles / "model" / "config.json").read_text())
    world.profile(target="small", model={"architecture": config})
    before = tree(world.bundle)
    line = world.build().fails(RESOURCE, "No: needs")
    assert "choose a smaller model or context" in line
    assert tree(world.bundle) == before
    said = world.edge("plan", "profiles/tiny.yaml")
    assert said.status == RESOURCE
    assert "No: " in said.out


def test_no_memory_while_running(world: World) -> None:
    """If not: a device without memory shows a "bug in edge"."""
    hook = "import edge.runtime.text as text\ndef full(*_): raise MemoryError\ntext.ChatTokenizer.encode_chat = full\n"
    world.note(env=world.sitecustomize(hook)).fails(RESOURCE, "not enough memory")
    assert world.litter() == []


# ---- read-only ---------------------------------------------------------------------------------------------


def forbid(folder: Path) -> Callable[[], None]:
    """Make a folder unwritable, for root too where the file system can; returns how to undo it."""
    if os.geteuid() == 0:
        done = subprocess.run(["chattr", "+i", folder], check=False, capture_output=True)
        if done.returncode != 0:
            pytest.skip("root writes everywhere here, and chattr +i does not work")
        return lambda: subprocess.run(["chattr", "-i", folder], check=True) and None
    folder.chmod(0o555)
    return lambda: folder.chmod(0o755)


def test_read_only_output(world: World) -> None:
    """If not: a wrong output folder ends in a traceback, or after all the work."""
    before = tree(world.bundle)
    undo = forbid(world.root / "out")
    try:
        world.build().fails(RESOURCE, "cannot be written", "choose a folder that you may write to")
        world.edge("build", "profiles/tiny.yaml", "-o", "out/new/deep").fails(RESOURCE, "cannot be written")
        world.edge("pack", "out/tiny", "out/tiny.tar").fails(RESOURCE, "cannot be written")
    finally:
        undo()
    assert tree(world.bundle) == before
    assert world.litter() == []


def test_output_where_nobody_writes(world: World) -> None:
    """If not: as above; the kernel's own folder is read-only for root too, on every machine."""
    for place in ("/sys/tiny", "/sys/new/tiny"):
        world.edge("build", "profiles/tiny.yaml", "-o", place).fails(RESOURCE, "cannot be written", "/sys")
    world.edge("pack", "out/tiny", "/sys/tiny.tar").fails(RESOURCE, "cannot be written", "/sys/tiny.tar")
    home = {"EDGE_HOME": "/sys/edge"}
    world.build(env=home).fails(RESOURCE, "cannot be written", "/sys/edge")
    world.profile(quantisation={"rounding": "gptq", "calibration": {"text": "text", "tokens": 64}})
    world.build(env={"EDGE_CACHE": "/sys/edge"}).fails(RESOURCE, "cannot be written", "/sys/edge")
    assert world.litter() == []


def test_output_that_is_no_folder(world: World) -> None:
    """If not: somebody's file or folder is replaced by a bundle."""
    world.edge("build", "profiles/tiny.yaml", "-o", "visit.txt/tiny").fails(RESOURCE, "visit.txt")
    world.edge("build", "profiles/tiny.yaml", "-o", "visit.txt").fails(ExitStatus.BUNDLE, "visit.txt")
    world.edge("build", "profiles/tiny.yaml", "-o", "profiles").fails(ExitStatus.BUNDLE, "not empty and not a bundle")
    (world.bundle / "notes.txt").write_text("mine")
    world.build().fails(ExitStatus.BUNDLE, "'notes.txt'")
    assert (world.bundle / "notes.txt").read_text() == "mine"


@needs_mounts
@pytest.mark.slow
def test_read_only_bundle_runs(world: World) -> None:
    """If not: a bundle on a read-only system image cannot be used, or its verdict is lost in silence."""
    task = ("run", "out/tiny", "--task", "note", "visit.txt", "--max-new-tokens", "12")
    said, _ = on_disk(world, "out", "size=8m", *task, writable=False)
    assert said.status == 0
    assert said.out == world.note().out
    said, after = on_disk(world, "out", "size=8m", "verify", "out/tiny", "--workload", "work.yaml", writable=False)
    said.fails(RESOURCE, "attestations", "cannot be written")
    assert not [name for name in after if "attestations" in name]


def test_output_that_is_full_or_closed(built: World) -> None:
    """If not: `edge run | head` or a full disk behind `>` ends in a "bug in edge" or a traceback."""
    command, environment = built.command("run", "out/tiny", "--task", "note", "visit.txt"), built.environment()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, check=False, cwd=built.root, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    Result(done.returncode, "", done.stderr).fails(RESOURCE, "standard output: no space left")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, check=False, cwd=built.root, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert Result(done.returncode, "", done.stderr).errors == []
    assert done.returncode == 0


# ---- two at once -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_builds_at_once(world: World) -> None:
    """If not: two builds write into each other, or the second one waits without a word."""
    world.profile(quantisation={"scheme": "int8"})
    first = world.start("build", "profiles/tiny.yaml", "-o", "out/tiny")
    lock = world.root / "out" / ".tiny.lock"
    while not lock.exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)  # held while the second one starts
    try:
        world.build().fails(RESOURCE, "another run is writing this bundle")
        assert world.note().status == 0  # the old one can be used meanwhile
    finally:
        first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0
    assert world.edge("inspect", "out/tiny").ok().out.count("scheme int8") == 1
    assert world.litter() == []


@pytest.mark.slow
def test_a_second_build_replaces_the_first(world: World) -> None:
    """If not: building again in place fails, or mixes two bundles."""
    first = tree(world.bundle)
    inode = (world.bundle / "manifest.json").stat().st_ino
    world.build().ok()
    assert tree(world.bundle) == first
    world.profile(quantisation={"scheme": "int8"})
    world.build().ok()
    assert tree(world.bundle) != first
    assert (world.bundle / "manifest.json").stat().st_ino != inode
    world.note().ok()
    assert world.litter() == []


# ---- clock -------------------------------------------------------------------------------------------------

CLOCK = """
import datetime
class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(1970, 1, 2, tzinfo=tz)
datetime.datetime = Clock
"""


@pytest.mark.slow
def test_a_clock_in_the_past(world: World) -> None:
    """If not: a board without a battery signs a verdict of 1970, or cannot be verified at all."""
    hook = world.sitecustomize(CLOCK)
    said = world.verify(env=hook)
    assert said.status == 0
    assert [line for line in said.errors if line.startswith("clock: ")] == said.errors
    assert "before the release" in said.err
    (path,) = (world.bundle / "attestations").iterdir()
    attestation = json.loads(path.read_text())["attestation"]
    assert attestation["measured_at"] is None
    assert attestation["clock_trusted"] is False
    assert "device test" not in world.note(env=hook).err  # it counts all the same
    assert "unknown time" in world.edge("inspect", "out/tiny").ok().out
    digest = world.digest()
    world.build(env=hook).ok()  # no time is in a bundle
    assert world.digest() == digest


# ---- what ends when its parent does ------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_verify_leaves_no_process(world: World, number: int) -> None:
    """If not: the measuring process of a stopped verify goes on and keeps the device hot and slow."""
    (world.root / "long.yaml").write_text(yaml.safe_dump(WORKLOAD | {"sustained_s": 60.0, "window_s": 1.0}))
    parent = world.start("verify", "out/tiny", "--workload", "long.yaml")
    worker: list[int] = []
    while not worker:
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.02)
        worker = [pid for pid in children(parent.pid) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    time.sleep(0.3)
    parent.send_signal(number)
    _, err = parent.communicate(timeout=30)
    if number == signal.SIGINT:
        Result(parent.returncode, "", err).fails(ExitStatus.INTERRUPTED, "edge: stopped")
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker[0]}").exists()
    assert not (world.bundle / "attestations").exists()
