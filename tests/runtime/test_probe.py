"""The program that decodes a few tokens on a device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.errors import BundleError, InputError
from edge.runtime.probe import main, probe, resident_bytes
from tests.tiny import engine, export, tiny_ids, tiny_source

IDS = tiny_ids(9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("probe") / "model", tiny_source())


def test_tokens_are_those_of_the_engine(model: Path, tmp_path: Path) -> None:
    """If it fails, two devices are compared by something else than their models."""
    whole = engine(model)
    expected = [int(whole.forward(IDS, (len(IDS) - 1,))[0].argmax())]
    while len(expected) < 5:
        expected.append(int(whole.forward(expected[-1:], (0,))[0].argmax()))
    whole.rewind(0)
    found = probe(model, IDS, 5, logits=tmp_path / "logits.npy")
    assert list(found.tokens) == expected
    assert probe(model, IDS, 5).tokens == found.tokens
    assert probe(model, IDS, 1).tokens == found.tokens[:1]
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape == (len(IDS) + 4, whole.vocab_size)
    assert np.allclose(logits, whole.forward([*IDS, *expected[:-1]], range(len(IDS) + 4)), atol=1e-4)


def test_memory_is_told(model: Path, tmp_path: Path) -> None:
    """If it fails, growth is 0 or holds the interpreter."""
    found = probe(model, IDS, 2)
    assert 0 < found.rss_before_bytes <= found.rss_end_bytes
    assert found.growth_bytes == found.rss_end_bytes - found.rss_before_bytes
    assert resident_bytes(tmp_path / "nothing") == 0


def test_as_a_program(model: Path) -> None:
    """If it fails, a device that runs it says nothing that can be read."""
    command = [sys.executable, "-m", "edge.runtime.probe", str(model), "--ids", ",".join(map(str, IDS))]
    done = subprocess.run([*command, "--tokens", "3"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["tokens"]) == 3


def test_errors_are_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If it fails, a wrong folder on a device ends in a traceback."""
    with pytest.raises(InputError):
        probe(model, [], 1)
    with pytest.raises(BundleError, match="mystery"):
        probe(model, IDS, 1, engine="mystery")
    assert main([str(tmp_path), "--ids", "1", "--tokens", "1"]) == 5
    assert main([str(model), "--ids", "1,x", "--tokens", "1"]) == 9
    assert capsys.readouterr().err.count("edge: ") == 2
