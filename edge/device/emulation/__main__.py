"""`python -m edge.device.emulation prepare raspberry-pi-5`: fetch and lay out what an emulated board needs."""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import sys
from pathlib import Path

import click

from edge.device.emulation.prefix import default_cache, prepare
from edge.device.wheels import ENGINE_PACKAGES
from edge.errors import EdgeError, ExitStatus


@click.group()
def program() -> None:
    """Boards that are stood in for by qemu-user."""


@program.command("prepare")
@click.argument("name")
@click.option(
    "--engine", "engines", multiple=True, type=click.Choice(sorted(ENGINE_PACKAGES)), help="default: onnxruntime"
)
@click.option("--targets", type=click.Path(path_type=Path), default=Path("targets"), help="folder of target files")
@click.option("--cache", type=click.Path(path_type=Path), default=None, help="default: EDGE_CACHE or the user's cache")
def prepare_command(name: str, engines: tuple[str, ...], targets: Path, cache: Path | None) -> None:
    """Fetch the emulator, the board's system and its Python packages; NAME is a target."""
    board = prepare(
        name,
        cache=cache or default_cache(),
        engines=engines or ("onnxruntime",),
        targets=targets,
        say=lambda words: click.echo(f"  {words}", err=True),
    )
    click.echo(f"{name}: {board.words}")
    click.echo(board.python)


@program.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--targets", type=click.Path(path_type=Path), default=Path("targets"), help="folder of target files")
@click.option("--timeout-s", type=float, default=600.0, show_default=True)
def run_command(name: str, argv: tuple[str, ...], targets: Path, timeout_s: float) -> None:
    """Run a program on an emulated board, e.g. `run raspberry-pi-5 -- python3 -c 'import numpy'`."""
    board = prepare(name, cache=default_cache(), targets=targets)
    done = board.run(argv, timeout_s=timeout_s, check=True)
    sys.stderr.write(done.stderr)
    sys.stdout.write(done.stdout)


def main() -> None:
    """Run the program; an error of the user is one line and its exit code."""
    try:
        program(standalone_mode=False)
    except EdgeError as error:
        click.echo(f"edge: {error}", err=True)
        sys.exit(int(error.status))
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.Abort:
        sys.exit(int(ExitStatus.INTERRUPTED))
    except click.ClickException as error:
        error.show()
        sys.exit(int(ExitStatus.USAGE))


if __name__ == "__main__":
    main()
