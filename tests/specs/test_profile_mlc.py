"""The keys of backend mlc: what goes together and what is refused at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edge.errors import SpecError
from edge.specs.profile import load_profile

PROFILE = Path(__file__).parent.parent.parent / "profiles" / "reference-notes-mlc.yaml"


def changed(folder: Path, **keys: object) -> Path:
    """The reference profile of backend mlc with other keys."""
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(PROFILE.read_text()) | keys))
    return path


def test_what_goes_together(tmp_path: Path) -> None:
    """If not: the profiles that ship cannot be built."""
    assert load_profile(PROFILE).engine is None
    assert load_profile(changed(tmp_path, engine="tvm", accelerator="cuda")).accelerator == "cuda"
    assert load_profile(changed(tmp_path, engine="mlc_llm")).engine == "mlc_llm"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"backend": "onnx", "engine": "tvm"}, r"key 'engine': is only for backend mlc, not onnx"),
        ({"backend": "onnx", "accelerator": "cuda"}, r"key 'accelerator': is only for backend mlc with engine tvm"),
        ({"engine": "mlc_llm", "accelerator": "cuda"}, r"key 'accelerator': is only for backend mlc with engine tvm"),
        ({"engine": "tvn"}, r"key 'engine'.*did you mean tvm"),
    ],
)
def test_what_does_not(tmp_path: Path, keys: dict[str, object], words: str) -> None:
    """If not: an engine or a GPU that somebody asked for is left out without a word."""
    with pytest.raises(SpecError, match=words):
        load_profile(changed(tmp_path, **keys))
