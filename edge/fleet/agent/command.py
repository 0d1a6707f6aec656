"""`edge agent`: run it, enrol the device, look at it. Logic lives next door."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import click

from edge.errors import ResourceError

PATH = click.Path(path_type=Path)
SETTINGS = Path("/etc/edge-kit/agent.yaml")


def say(line: str) -> None:
    """One line for the journal or the person."""
    click.echo(line, err=True)


@click.group(invoke_without_command=True)
@click.option("--config", "path", type=PATH, default=SETTINGS, show_default=True, help="The agent's settings.")
@click.pass_context
def agent(context: click.Context, path: Path) -> None:
    """The device's part of the fleet: benchmarks, updates, and an outbox that loses nothing. Runs until stopped."""
    context.obj = path
    if context.invoked_subcommand is None:
        from edge.fleet.agent.config import load_config
        from edge.fleet.agent.start import run_agent

        run_agent(load_config(path), say)


@agent.command()
@click.option("--to", type=PATH, default=Path(), help="The folder for the file (a USB stick).")
@click.pass_obj
def request(path: Path, to: Path) -> None:
    """Write DEVICE.request.json, for the fleet to enrol this device."""
    from edge.fleet.agent.config import load_config
    from edge.fleet.agent.enrolled import make_request_file

    config = load_config(path)

    fingerprint = make_request_file(config.home, config.keys, config.device, to, say)
    click.echo(f"{config.device}.request.json  device key {fingerprint}")


@agent.command()
@click.argument("file", type=PATH)
@click.pass_obj
def enrol(path: Path, file: Path) -> None:
    """Take FILE, which the fleet made for this device."""
    from edge.fleet.agent.config import load_config
    from edge.fleet.agent.enrolled import take_enrolment

    config = load_config(path)

    fingerprint = take_enrolment(config.home, config.keys, config.device, file, say)
    click.echo(f"{config.device} is enrolled; compare the fleet's root: {fingerprint}")


@agent.command()
@click.option("--workload", type=click.Choice(["quick", "full"]), help="Default: that of the settings.")
@click.pass_obj
def bench(path: Path, workload: str | None) -> None:
    """Ask the running agent for a benchmark; it begins when the device may."""
    from edge.files import resource_error, write_atomic
    from edge.fleet.agent.agent import REQUESTS
    from edge.fleet.agent.config import load_config

    config = load_config(path)

    folder = config.home / REQUESTS
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise resource_error(error, str(folder)) from error
    write_atomic(folder / f"bench-{os.urandom(4).hex()}.json", json.dumps({"workload": workload}).encode())
    click.echo("asked; `edge agent status` shows when it runs and why it waits")


@agent.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def status(path: Path, as_json: bool) -> None:
    """What the agent does, what waits, and why."""
    from edge.fleet.agent.config import load_config
    from edge.fleet.agent.looks import status_lines, status_of

    config = load_config(path)

    found = status_of(config)
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(status_lines(found)))


@agent.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def outbox(path: Path, as_json: bool) -> None:
    """What waits for the collector. Reads only, also while the agent runs."""
    from edge.fleet.agent.config import load_config
    from edge.fleet.agent.looks import outbox_rows

    config = load_config(path)

    try:
        rows = outbox_rows(config.home)
    except sqlite3.Error as error:
        raise ResourceError("the outbox cannot be read", where=str(config.home), mend="start the agent") from error
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    with contextlib.suppress(BrokenPipeError):
        for row in rows:
            click.echo("  ".join(str(value) for value in row.values() if value not in ("", None)))
        click.echo(f"{len(rows)} events wait" if rows else "nothing waits")
