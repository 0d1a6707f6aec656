"""`edge rollout`: what a person says to rollouts; the collector's controller does the work."""

from __future__ import annotations

import functools
import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edge.fleet.rollout.state import State
    from edge.fleet.store.store import Store

PATH = click.Path(path_type=Path)
Returned = TypeVar("Returned")


@click.group()
def rollout() -> None:
    """Move a build out ring by ring; a ring opens only on evidence from the devices before it."""


def _database(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """Add --database and hand the command an open store, with the database's errors in one line."""

    @click.option(
        "--database", "url", required=True, envvar="EDGE_DATABASE", metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/NAME, as the collector has it.",
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(*arguments: Any, url: str, **options: Any) -> Returned:
        from sqlalchemy.exc import SQLAlchemyError

        from edge.fleet.store.store import open_store, store_error

        _refuse_missing(url)
        store = open_store(url)
        try:
            return command(store, *arguments, **options)
        except SQLAlchemyError as error:
            raise store_error(error, store.url) from error
        finally:
            store.close()

    return wrapped


def _refuse_missing(url: str) -> None:
    """A mistyped file would become an empty fleet. Errors: InputError."""
    from edge.errors import InputError

    file = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") or "://" not in url else ""
    if file and not Path(file).is_file():
        raise InputError("there is no database", where=file, mend="give the collector's --database")


def _by(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """Add --by: whose decision it is, kept with it."""
    return click.option("--by", "who", default=None, help="Whose decision this is (default: the user's name).")(command)


def _name(who: str | None) -> str:
    from edge.bundle.canonical import SLUG
    from edge.errors import InputError

    if who is None:
        try:
            who = getpass.getuser().lower()
        except (OSError, KeyError):
            who = "operator"
    if not SLUG.fullmatch(who):
        raise InputError(f"name {who[:60]!r} is not lower case letters, digits, '.', '_', '-'", mend="give --by NAME")
    return who


@rollout.command("add-release")
@click.argument("path", type=PATH, metavar="MANIFEST_OR_BUNDLE")
@click.option("--release", "name", help="The release's name, for a bundle; a chunk manifest has its own.")
@_database
def add_release(store: Store, path: Path, name: str | None) -> None:
    """Make a build known to the fleet: a bundle, or the chunk manifest that `edge repo add` made of it."""
    from edge.bundle.keys import KeyStore
    from edge.fleet.rollout import desk

    found = desk.release_from(path, KeyStore().trust_store(), name)
    fresh = desk.add_release(store, found, store.clock())
    known = "" if fresh else "  (was known)"
    click.echo(f"{found.release}  {found.profile}  {found.target}  bundle {found.bundle_digest[:16]}{known}")


@rollout.command("releases")
@_database
def list_releases(store: Store) -> None:
    """Releases that rollouts can name."""
    from sqlalchemy import select

    from edge.fleet.store.tables import releases

    with store.reading() as connection:
        for row in connection.execute(select(releases).order_by(releases.c.added_at, releases.c.release)):
            click.echo(f"{row.release}  {row.profile}  {row.target}  bundle {row.bundle_digest[:16]}  {row.added_at}")


@rollout.command("start")
@click.argument("plan", type=PATH)
@click.option("--dry-run", is_flag=True, help="Show which device falls into which ring; start nothing.")
@click.option("--without-way-back", is_flag=True, help="Take devices along that could not be set back.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@_by
@_database
def start(store: Store, plan: Path, dry_run: bool, without_way_back: bool, as_json: bool, who: str | None) -> None:
    """Start the rollout that PLAN describes."""
    from edge.fleet.rollout import desk
    from edge.fleet.rollout.plan import load_plan
    from edge.fleet.rollout.words import preview_text

    read = load_plan(plan)
    if dry_run:
        found = desk.preview(store, read)
    else:
        text = plan.read_text(encoding="utf-8-sig")
        found = desk.start(store, read, text, store.clock(), _name(who), without_way_back=without_way_back)
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else preview_text(found))
    if not dry_run:
        click.echo("started; the collector's controller goes on from here", err=True)


@rollout.command("status")
@click.argument("name", required=False, metavar="ROLLOUT")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@_database
def status(store: Store, name: str | None, as_json: bool) -> None:
    """How ROLLOUT stands, or all of them."""
    from sqlalchemy import select

    from edge.fleet.rollout.rows import read_state
    from edge.fleet.rollout.words import status_json, status_text
    from edge.fleet.store.tables import rollouts

    with store.reading() as connection:
        order = (rollouts.c.created_at, rollouts.c.rollout)
        listed = [name] if name else list(connection.execute(select(rollouts.c.rollout).order_by(*order)).scalars())
        states = [read_state(connection, one)[1] for one in listed]
    if as_json:
        click.echo(json.dumps([status_json(state) for state in states], indent=1))
        return
    click.echo("\n".join(status_text(state) for state in states) or "no rollout was ever started")


def _say(state: State) -> None:
    from edge.fleet.rollout.words import status_text

    click.echo(status_text(state))


@rollout.command("pause")
@click.argument("name", metavar="ROLLOUT")
@_by
@_database
def pause(store: Store, name: str, who: str | None) -> None:
    """Start no more devices and open no ring; failures still stop ROLLOUT."""
    from edge.fleet.rollout import desk

    _say(desk.pause(store, name, store.clock(), _name(who)))


@rollout.command("resume")
@click.argument("name", metavar="ROLLOUT")
@_by
@_database
def resume(store: Store, name: str, who: str | None) -> None:
    """Go on with a paused ROLLOUT."""
    from edge.fleet.rollout import desk

    _say(desk.resume(store, name, store.clock(), _name(who)))


@rollout.command("abort")
@click.argument("name", metavar="ROLLOUT")
@_by
@_database
def abort(store: Store, name: str, who: str | None) -> None:
    """End ROLLOUT and set back every device that it started, also after it has ended."""
    from edge.fleet.rollout import desk

    _say(desk.abort(store, name, store.clock(), _name(who)))


@rollout.command("decisions")
@click.argument("name", metavar="ROLLOUT")
@click.option("--json", "as_json", is_flag=True, help="With all of the evidence.")
@_database
def decisions(store: Store, name: str, as_json: bool) -> None:
    """Every decision about ROLLOUT and what it rests on."""
    from sqlalchemy import select

    from edge.fleet.rollout.rows import read_state
    from edge.fleet.rollout.words import decision_text
    from edge.fleet.store.tables import decisions as table

    with store.reading() as connection:
        read_state(connection, name)
        rows = connection.execute(select(table).where(table.c.rollout == name).order_by(table.c.id)).all()
    if as_json:
        found = [{**row._asdict(), "evidence": json.loads(row.evidence)} for row in rows]
        click.echo(json.dumps(found, indent=1))
        return
    for row in rows:
        click.echo(decision_text(row.at, row.ring, row.decision, row.by, json.loads(row.evidence)))
