"""The outbox: what a device measured waits here. When these fail, results are lost, doubled or counted twice."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.errors import InputError, ResourceError
from edge.fleet.agent import outbox as outbox_of
from edge.fleet.agent import outbox_file
from edge.fleet.agent.outbox import ROW_BYTES, Outbox, OutboxLimits
from edge.fleet.agent.outbox_file import set_aside
from edge.fleet.wire.event import INSTALL, MAX_EVENT_BYTES, RESULT, TELEMETRY, verify_event
from tests.fleet.agent.makers import DEVICE, KEY, Clock, make_outbox

BODY = b'{"version":1}'


def keys(outbox: Outbox) -> list[int]:
    return [row.seq for row in outbox.waiting(100_000)]


def test_an_event_is_signed_and_comes_back_as_it_went(tmp_path: Path) -> None:
    """If not: the collector quarantines everything."""
    outbox = make_outbox(tmp_path / "outbox.db")
    seq = outbox.queue(RESULT, BODY)
    assert seq == 1
    event = outbox.event(outbox.epoch, seq)
    assert event is not None
    verify_event(event, KEY.raw_public)
    assert (event.device, event.seq, event.data, event.time) == (DEVICE, 1, BODY, "2026-11-22T12:00:00.000Z")
    assert outbox.event("00000000", 1) is None
    for pragma, value in (("synchronous", 2), ("journal_mode", "wal")):  # 2: FULL; no kill -9 shows the difference
        assert outbox._database.execute(f"PRAGMA {pragma}").fetchone() == (value,), "a power cut takes what was queued"


def test_results_go_before_telemetry_and_the_oldest_first(tmp_path: Path) -> None:
    """If not: a result waits behind a week of telemetry."""
    outbox = make_outbox(tmp_path / "outbox.db")
    for kind in (TELEMETRY, RESULT, TELEMETRY, INSTALL):
        outbox.queue(kind, BODY)
    assert keys(outbox) == [2, 4, 1, 3]


def test_only_the_collector_s_word_deletes(tmp_path: Path) -> None:
    """If not: an acknowledgement of another epoch, or of numbers never given, deletes what was not committed."""
    outbox = make_outbox(tmp_path / "outbox.db")
    for _ in range(3):
        outbox.queue(RESULT, BODY)
    assert outbox.acknowledge("0badc0de", [1, 2, 3]) == 0
    assert outbox.acknowledge(outbox.epoch, [2, 2, 99], [3]) == 2
    assert outbox.acknowledge(outbox.epoch, [2, 3]) == 0
    assert keys(outbox) == [1]
    assert outbox.counts().quarantined == 1
    assert outbox.queue(RESULT, BODY) == 4


@pytest.mark.parametrize("year", [1970, 2019, 2026, 2091])
def test_an_impossible_time_is_left_out(tmp_path: Path, year: int) -> None:
    """If not: a tablet without a clock's battery signs that it measured in 1970."""
    outbox = make_outbox(tmp_path / "outbox.db", clock=Clock(datetime(year, 11, 22, tzinfo=UTC)))
    outbox.queue(RESULT, BODY)
    event = outbox.event(outbox.epoch, 1)
    assert event is not None
    assert (event.time is None) == (year != 2026)


def test_a_full_outbox_drops_the_oldest_telemetry_and_no_result(tmp_path: Path) -> None:
    """If not: a clinic offline for a month loses its benchmarks to battery readings."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path, limits=OutboxLimits(rows=4))
    for _ in range(3):
        outbox.queue(TELEMETRY, BODY)
    outbox.queue(RESULT, BODY)
    assert outbox.queue(TELEMETRY, BODY) == 5  # 1 gave way
    assert outbox.queue(RESULT, BODY) == 6  # 2 gave way
    assert keys(outbox) == [4, 6, 3, 5]
    outbox.queue(INSTALL, BODY)
    outbox.queue(RESULT, BODY)
    assert outbox.queue(TELEMETRY, BODY) is None
    with pytest.raises(ResourceError, match="the outbox is full"):
        outbox.queue(RESULT, BODY)
    assert keys(outbox) == [4, 6, 7, 8]
    assert outbox.counts().dropped == 5
    outbox.acknowledge(outbox.epoch, [4])
    assert outbox.queue(RESULT, BODY) == 9, "a number was lost or used again"


def test_the_limit_in_bytes(tmp_path: Path) -> None:
    """If not: the outbox fills the tablet's disk."""
    outbox = make_outbox(tmp_path / "outbox.db", limits=OutboxLimits(bytes=3 * (ROW_BYTES + 100)))
    for _ in range(3):
        outbox.queue(TELEMETRY, b"x" * 100)
    outbox.queue(RESULT, b"x" * 150)
    assert keys(outbox) == [4, 3]
    with pytest.raises(ResourceError):
        outbox.queue(RESULT, b"x" * 2000)
    assert keys(outbox) == [4, 3], "telemetry was dropped for a result that does not fit anyway"


