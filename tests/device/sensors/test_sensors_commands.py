"""Commands on a device at work: cut off when they hang, rested when they fail, never more than one a second."""

import itertools
import sys
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sensor_boards import Clock, Programs

from edge.device.sensors import Commands, adb_runner, run_local
from edge.device.sensors.commands import FORGOTTEN_S, MOST_BYTES, REST_S, Command

ROUNDING_S = 1e-6


def test_a_real_program() -> None:
    """If it fails, vcgencmd's answer does not arrive."""
    assert run_local([sys.executable, "-c", "print('temp=48.3')"]) == "temp=48.3\n"
    assert run_local([sys.executable, "-c", "raise SystemExit(3)"]) is None
    assert run_local(["no-such-program-anywhere"]) is None
    assert run_local(["a\0b"]) is None


def test_bytes_that_are_no_text() -> None:
    """If it fails, a program that writes binary ends the sampler."""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    assert run_local([sys.executable, "-c", code]) is not None


def test_a_program_that_hangs_is_cut_off_with_its_children(tmp_path: Path) -> None:
    """If it fails, a hanging vcgencmd stops the sampler, or stays behind with what it started."""
    program = tmp_path / "hang"
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\nwait\n")
    program.chmod(0o755)
    start_s = time.monotonic()
    assert run_local([str(program)]) is None
    assert 1.5 < time.monotonic() - start_s < 10
    child = (tmp_path / "child").read_text().strip()
    deadline_s = time.monotonic() + 5
    while Path(f"/proc/{child}/exe").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}/exe").exists()


def test_a_program_that_writes_without_end(tmp_path: Path) -> None:
    """If it fails, a broken program fills the memory that the model needs."""
    start_s = time.monotonic()
    assert (
        run_local(["sh", "-c", "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"]) is None
    )
    assert run_local(["head", "-c", str(MOST_BYTES + (1 << 17)), "/dev/zero"]) is None
    assert run_local(["head", "-c", str(MOST_BYTES), "/dev/zero"]) == "\0" * MOST_BYTES
    assert time.monotonic() - start_s < 10


def test_through_a_program_like_adb(tmp_path: Path) -> None:
    """If it fails, what the device's own shell makes of a command is another than what was meant."""
    for name, body in (("adb", f'PATH={tmp_path}:$PATH; shift 3; exec sh -c "$*"'), ("dumpsys", 'echo "$# $2"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    run = adb_runner("S1", lambda argv: run_local([str(tmp_path / "adb"), *argv[1:]]))
    assert run(["dumpsys", "battery"]) == "1 \n"
    assert run(["dumpsys", "meminfo", "a b; exit 7"]) == "2 a b; exit 7\n"
    assert run(["no-such-program-anywhere"]) is None


def test_a_command_that_failed_rests() -> None:
    """If it fails, a command that hangs for 2 s is tried again and again while a model writes."""
    clock = Clock()

    def hang() -> None:
        clock.now_s += 2.0

    programs = Programs({"x": hang}, clock)
    commands, command = Commands(programs, clock), Command(("x",), every_s=1.0)
    assert commands.text(command) is None
    began_s = clock.now_s
    while clock.now_s < began_s + REST_S:
        assert commands.text(command) is None
        assert len(programs.started) == 1
        clock.now_s += 0.5
    programs.answers["x"] = "back"
    assert commands.text(command) == "back"


def test_without_a_runner_nothing_runs() -> None:
    """If it fails, a fake tree asks this machine's programs."""
    commands = Commands(None)
    assert commands.probe(["x"]) is None
    assert commands.text(Command(("x",), 1.0)) is None


@given(
    st.lists(st.floats(0.5, 6.0), min_size=1, max_size=4),
    st.lists(st.floats(0.05, 1.5), min_size=10, max_size=60),
    st.sets(st.integers(0, 3)),
)
def test_at_most_one_a_second_and_everyone_has_a_turn(
    every_s: list[float], pauses_s: list[float], fail: set[int]
) -> None:
    """If it fails, sensors take the processor from the model, or one of them is never asked."""
    clock = Clock()
    programs = Programs({str(index): None if index in fail else "ok" for index in range(len(every_s))}, clock)
    commands = Commands(programs, clock)
    all_of_them = [Command((str(index),), every) for index, every in enumerate(every_s)]
    for pause_s in pauses_s:
        clock.now_s += pause_s
        for command in all_of_them:
            commands.text(command)
    starts = [at_s for at_s, _ in programs.started]
    assert all(later - earlier > 1.0 - ROUNDING_S for earlier, later in itertools.pairwise(starts))
    for index, command in enumerate(all_of_them):
        mine = [at_s for at_s, name in programs.started if name == command.argv[0]]
        least_s = REST_S if index in fail else every_s[index]
        assert all(later - earlier > least_s - ROUNDING_S for earlier, later in itertools.pairwise(mine))
    if sum(pauses_s) > 2.5 * (len(every_s) + 1):
        assert {name for _, name in programs.started} == set(programs.answers)


def test_one_that_is_not_asked_for_any_more_blocks_nobody() -> None:
    """If it fails, a sensor that only the device screen reads stops the others for ever."""
    clock = Clock()
    programs = Programs({"a": "ok", "b": "ok"}, clock)
    commands, first, second = Commands(programs, clock), Command(("a",), 1.0), Command(("b",), 1.0)
    assert commands.text(first) == "ok"
    assert commands.text(second) is None  # waits for its turn, and is then forgotten
    clock.now_s += 1.0
    assert commands.text(first) is None
    clock.now_s += FORGOTTEN_S + 0.1
    assert commands.text(first) == "ok"


def test_adb_quotes_for_the_devices_shell() -> None:
    """If it fails, a name with a blank or a semicolon is run on the tablet."""
    seen: list[list[str]] = []
    adb_runner("S1", lambda argv: seen.append(list(argv)) or "")(["dumpsys", "meminfo", "a; reboot"])  # type: ignore[func-returns-value]
    assert seen == [["adb", "-s", "S1", "shell", "dumpsys meminfo 'a; reboot'"]]
