"""The dispatch and the pin: nothing is parsed that is not what the profile names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge.build.checkpoint import SOURCES, folder_digest, open_checkpoint
from edge.errors import SourceError


@pytest.mark.parametrize("source", ["", "model.gguf", "gguf:", "s3:bucket/x", ":x"])
def test_an_unknown_source_names_the_known(tiny, tmp_path: Path, cache, source: str) -> None:
    """A typo in a profile must not end in a KeyError."""
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(source), cache, base_folder=tmp_path)
    tiny.line(caught.value, *(f"{kind}:" for kind in SOURCES))


@pytest.mark.parametrize("kind", ["gguf", "hf"])
def test_a_source_must_be_the_pinned_one(tiny, tmp_path: Path, cache, kind: str) -> None:
    """A swapped model is refused before it is parsed, and an unpinned one says the digest to pin."""
    if kind == "gguf":
        tiny.gguf(tmp_path / "m")
        digest = hashlib.sha256((tmp_path / "m").read_bytes()).hexdigest()
    else:
        tiny.folder(tmp_path / "m")
        digest = folder_digest(tmp_path / "m")
    for pin, says in ((None, "not pinned"), ("ab" * 32, "not what the profile pins")):
        with pytest.raises(SourceError) as caught:
            open_checkpoint(tiny.spec(f"{kind}:m", pin), cache, base_folder=tmp_path)
        tiny.line(caught.value, says, digest)
    assert open_checkpoint(tiny.spec(f"{kind}:m", digest), cache, base_folder=tmp_path).digest == digest
    assert not cache.root.exists()


def test_a_missing_file_is_one_line(tiny, tmp_path: Path, cache) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec("gguf:gone.gguf", "ab"), cache, base_folder=tmp_path)
    tiny.line(caught.value, "gone.gguf")
