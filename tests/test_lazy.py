"""Commands that are imported when asked for. When these fail, `edge run` pays for the fleet, or --help lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from edge.cli import cli
from edge.errors import ExitStatus
from edge.fleet import COMMANDS


def test_help_lists_them_without_importing_them() -> None:
    """If not: `edge --help` takes a second on a board, or needs libraries that are not there."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom edge.cli import cli\n"
        "text = CliRunner().invoke(cli, ['--help']).output\n"
        f"assert all(name in text for name in {sorted(COMMANDS)!r}), text\n"
        "heavy = {'paho', 'tuf', 'sqlalchemy', 'starlette', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    """If not: `edge collector` on a tablet says that edge has a bug, and not what is missing."""
    (tmp_path / "sqlalchemy.py").write_text("raise ModuleNotFoundError('hidden', name='sqlalchemy')\n")
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "fleet", "devices", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == ExitStatus.MISSING_TOOL
    assert done.stderr == (
        "edge: this command needs 'sqlalchemy', which is not installed; pip install 'edge-kit[collector]'.\n"
    )


def test_an_unknown_command_is_none() -> None:
    """If not: a slip of the finger is a traceback."""
    assert cli.get_command(click.Context(cli), "flet") is None
