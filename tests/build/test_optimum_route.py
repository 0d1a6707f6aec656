"""The second route's refusals, and what it makes of whatever the other process does; torch is in tests/oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.build.optimum_route import OptimumFacts, build_with_optimum, optimum_python
from edge.build.optimum_source import foreign_decoder
from edge.errors import EdgeError, ExitStatus, MissingToolError, ResourceError, SourceError, SpecError
from tests.build.test_optimum_source import GPT2, folder_of


def interpreter(path: Path, script: str) -> Path:
    """A program that stands where python should; $5 is the request, its folder the work folder."""
    path.write_text(f'#!/bin/sh\nwork=$(dirname "$4")\n{script}\n')
    path.chmod(0o755)
    return path


def refused(tmp_path: Path, script: str) -> EdgeError:
    """The error that an exporter's behaviour becomes; nothing may remain but a log."""
    folder = folder_of(tmp_path / "m")
    out = tmp_path / "out" / "model"
    out.parent.mkdir()
    with pytest.raises(EdgeError) as caught:
        build_with_optimum(folder, "none", out, python=interpreter(tmp_path / "python", script))
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in out.parent.iterdir() if path.name != "model.optimum.log"] == []
    return caught.value


@pytest.mark.parametrize("scheme", ["int4", "mixed", "int3"])
def test_schemes(tmp_path: Path, scheme: str) -> None:
    """A scheme that this route does not have is a profile's error, told before anything runs."""
    with pytest.raises(SpecError, match=rf"scheme '{scheme}' .*\(possible: none, int8\)") as caught:
        build_with_optimum(tmp_path / "absent", scheme, tmp_path / "out")
    assert caught.value.status is ExitStatus.SPEC


def test_missing_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the other environment the user hears how to get it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGE_OPTIMUM_PYTHON", raising=False)
    with pytest.raises(MissingToolError, match=r"\.venv-optimum/bin/pip install") as caught:
        build_with_optimum(folder_of(tmp_path / "m"), "none", tmp_path / "out")
    assert caught.value.status is ExitStatus.MISSING_TOOL
    assert optimum_python({"EDGE_OPTIMUM_PYTHON": "/bin/sh"}) == Path("/bin/sh")
    python = tmp_path / ".venv-optimum" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/sh")
    assert optimum_python({}) == python, "a virtual environment is lost when its link is followed"


def test_a_program_that_does_not_start(tmp_path: Path) -> None:
    """A python of another machine's architecture, say."""
    python = interpreter(tmp_path / "python", "")
    python.write_bytes(b"\x7fELF nothing")
    with pytest.raises(MissingToolError, match="does not start"):
        build_with_optimum(folder_of(tmp_path / "m"), "none", tmp_path / "out", python=python)


def test_missing_package(tmp_path: Path) -> None:
    """An environment without optimum is the same as none."""
    error = refused(tmp_path, """echo '{"error":"missing","detail":"No module named optimum"}' > $work/result.json""")
    assert isinstance(error, MissingToolError)
    assert "No module named optimum" in str(error)
    assert not (tmp_path / "out" / "model.optimum.log").exists()


def test_unknown_family(tmp_path: Path) -> None:
    """A family that optimum does not know either is named."""
    error = refused(tmp_path, """echo '{"error":"family","detail":"rwkv"}' > $work/result.json""")
    assert isinstance(error, SourceError)
    assert "architecture 'rwkv'" in str(error)


def test_failure_keeps_the_log(tmp_path: Path) -> None:
    """What the exporter said is there to be read, and the line says where."""
    error = refused(tmp_path, "echo the reason; exit 3")
    log = tmp_path / "out" / "model.optimum.log"
    assert log.read_text() == "the reason\n"
    assert "status 3" in str(error)
    assert str(log) in str(error)


def test_killed_for_memory(tmp_path: Path) -> None:
    """The kernel's killer speaks no words: ours say memory."""
    error = refused(tmp_path, "kill -9 $$")
    assert isinstance(error, ResourceError)
    assert "lack of memory" in str(error)


def test_half_an_export(tmp_path: Path) -> None:
    """A graph that is not one is refused although the exporter says it succeeded."""
    script = """mkdir $work/export; echo x > $work/export/model.onnx
    echo '{"family":"gpt2","versions":{}}' > $work/result.json"""
    assert isinstance(refused(tmp_path, script), SourceError)


def test_telemetry_and_home(tmp_path: Path) -> None:
    """The other process cannot report, cannot go online and writes below the work folder only."""
    refused(tmp_path, "env; exit 1")
    said = dict(
        line.split("=", 1) for line in (tmp_path / "out" / "model.optimum.log").read_text().splitlines() if "=" in line
    )
    assert said["HF_HUB_DISABLE_TELEMETRY"] == said["ORT_DISABLE_TELEMETRY"] == said["HF_HUB_OFFLINE"] == "1"
    assert "/out/.model." in said["HOME"]
    assert "/out/.model." in said["TMPDIR"]
    assert not any(name.startswith(("PYTHONPATH", "VIRTUAL_ENV", "EDGE_")) for name in said)


def test_nothing_is_replaced(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    (tmp_path / "out").mkdir()
    with pytest.raises(ResourceError, match="is there already"):
        build_with_optimum(folder_of(tmp_path / "m"), "none", tmp_path / "out")


def test_pickled_weights(tmp_path: Path) -> None:
    """Pickles are code; they are refused before torch could read them."""
    folder = folder_of(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(SourceError, match="pickle"):
        build_with_optimum(folder, "none", tmp_path / "out", python=Path("/bin/sh"))


def test_facts_against_config() -> None:
    """The graph's own cache sizes go into the manifest; another model's graph is refused."""
    facts = OptimumFacts(2, 1, 32, GPT2["vocab_size"], 128, "gpt2", 0, 0.0, {})
    config = foreign_decoder(GPT2, "c")
    checked = facts.check_config(config, "m")
    assert (checked.kv_heads, checked.head_dim) == (1, 32)
    with pytest.raises(SourceError, match=r"layers 2, config\.json says 3"):
        facts.check_config(foreign_decoder(GPT2 | {"n_layer": 3}, "c"), "m")
