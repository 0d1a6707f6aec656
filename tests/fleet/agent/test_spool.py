"""Reports as files. When these fail, a full disk or a full outbox loses a benchmark, or a kill doubles it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge.fleet.agent.outbox import OutboxLimits
from edge.fleet.agent.spool import MOST_FILES, Spool, is_report
from edge.fleet.wire.event import RESULT, TELEMETRY
from edge.fleet.wire.messages import InstallReport
from tests.fleet.agent.makers import Clock, make_outbox
from tests.fleet.wire.reports import make_report

REPORT = InstallReport(
    outcome="committed", reason="none", from_digest=None, to_digest="a" * 64, release="v1", slot="a", moved_bytes=1,
    kept_bytes=2, duration_s=3.0,
).to_bytes()  # fmt: skip


class Desk:
    """A spool and what it said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.folder = folder
        self.spool = Spool(
            folder, lambda _matter, line: self.said.append(line), self.clock.monotonic, is_result=lambda _path: True
        )

    def files(self) -> list[str]:
        return sorted(path.suffix for path in self.folder.iterdir())


def test_a_full_outbox_keeps_the_file(tmp_path: Path) -> None:
    """If not: a result that found no room is gone."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db", limits=OutboxLimits(rows=10))
    for _ in range(10):
        outbox.queue(RESULT, b"{}")
    desk.spool.put("result", b'{"version":1}')
    desk.spool.put("install", REPORT)
    assert desk.spool.empty_into(outbox) == []
    assert desk.files() == [".json", ".json"]
    assert "waits as a file" in desk.said[0]
    outbox.acknowledge(outbox.epoch, [1, 2, 3])
    assert desk.spool.empty_into(outbox) == [], "it is tried without a pause"
    desk.clock.forward(60)
    assert {kind for kind, _ in desk.spool.empty_into(outbox)} == {"result", "install"}
    assert desk.files() == []
    assert outbox.counts().last_seq == 12


def test_telemetry_makes_room_for_it(tmp_path: Path) -> None:
    """If not: battery readings keep a result out."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db", limits=OutboxLimits(rows=10))
    for _ in range(10):
        outbox.queue(TELEMETRY, b"{}")
    desk.spool.put("result", b'{"version":1}')
    assert desk.spool.empty_into(outbox) == [("result", 11)]


def test_a_kill_between_event_and_file(tmp_path: Path) -> None:
    """If not: a power cut at the wrong moment makes one benchmark count twice."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db")
    desk.spool.put("install", REPORT)
    (path,) = desk.folder.iterdir()
    assert desk.spool.empty_into(outbox) == [("install", 1)]
    path.write_bytes(REPORT)  # as if the file had not gone
    outbox.acknowledge(outbox.epoch, [1])
    outbox.close()
    outbox = make_outbox(tmp_path / "outbox.db")
    assert Desk(tmp_path / "results").spool.empty_into(outbox) == [("install", 1)]
    assert outbox.counts().rows == 0
    assert not list(desk.folder.iterdir())


@pytest.mark.parametrize(
    "data", [b"", b"{}", REPORT.replace(b'"none"', b'"a word"'), REPORT[:-1] + b',"note":"x"}', b"x" * 70_000]
)
def test_what_is_no_report_is_kept_and_said_once(tmp_path: Path, data: bytes) -> None:
    """If not: a file of another form is signed and sent, or tried for ever."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db")
    desk.folder.mkdir()
    (desk.folder / f"install-{hashlib.sha256(data).hexdigest()}.json").write_bytes(data)
    (desk.folder / "install-notes.json").write_bytes(REPORT)
    assert desk.spool.empty_into(outbox) == []
    desk.clock.forward(1e6)
    assert desk.spool.empty_into(outbox) == []
    assert len(desk.said) == 1
    assert desk.files() == [".json", ".kept"]
    assert outbox.counts().last_seq == 0


def test_junk_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """If not: behind 500 files that cannot be sent no result is ever seen again."""
    desk = Desk(tmp_path / "results")
    desk.folder.mkdir()
    for number in range(MOST_FILES):
        (desk.folder / f"{number}.kept").touch()
    desk.spool.put("install", REPORT)
    assert desk.spool.empty_into(make_outbox(tmp_path / "outbox.db")) == [("install", 1)]


@pytest.mark.parametrize("change", [(b"{", b'{"release":"Anna Muster, born 1950",'), (b"{", b"{ "), (b"3.0", b"3.00")])
def test_nothing_hides_between_the_fields(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    """If not: a key that stands twice is checked in its last form, and its first, any text, is signed and sent."""
    data = REPORT.replace(*change, 1)
    assert data != REPORT and InstallReport.from_bytes(data, "x").to_bytes() == REPORT
    desk = Desk(tmp_path / "results")
    desk.spool.put("install", data)
    outbox = make_outbox(tmp_path / "outbox.db")
    assert desk.spool.empty_into(outbox) == []
    assert (desk.files(), outbox.counts().last_seq) == ([".kept"], 0)
    good = make_report().to_bytes()
    for harmful in (good, good.replace(b"{", b'{"profile":"Anna Muster",', 1)):
        (tmp_path / "report").write_bytes(harmful)
        assert is_report(tmp_path / "report") == (harmful == good)


def test_too_large_for_this_broker(tmp_path: Path) -> None:
    """If not: a broker with a wrong limit makes a result a file that is never sent, or holds up the others."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db")
    outbox.most_bytes = 1000
    desk.spool.put("result", b"x" * 3000)
    desk.spool.put("install", REPORT)
    assert [kind for kind, _ in desk.spool.empty_into(outbox)] == ["install"]
    assert desk.files() == [".json"] and "this broker takes 1000" in desk.said[0]
    outbox.most_bytes = 60_000
    desk.clock.forward(60)
    assert [kind for kind, _ in desk.spool.empty_into(outbox)] == ["result"]


def test_a_file_that_was_changed(tmp_path: Path) -> None:
    """If not: half a file after a power cut is sent as a result."""
    desk = Desk(tmp_path / "results")
    outbox = make_outbox(tmp_path / "outbox.db")
    desk.spool.put("install", REPORT)
    (path,) = desk.folder.iterdir()
    path.write_bytes(REPORT[:50])
    assert desk.spool.empty_into(outbox) == []
    assert "changed on the disk" in desk.said[0]


def test_a_report_that_lies_there_is_renamed(tmp_path: Path) -> None:
    """If not: on a full disk the result that the child has written already is thrown away."""
    desk = Desk(tmp_path / "results")
    (tmp_path / "report.json").write_bytes(REPORT)
    number = (tmp_path / "report.json").stat().st_ino
    desk.spool.put("install", REPORT, tmp_path / "report.json")
    (path,) = desk.folder.iterdir()
    assert (path.stat().st_ino, path.read_bytes()) == (number, REPORT)
    desk.spool.put("install", REPORT, tmp_path / "report.json")
    desk.spool.put("result", b"{}", path)
    assert len(list(desk.folder.iterdir())) == 2, "another report was taken for this one"
