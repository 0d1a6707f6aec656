"""`edge collector`: run one; look at the quarantine."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)
LOOK_S = 1.0


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(invoke_without_command=True)
@click.option("--config", type=PATH, help="collector.yaml; an option counts more than the file.")
@click.option("--name", help="Of its certificate: collector (default), collector-1, ...")
@click.option("--broker", metavar="HOST:PORT", help="The MQTT broker, TLS.")
@click.option("--credentials", metavar="FOLDER", help="With ca.pem, NAME.pem and NAME.key, or a PKI's folder.")
@click.option("--database", metavar="URL", help="A file, or postgresql://USER@HOST/NAME.")
@click.option("--page", metavar="HOST:PORT", help="Serve the fleet's page there.")
@click.option("--repository", metavar="FOLDER", help="Serve this update repository below /repo/ of the page.")
@click.option("--targets", metavar="FOLDER", help="Targets whose published bandwidths results are held against.")
@click.pass_context
def collector(context: click.Context, /, config: Path | None, **options: str | None) -> None:
    """Take in what devices send: judge, commit, then acknowledge. Several may run side by side."""
    context.obj = (config, options)
    if context.invoked_subcommand is None:
        _serve(config, options)


def _serve(config: Path | None, options: dict[str, str | None]) -> None:
    import gc
    import sys

    from edge.fleet.collector.service import Collector
    from edge.fleet.collector.settings import read_settings

    running = Collector(read_settings(config, **options), say=_say)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    # Two busy threads share one interpreter: the network's must not wait 5 ms for its turn at each read. A batch makes
    # thousands of objects that hold no cycles: looking for some after every 700 took a fifth of the time.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    running.start(until=ended)
    if running.store is not None and not ended.is_set():
        place = running.page_address
        _say(f"collector: {running.store.url}" + (f", page at {place[0]}:{place[1]}" if place else ""))
    while not ended.wait(LOOK_S) and not running.failed.is_set():
        pass
    running.stop()
    if running.failure is not None:  # ends with its status, so that whoever started it starts it again
        raise running.failure


@collector.group("quarantine")
def quarantine() -> None:
    """What was not believed, and why."""


def _choose(command: Any) -> Any:
    command = click.option("--device", help="Only of this device.")(command)
    return click.option("--reason", help="Only with this reason: future_schema, forged, ...")(command)


@contextlib.contextmanager
def _opened(context: click.Context) -> Iterator[Any]:
    """The store, with the database's errors in a user's words."""
    from sqlalchemy.exc import SQLAlchemyError

    from edge.fleet.collector.settings import read_database
    from edge.fleet.store.store import open_store, store_error

    config, options = context.obj  # set by the group, inherited
    store = open_store(read_database(config, options.get("database")))
    try:
        yield store
    except SQLAlchemyError as error:
        raise store_error(error, store.url) from error
    finally:
        store.close()


@quarantine.command("list")
@_choose
@click.option("--newest", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.pass_context
def list_rows(context: click.Context, device: str | None, reason: str | None, newest: int) -> None:
    """The newest, with id, time, device, reason, type, event and size."""
    from edge.fleet.collector.desk import Choice, rows

    with _opened(context) as store:
        for row in rows(store, Choice(device, reason), newest):
            event = f"{row.epoch}/{row.seq}" if row.epoch is not None else "-"
            parts = (row.id, row.received_at, row.device, row.reason, row.type or "-", event, len(row.data))
            click.echo("  ".join(str(part) for part in parts))


@quarantine.command()
@_choose
@click.pass_context
def export(context: click.Context, device: str | None, reason: str | None) -> None:
    """All of it as JSON lines, the bytes in base64."""
    from edge.fleet.collector.desk import Choice, rows, to_line

    with _opened(context) as store:
        for row in rows(store, Choice(device, reason)):
            click.echo(to_line(row))


@quarantine.command()
@_choose
@click.option("--targets", type=PATH, help="As of the collector.")
@click.pass_context
def requeue(context: click.Context, device: str | None, reason: str | None, targets: Path | None) -> None:
    """Judge them again: after an update of edge (--reason future_schema), or after a device was registered."""
    import time

    from edge.fleet.collector.desk import Choice
    from edge.fleet.collector.desk import requeue as judge_again
    from edge.fleet.collector.judge import Judge
    from edge.fleet.collector.settings import published_bandwidths

    with _opened(context) as store:
        done = judge_again(store, Judge(published_bandwidths(targets)), Choice(device, reason), time.monotonic)
    click.echo(f"accepted {done.accepted}  still refused {done.refused}  unreadable {done.unreadable}")
