"""The command is found, asked and run; what goes wrong is one line that says how to mend it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edge.build.mlc_llm.tool import (
    GET_IT,
    PROGRAM_VARIABLE,
    find_program,
    interpreter_of,
    last_words,
    probe,
    run_step,
    tool_environment,
)
from edge.errors import ExitStatus, MissingToolError, ResourceError, SourceError
from tests.build.mlc_llm.conftest import DIST, install


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return install(tmp_path / "installed")


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_missing_is_one_line_that_says_how_to_get_it(tmp_path: Path) -> None:
    """If it fails, an engineer without the command gets a traceback, or is sent to a registry of placeholders."""
    with pytest.raises(MissingToolError, match="not on the PATH") as caught:
        find_program({"PATH": str(tmp_path)})
    text = str(caught.value)
    assert caught.value.status is ExitStatus.MISSING_TOOL
    assert "\n" not in text
    assert "MLC's own page" in text
    assert "://" not in text
    with pytest.raises(MissingToolError, match=PROGRAM_VARIABLE):
        find_program({"PATH": str(tmp_path), PROGRAM_VARIABLE: str(tmp_path / "none")})


def test_the_path_of_the_caller_decides(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, another command than the one installed for the build is run."""
    place = Path(environment["PATH"])
    assert find_program(environment) == place / "mlc_llm"
    other = script(tmp_path / "other", "#!/bin/sh\n")
    assert find_program(environment | {PROGRAM_VARIABLE: str(other)}) == other


def test_what_an_installed_version_can_do(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, the manifest names another version, or an adapter goes to a version that cannot merge it."""
    program = find_program(environment)
    tool = probe(program, environment, tmp_path)
    assert tool.version == "0.20.dev123"
    assert tool.versions["mlc-ai-nightly-cpu"] == "0.20.dev77"
    assert {"q4f16_1", "q4f32_1", "q0f16", "q0f32"} <= tool.modes
    assert tool.takes_adapter
    assert not probe(program, environment | {"MLC_FAKE_NO_LORA": "1"}, tmp_path).takes_adapter
    (Path(environment["PYTHONPATH"]) / "peft" / "__init__.py").unlink()
    (Path(environment["PYTHONPATH"]) / "peft").rmdir()
    assert not probe(program, environment, tmp_path).takes_adapter


def test_a_version_without_an_option_is_refused_before_the_work(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, hours of conversion end in a usage message of the compiler."""
    with pytest.raises(MissingToolError, match=r"0.20.dev123 has no '--host' in `mlc_llm compile`.*newer"):
        probe(find_program(environment), environment | {"MLC_FAKE_OLD": "1"}, tmp_path)


def test_version_of_a_source_tree_and_of_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, a command of an unknown version builds, and nobody can build the same again."""
    packages = Path(environment["PYTHONPATH"])
    program = find_program(environment)
    for path in (packages / DIST).iterdir():
        path.unlink()
    (packages / DIST).rmdir()
    with pytest.raises(MissingToolError, match="does not say which version it is") as caught:
        probe(program, environment, tmp_path)
    assert GET_IT in str(caught.value)
    (packages / "mlc_llm" / "libinfo.py").write_text('__version__ = "0.1.dev0"\n')
    assert probe(program, environment, tmp_path).version == "0.1.dev0"


@pytest.mark.parametrize("body", ["echo gone >&2; exit 3", "exit 0", "kill -9 $$"])
def test_a_program_that_is_another_one(tmp_path: Path, body: str) -> None:
    """If it fails, any program named mlc_llm is taken for it."""
    program = script(tmp_path / "mlc_llm", f"#!/bin/sh\n{body}\n")
    with pytest.raises(MissingToolError) as caught:
        probe(program, {"PATH": os.environ["PATH"]}, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_interpreter_that_is_gone(tmp_path: Path) -> None:
    """If it fails, a command left over from a removed environment ends in a traceback."""
    program = script(tmp_path / "mlc_llm", "#!/no/such/python3\n")
    with pytest.raises(MissingToolError, match=r"the interpreter of .* does not start"):
        probe(program, {"PATH": ""}, tmp_path)


def test_a_question_that_is_never_answered(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, a stuck command holds the build before it has begun."""

    def never(*_: object, **__: object) -> subprocess.CompletedProcess[bytes]:
        raise subprocess.TimeoutExpired("mlc_llm", 300)

    with pytest.raises(MissingToolError):
        probe(find_program(environment), environment, tmp_path, run=never)


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        ("#!/opt/x/bin/python3.11\n", ["/opt/x/bin/python3.11"]),
        ("#!/usr/bin/env python3\n", ["/usr/bin/env", "python3"]),
        ("#!/bin/sh\n'''exec' \"/a very long/bin/python\" \"$0\" \"$@\"\n' '''\n", ["/a very long/bin/python"]),
        ("#!/bin/sh\n'''exec' /long/bin/python3 \"$0\" \"$@\"\n' '''\n", ["/long/bin/python3"]),
        ("#!/bin/sh\nexec something\n", None),
        ("\x7fELF", None),
        ("", None),
    ],
)
def test_interpreter_of_a_script(tmp_path: Path, head: str, wanted: list[str] | None) -> None:
    """If it fails, the version is asked of the wrong Python (pip and conda write these three forms)."""
    assert interpreter_of(script(tmp_path / "p", head)) == wanted


def test_environment_is_short(tmp_path: Path) -> None:
    """If it fails, the command sees who is logged in, or a library of it calls home."""
    given = {"PATH": "/bin", "HOME": "/home/somebody", "SSH_AUTH_SOCK": "s", "AWS_SECRET": "x", "TVM_HOME": "/t"}
    seen = tool_environment(given, tmp_path)
    assert seen["HOME"] == str(tmp_path)
    assert seen["TVM_HOME"] == "/t"
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert not {"SSH_AUTH_SOCK", "AWS_SECRET"} & seen.keys()


def test_last_words() -> None:
    """If it fails, the one line of an error is a colour code or a page."""
    assert last_words("a\n\x1b[1mValueError: no\x1b[0m\n\n") == "ValueError: no"
    assert last_words("") == "it said nothing"
    assert len(last_words("x" * 1000)) == 160


def test_log_that_cannot_be_written(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, a full or read-only disk is a traceback."""
    tool = probe(find_program(environment), environment, tmp_path)
    with pytest.raises(ResourceError):
        run_step(tool, "compile", [], log=tmp_path / "none" / "log", home=tmp_path, environment=environment)
    with pytest.raises(SourceError, match="ended with status 2"):
        run_step(tool, "compile", ["--nonsense"], log=tmp_path / "log", home=tmp_path, environment=environment)
    assert "error: the following arguments are required" in (tmp_path / "log").read_text()


def test_nothing_of_an_ended_command_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    """If it fails, a compiler started by the command keeps a core busy after the build has given up."""
    tool = probe(find_program(environment), environment, tmp_path)
    program = script(tmp_path / "parent", "#!/bin/sh\nsleep 600 &\necho $!\nwait\n")
    with pytest.raises(ResourceError, match=r"took over 0.7 s"):
        run_step(
            type(tool)(program, tool.versions, tool.modes, False),
            "compile",
            [],
            log=tmp_path / "log",
            home=tmp_path,
            environment=dict(os.environ),
            timeout_s=0.7,
        )
    lines = (tmp_path / "log").read_text().split()
    state = Path(f"/proc/{lines[-1]}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
