"""A command group whose larger commands are imported when they are asked for: `edge run` must not pay for the fleet."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from edge.errors import MissingToolError

# Libraries of an extra that a command finds missing where only the device's side is installed.
EXTRAS = {
    "collector": ("sqlalchemy", "alembic", "psycopg", "starlette", "uvicorn", "prometheus_client"),
    "fleet": ("paho", "tuf", "securesystemslib", "urllib3"),
}


def missing_extra(error: ModuleNotFoundError) -> MissingToolError | None:
    """What to install for a library that is not there; None when it is no extra's, so that a bug stays one."""
    missing = (error.name or "").partition(".")[0]
    for extra, libraries in EXTRAS.items():
        if missing in libraries:
            return MissingToolError(
                f"this command needs '{missing}', which is not installed", mend=f"pip install 'edge-kit[{extra}]'"
            )
    return None


class LazyGroup(click.Group):
    """lazy: command name to ("module:attribute", its line in --help)."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name, or None."""
        if cmd_name in self.commands or cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of --help, without importing anything."""
        rows = []
        for name in self.list_commands(ctx):
            known = self.commands.get(name)
            rows.append((name, known.get_short_help_str(80) if known else self.lazy[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