def test_an_oversize_event_never_enters(tmp_path: Path) -> None:
    """If not: one event too large for the broker ends the connection for ever."""
    outbox = make_outbox(tmp_path / "outbox.db")
    with pytest.raises(InputError, match="larger than"):
        outbox.queue(RESULT, b"x" * (MAX_EVENT_BYTES + 1))
    with pytest.raises(InputError, match="type"):
        outbox.queue("org.edge-kit.diary.v1", BODY)
    assert outbox.queue(RESULT, BODY) == 1


def test_put_aside(tmp_path: Path) -> None:
    """If not: what can never be sent is sent again and again, or is gone."""
    outbox = make_outbox(tmp_path / "outbox.db")
    outbox.queue(RESULT, BODY)
    outbox.queue(RESULT, BODY)
    outbox.put_aside(outbox.epoch, 1, "oversize")
    assert keys(outbox) == [2]
    assert (outbox.counts().rows, outbox.counts().aside) == (2, 1)
    assert outbox.take_back("damaged") == 0
    assert outbox.take_back("oversize") == 1
    assert keys(outbox) == [1, 2]


def test_one_owner(tmp_path: Path) -> None:
    """If not: two agents, or two threads, give out one number twice."""
    outbox = make_outbox(tmp_path / "outbox.db")
    with pytest.raises(ResourceError, match="another agent"):
        make_outbox(tmp_path / "outbox.db")
    raised: list[BaseException] = []

    def other() -> None:
        try:
            outbox.queue(RESULT, BODY)
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert raised
    outbox.close()
    make_outbox(tmp_path / "outbox.db").close()


def test_another_device_or_a_newer_edge(tmp_path: Path) -> None:
    """If not: events go out under a name that did not sign them, or a newer file is taken for a broken one."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path)
    outbox.queue(RESULT, BODY)
    outbox.close()
    with pytest.raises(ResourceError, match="another name"):
        make_outbox(path, device="tablet-08")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE head SET version = 2")
    with pytest.raises(ResourceError, match="newer edge"):
        make_outbox(path)
    assert not list(tmp_path.glob("*broken*"))


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(512))


def _a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 4096 * 3)
        file.write(bytes(4096))


def _no_database(path: Path) -> None:
    path.write_bytes(b"hello" * 1000)


def _no_tables(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE head")


@pytest.mark.parametrize("harm", [_half, _first_page, _a_page, _no_database, _no_tables])
def test_a_broken_file_is_set_aside(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """If not: a bad block ends the agent at every start, or numbers of the old epoch are used again."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path)
    old = outbox.epoch
    for _ in range(200):
        outbox.queue(RESULT, b"x" * 300)
    outbox.close()
    harm(path)
    said: list[str] = []
    outbox = make_outbox(path, say=said.append)
    assert len(said) == 1
    assert "set aside as outbox.db.broken-1" in said[0]
    assert outbox.epoch != old
    assert outbox.queue(RESULT, BODY) == 1
    saved = [row for row in outbox.waiting(1000) if row.epoch == old]
    assert len({row.seq for row in saved}) == len(saved)
    for row in saved:
        event = outbox.event(*row.key)
        assert event is not None
        verify_event(event, KEY.raw_public)
    if harm in (_a_page, _no_tables):
        assert len(saved) >= 150, "what could still be read was thrown away"
    assert outbox.acknowledge(old, [row.seq for row in saved]) == len(saved)
    outbox.close()
    assert make_outbox(path).epoch == outbox.epoch
    assert list(tmp_path.glob("outbox.db.broken-*"))


def test_the_newest_broken_files_are_kept(tmp_path: Path) -> None:
    """If not: the file to send us is thrown away in place of an older one, or they fill the disk."""
    path = tmp_path / "outbox.db"
    for number in range(7):
        path.write_text(str(number))
        set_aside(path)
    kept = sorted(tmp_path.glob("outbox.db.broken-*"))
    assert [(one.name[-1], one.read_text()) for one in kept] == [("5", "4"), ("6", "5"), ("7", "6")]


def test_broken_and_no_room_to_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: an outbox that broke while the disk was full stays shut until somebody starts the agent again."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path)
    for _ in range(400):
        outbox.queue(RESULT, b"x" * 4000)
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    def full(*_: object) -> None:
        raise ResourceError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(outbox_of, "open_file", full)
        for _ in range(4):
            with pytest.raises(ResourceError):
                outbox.acknowledge(outbox.epoch, list(range(1, 400)))
                outbox.waiting(1000)
    with contextlib.suppress(ResourceError):  # the first call finds it closed and begins it anew
        outbox.queue(RESULT, BODY)
    assert outbox.queue(RESULT, BODY) is not None


