"""Words that name a command name one that there is. When these fail, an error tells people to type what fails."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

from edge.cli import cli
from edge.errors import ExitStatus
from tests.e2e.world import REPO, World

MENTION = re.compile(r"`edge ([a-z]+)(?: ([a-z][a-z-]*))?")
SOURCES = [
    *sorted((REPO / "edge").rglob("*.py")),
    *sorted((REPO / "docs").rglob("*.md")),
    *sorted(REPO.glob("*.md")),
    *sorted((REPO / "profiles").glob("*.yaml")),
    *sorted((REPO / "targets").glob("*.yaml")),
]


def test_every_mentioned_command_exists() -> None:
    """If not: `edge keys create`, as once, is what an error advises and nobody can do."""
    wrong = []
    for path in SOURCES:
        for match in MENTION.finditer(path.read_text(encoding="utf-8")):
            command = cli.get_command(click.Context(cli), match[1])
            if command is None or (isinstance(command, click.Group) and match[2] and match[2] not in command.commands):
                wrong.append(f"{path.relative_to(REPO)}: {match[0]}")
    assert wrong == []


USAGE: tuple[tuple[str, ...], ...] = (
    ("build",),
    ("run", "out/tiny", "--threads", "0"),
    ("run", "out/tiny", "--task", "note", "visit.txt", "--max-new-tokens", "0"),
    ("keys", "new", "x", "--role", "patient"),
    ("fly",),
)


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage(built: World, arguments: tuple[str, ...]) -> None:
    """If not: a mistyped command does something, or ends in a traceback."""
    said = built.edge(*arguments)
    assert said.status == ExitStatus.USAGE
    assert "Error: " in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


MISTAKES: tuple[tuple[tuple[str, ...], ExitStatus, str], ...] = (
    (("keys", "new", "Bad Name"), ExitStatus.SPEC, "key name 'Bad Name'"),
    (("keys", "new", "my-builder"), ExitStatus.SPEC, "exists already"),
    (("keys", "trust", "visit.txt", "x"), ExitStatus.SPEC, "`edge keys export NAME`"),
    (("build", "profiles/tiny.yaml", "--key", "other"), ExitStatus.UNTRUSTED, "`edge keys new other`"),
    (("bench", "out/tiny", "--workload", "none"), ExitStatus.SPEC, "use full, quick or the path"),
    (("bench", "out/tiny", "--json", "nowhere/x.json"), ExitStatus.RESOURCE, "nowhere/x.json"),
    (("run", "out/tiny", "--task", "note", "visit.txt", "--top-p", "7"), ExitStatus.INPUT, "top_p is 7"),
    (("pack", "out/tiny", "out/tiny/x.tar"), ExitStatus.BUNDLE, "inside the bundle"),
    (("rebuild", "out/tiny", "--check", "--profile", "none.yaml"), ExitStatus.SPEC, "--profile"),
)


@pytest.mark.parametrize(("arguments", "status", "part"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_mistakes(built: World, arguments: tuple[str, ...], status: ExitStatus, part: str) -> None:
    """If not: this slip is not told in one line, or something is printed as if it were a draft."""
    said = built.edge(*arguments)
    said.fails(status, part)
    assert said.out == ""


def test_version_and_help(built: World) -> None:
    """If not: the first thing that people type fails; or it needs more than the device side has."""
    assert built.edge("--version").ok().out.startswith("edge, version ")
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None and command.help, f"edge {name} has no help"
    assert "note" in built.edge("run", "--help").ok().out


def test_a_build_starts_without_what_only_the_export_needs(built: World) -> None:
    """If not: every wrong profile is told half a second later (onnx_ir brings sympy with it)."""
    code = "import sys, edge.build.console; sys.exit('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=built.root, env=built.environment())
    assert done.returncode == 0
