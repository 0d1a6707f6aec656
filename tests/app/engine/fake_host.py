"""An engine's process that misbehaves on purpose: `fake_host.py MODE [--socket PATH]`. It speaks the real protocol.

A run is answered by what MODE says; every mode loads first and answers an ordinary run with three pieces and a result.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from edge.app.engine.host_link import Doorway, Link, take_stdio
from edge.app.engine.messages import (
    Cancel,
    Close,
    DraftNote,
    LineDrafted,
    Loading,
    Piece,
    ProtocolError,
    Reading,
    Ready,
    Refused,
    Result,
    Started,
)
from edge.app.engine.scripted import FACTS

SECRET = "Mrs Rosalind Example has 52 mmHg"


def raw(link: Link, data: bytes) -> None:
    """Bytes that are no message."""
    link._sink.write(data)
    link._sink.flush()


def stopped(run: DraftNote) -> Result:
    return Result(run.run_id, run.encounter_id, "note", {}, cancelled=True)


def answer(link: Link, run: DraftNote, mode: str, cancelled: threading.Event) -> None:
    """One run."""
    link.send(Started(run.run_id, run.encounter_id, "note", 1))
    link.send(Reading(run.run_id, 1, 1))
    if mode == "segfault":
        link.send(Piece(run.run_id, "HPI: "))
        os.kill(os.getpid(), signal.SIGSEGV)
    elif mode == "garbage":
        raw(link, f'{{"v": 1, "type": "Piece", "{SECRET}": 1}}\n'.encode())
        time.sleep(60)
    elif mode == "not-json":
        raw(link, SECRET.encode() + b"\n")
        time.sleep(60)
    elif mode == "oversize":
        raw(link, b"x" * (5 << 20))
        time.sleep(60)
    elif mode == "cut":
        raw(link, b'{"v": 1, "type": "Pie')
        os._exit(3)
    elif mode == "exit":
        os._exit(7)
    elif mode in ("hang", "stubborn"):
        link.send(Piece(run.run_id, "HPI: "))
        while mode == "hang":
            time.sleep(60)
        cancelled.wait()
        link.send(Piece(run.run_id, "more"))  # after the cancel: must not be seen
        link.send(Result(run.run_id, run.encounter_id, "note", {"late": True}))
        return
    elif mode == "flood":
        for number in range(20_000):
            link.send(Piece(run.run_id, f"{number} "))
    elif mode == "lines":
        for number in range(12_000):
            link.send(LineDrafted(run.run_id, {"number": number}))
    elif mode == "stale":
        link.send(Piece("another-run", "x"))
        link.send(Result(run.run_id, "another-encounter", "note", {"wrong": True}))
        link.send(Result("another-run", run.encounter_id, "note", {"wrong": True}))
    elif mode == "slow":
        for _ in range(2000):
            if cancelled.wait(0.005):
                link.send(stopped(run))
                return
            link.send(Piece(run.run_id, "word "))
    for text in ("HPI: ", "A ", "cough."):
        link.send(Piece(run.run_id, text))
    link.send(Result(run.run_id, run.encounter_id, "note", {"text": run.text}))


def serve(link: Link, mode: str) -> None:
    """Until the end of the line."""
    if mode == "refuse":
        link.send(Loading(0.0))
        link.send(Refused("low_memory", "not enough free memory", 1, 2))
        os._exit(5)
    if mode == "loading":
        link.send(Loading(0.1, 12.0))
        for message in link.messages():
            if isinstance(message, Close):
                os._exit(0)
        return
    link.send(Loading(0.5, 1.0))
    link.send(Ready(FACTS))
    while mode == "unread":
        time.sleep(60)
    stops: dict[str, threading.Event] = {}
    for message in link.messages():
        if isinstance(message, Close):
            if mode == "deaf":
                continue
            os._exit(0)
        elif isinstance(message, Cancel):
            stops.setdefault(message.run_id, threading.Event()).set()
        elif isinstance(message, DraftNote):
            stop = stops.setdefault(message.run_id, threading.Event())
            threading.Thread(target=answer, args=(link, message, mode, stop), daemon=True).start()


def main() -> None:
    mode = sys.argv[1]
    if len(sys.argv) > 3:
        doorway = Doorway(Path(sys.argv[3]))
        for link, connection in doorway.clients():
            try:
                serve(link, mode)
            except ProtocolError:
                os._exit(2)
            doorway.left(connection)
    else:
        serve(take_stdio(), mode)


if __name__ == "__main__":
    main()