def test_killed_while_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    """If not: a power cut at the wrong moment loses what was saved from a broken file."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path)
    for _ in range(50):
        outbox.queue(RESULT, b"x" * 300)
    old = outbox.epoch
    outbox.close()
    _no_tables(path)
    child = os.fork()
    if child == 0:

        def aside_and_die(broken: Path) -> Path:
            set_aside(broken)
            os.kill(os.getpid(), signal.SIGKILL)
            return broken

        outbox_file.set_aside = aside_and_die
        make_outbox(path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert not path.exists()
    outbox = make_outbox(path)
    assert [row.key for row in outbox.waiting(100)] == [(old, seq) for seq in range(1, 51)]
    assert outbox.epoch != old


def test_a_flipped_bit_in_a_row(tmp_path: Path) -> None:
    """If not: a damaged result is sent and shows as a forgery, or stops all that waits behind it."""
    path = tmp_path / "outbox.db"
    outbox = make_outbox(path)
    for letter in b"abc":
        outbox.queue(RESULT, bytes([letter]) * 50)
    outbox.close()
    data = path.read_bytes()
    assert data.count(b"b" * 50) == 1
    path.write_bytes(data.replace(b"b" * 50, b"b" * 49 + b"B"))
    said: list[str] = []
    outbox = make_outbox(path, say=said.append)
    assert outbox.event(outbox.epoch, 2) is None
    assert len(said) == 1
    assert keys(outbox) == [1, 3]


def test_broken_while_it_is_open(tmp_path: Path) -> None:
    """If not: an agent that runs for months dies at the first bad block."""
    path = tmp_path / "outbox.db"
    said: list[str] = []
    outbox = make_outbox(path, say=said.append)
    for _ in range(400):
        outbox.queue(RESULT, b"x" * 4000)
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(ResourceError, match="broken"):
        for _ in range(3):
            outbox.acknowledge(outbox.epoch, list(range(1, 400)))
            outbox.waiting(1000)
    assert said
    assert outbox.queue(RESULT, BODY) is not None


# kill -9

POINTS = ("begun", "written", "committed")


def _child(path: Path, pipe: int, point: str, at: int) -> None:
    """Queue and acknowledge; killed at the `at`-th time that `point` is reached. Tells what returned."""
    seen = 0

    def step(name: str) -> None:
        nonlocal seen
        seen += name == point
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    outbox = make_outbox(path, step=step)
    for number in range(6):
        seq = outbox.queue(RESULT if number % 2 else TELEMETRY, BODY)
        os.write(pipe, f"+{seq}\n".encode())
        if number % 3 == 2 and seq is not None:
            os.write(pipe, f"?{seq - 1}\n".encode())
            outbox.acknowledge(outbox.epoch, [seq - 1])
            os.write(pipe, f"-{seq - 1}\n".encode())
    os._exit(0)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_commit_point(tmp_path: Path, point: str) -> None:
    """If not: a power cut loses an event that was queued, or gives its number to another."""
    path = tmp_path / "outbox.db"
    highest, epoch = 0, None
    stored: set[int] = set()
    for at in range(1, 10):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _child(path, write, point, at)
            finally:
                os._exit(1)
        os.close(write)
        with os.fdopen(read, "rb") as told:
            lines = told.read().decode().split()
        _, status = os.waitpid(child, 0)
        queued = {int(line[1:]) for line in lines if line.startswith("+")}
        asked = {int(line[1:]) for line in lines if line.startswith("?")}
        deleted = {int(line[1:]) for line in lines if line.startswith("-")}
        assert os.WIFSIGNALED(status) == (at <= 8), f"the kill at {point} {at} did not strike"
        assert not queued & stored, "a number was given twice"
        assert all(number > highest for number in queued)
        outbox = make_outbox(path)
        assert epoch in (None, outbox.epoch)
        epoch = outbox.epoch
        found = set(keys(outbox))
        must, may = (stored | queued) - asked, asked - deleted
        assert must <= found
        assert not deleted & found
        extra = found - must - may
        assert len(extra) <= 1, "more is there than was queued"
        assert all(number > max(queued | {highest}) for number in extra)
        stored, highest = found, outbox.counts().last_seq
        outbox.close()
    assert highest > 20


# A full disk


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="edge-small-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk(small_disk: Path) -> None:
    """If not: a full disk loses a result, breaks the file, or can never be left again."""
    outbox = make_outbox(small_disk / "outbox.db")
    queued: list[int] = []
    with pytest.raises(ResourceError, match="no space left for the outbox"):
        while True:
            queued.append(outbox.queue(RESULT, os.urandom(3000)) or 0)
    (small_disk / "filler").write_bytes(b"")
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(1 << 20))
    with pytest.raises(ResourceError):
        outbox.queue(RESULT, os.urandom(30000))
    assert len(queued) > 20
    assert keys(outbox) == queued, "what was queued is not there"
    assert outbox.acknowledge(outbox.epoch, queued[:-5]) == len(queued) - 5, "a full disk stops the way out of it"
    seq = outbox.queue(RESULT, b"x" * 100)
    assert seq == queued[-1] + 1
    outbox.close()
    again = make_outbox(small_disk / "outbox.db")
    assert keys(again) == [*queued[-5:], seq]


def test_a_limit_of_file_size(tmp_path: Path) -> None:
    """If not: where a disk's quota ends, the agent dies or its file breaks. (In a process of its own.)"""
    path = tmp_path / "outbox.db"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            outbox = make_outbox(path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            count = 0
            try:
                while True:
                    outbox.queue(RESULT, bytes(3000))
                    count += 1
            except ResourceError:
                code = 0 if len(keys(outbox)) == count > 5 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(keys(make_outbox(path))) > 5


def test_ten_thousand_rows(tmp_path: Path) -> None:
    """If not: a device that was offline for months takes minutes for each send."""
    outbox = make_outbox(tmp_path / "outbox.db")
    outbox._database.execute("PRAGMA synchronous=OFF")
    for number in range(10_000):
        outbox.queue(TELEMETRY if number % 10 else RESULT, BODY)
    calls = []
    outbox._database.set_trace_callback(calls.append)
    outbox._database.set_progress_handler(lambda: calls.append("work") or 0, 1000)
    assert len(outbox.waiting(32)) == 32
    assert len(calls) < 5, "the rows are sorted anew at each look"


# The law


class Queue(RuleBasedStateMachine):
    """An outbox against a list."""

    @initialize(rows=st.integers(1, 8), limit=st.integers(1, 9))
    def begin(self, rows: int, limit: int) -> None:
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108
        self.path = Path(self.folder.name) / "outbox.db"
        self.limits = OutboxLimits(rows=rows, bytes=limit * ROW_BYTES)
        self.outbox = make_outbox(self.path, limits=self.limits)
        self.epoch = self.outbox.epoch
        self.model: list[tuple[int, str, int]] = []
        self.last = self.dropped = 0

    def _fits(self, rows: list[tuple[int, str, int]], size: int) -> bool:
        return len(rows) < self.limits.rows and sum(one[2] for one in rows) + size <= self.limits.bytes

    @rule(kind=st.sampled_from([RESULT, INSTALL, TELEMETRY]), length=st.integers(0, 1000))
    def queue(self, kind: str, length: int) -> None:
        size, rest, gone = length + ROW_BYTES, list(self.model), 0
        while not self._fits(rest, size) and any(one[1] == TELEMETRY for one in rest):
            rest.remove(next(one for one in rest if one[1] == TELEMETRY))
            gone += 1
        if self._fits(rest, size):
            assert self.outbox.queue(kind, bytes(length)) == self.last + 1
            self.last, self.dropped = self.last + 1, self.dropped + gone
            self.model = [*rest, (self.last, kind, size)]
        elif kind == TELEMETRY:
            assert self.outbox.queue(kind, bytes(length)) is None
            self.dropped += 1
        else:
            with pytest.raises(ResourceError):
                self.outbox.queue(kind, bytes(length))

    @rule(accepted=st.lists(st.integers(1, 30), max_size=5), bad=st.lists(st.integers(1, 30), max_size=2))
    def acknowledge(self, accepted: list[int], bad: list[int]) -> None:
        gone = self.outbox.acknowledge(self.epoch, accepted, bad)
        left = [one for one in self.model if one[0] not in {*accepted, *bad}]
        assert gone == len(self.model) - len(left)
        self.model = left

    @rule(clean=st.booleans())
    def start_again(self, clean: bool) -> None:
        if clean:
            self.outbox.close()
        else:  # as a kill leaves it: nothing is closed or checkpointed
            copy = Path(self.folder.name) / f"copy-{os.urandom(3).hex()}"
            copy.mkdir()
            for name in self.path.parent.glob("outbox.db*"):
                if not name.name.endswith(("-shm", ".lock")):
                    shutil.copy(name, copy / name.name)
            self.outbox.close()
            self.path = copy / "outbox.db"
        self.outbox = make_outbox(self.path, limits=self.limits)

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "outbox"):
            return
        order = sorted(self.model, key=lambda one: (one[1] == TELEMETRY, one[0]))
        assert keys(self.outbox) == [one[0] for one in order]
        counts = self.outbox.counts()
        assert (counts.rows, counts.bytes) == (len(self.model), sum(one[2] for one in self.model))
        assert (counts.dropped, counts.last_seq, self.outbox.epoch) == (self.dropped, self.last, self.epoch)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            self.folder.cleanup()


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
