"""From the export to tiles: all of it, in order, and a changed byte is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.build.quantise import QuantFormat
from edge.build.readback import BuiltModel
from edge.build.tvm import pack
from edge.build.tvm.decoder import weight_tensors
from edge.build.tvm.isa import ISAS, Isa
from edge.build.tvm.pack import DESCRIPTION_FILE, WEIGHTS_FILE, check_packed, pack_model, shape_of
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig
from tests.tiny import BASE, CONFIGS, CONTEXT_TOKENS, export, tiny_source
from tests.tvm_toy import HEAD, LOW

CONFIG = replace(CONFIGS["qwen2-bias"], tie_embeddings=False, vocab_size=301)
ANY = ISAS["avx2"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltModel]:
    folder = export(tmp_path_factory.mktemp("pack") / "m", tiny_source(CONFIG), LOW, head=HEAD)
    with BuiltModel(folder, CONFIG) as built:
        yield built


def packed(exported: BuiltModel, folder: Path, isa: Isa = ANY) -> Path:
    folder.mkdir()
    pack_model(exported, shape_of(exported, CONTEXT_TOKENS, "p"), isa, folder)
    return folder


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
def test_reads_back_as_the_export(exported: BuiltModel, tmp_path: Path, isa: Isa) -> None:
    """The proof that tiles hold what the quantiser chose: embedding, head and four matrices a layer."""
    folder = packed(exported, tmp_path / "m", isa)
    assert check_packed(exported, shape_of(exported, CONTEXT_TOKENS, "p"), isa, folder) == 2 + 4 * CONFIG.layers
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    assert description["packing"] == isa.packing
    names = [name for name, *_ in description["tensors"]]
    assert names == list(weight_tensors(shape_of(exported, CONTEXT_TOKENS, "p"), isa))
    size = (folder / WEIGHTS_FILE).stat().st_size
    assert all(offset % 4096 == 0 and offset + length <= size for *_, offset, length in description["tensors"])


KINDS = ("layers.1.down", "layers.0.o.scales", "layers.1.gate_up.zero_points", "layers.0.qkv.bias", "head", "embedding")
PLAIN = ("final_norm", "layers.0.post_norm", "rotary.cos", "rotary.sin")


@pytest.mark.parametrize("name", (*KINDS, *PLAIN))
def test_one_changed_bit_is_noticed(exported: BuiltModel, tmp_path: Path, name: str) -> None:
    """A bad disk, or a packer that drops a tensor's last piece: every kind of tensor is read back."""
    folder = packed(exported, tmp_path / "m")
    tensors = {
        one: (offset, size)
        for one, _, _, offset, size in json.loads((folder / DESCRIPTION_FILE).read_text())["tensors"]
    }
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    offset, size = tensors[name]
    data[offset + size // 3] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)
    owner = name.removesuffix(".scales").removesuffix(".zero_points")
    with pytest.raises(SourceError, match=f"'{owner}' does not read back"):
        check_packed(exported, shape_of(exported, CONTEXT_TOKENS, "p"), ANY, folder)


def test_where_a_piece_ends_does_not_show(
    exported: BuiltModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrices are packed in pieces to bound memory; the file must not depend on it."""
    whole = packed(exported, tmp_path / "whole")
    monkeypatch.setattr(pack, "CHUNK_BYTES", 1)
    pieces = packed(exported, tmp_path / "pieces")
    for file in (WEIGHTS_FILE, DESCRIPTION_FILE):
        assert (whole / file).read_bytes() == (pieces / file).read_bytes()
    assert check_packed(exported, shape_of(exported, CONTEXT_TOKENS, "p"), ANY, pieces) == 10


def test_the_same_bytes_for_sets_that_share_a_packing(exported: BuiltModel, tmp_path: Path) -> None:
    """A bundle carries several decoders and one file of weights."""
    one, other = (packed(exported, tmp_path / name, ISAS[name]) for name in ("avx2", "avx512-vnni"))
    assert (one / WEIGHTS_FILE).read_bytes() == (other / WEIGHTS_FILE).read_bytes()


def test_rotary_tables_reach_the_capacity(tmp_path: Path) -> None:
    """A cache of whole runs is longer than the context; its tables must be too."""
    folder = export(tmp_path / "e", tiny_source(), LOW, head=HEAD, context_tokens=40)
    with BuiltModel(folder, BASE) as built:
        shape = shape_of(built, 40, "p")
        (tmp_path / "m").mkdir()
        pack_model(built, shape, ANY, tmp_path / "m")
        assert check_packed(built, shape, ANY, tmp_path / "m") == 9
        tensors = {t[0]: t for t in json.loads((tmp_path / "m" / DESCRIPTION_FILE).read_text())["tensors"]}
        _, _, of, offset, size = tensors["rotary.cos"]
        table = np.frombuffer((tmp_path / "m" / WEIGHTS_FILE).read_bytes()[offset : offset + size], np.float32)
        assert of == [64, 8]
        assert np.array_equal(table.reshape(of)[:40], np.asarray(built.rows("rotary.cos"))[:40])
        assert not table.reshape(of)[40:].any()


REFUSED: dict[str, tuple[DecoderConfig, QuantFormat | None, QuantFormat | None, str]] = {
    "sliding window": (CONFIGS["mistral-sliding"], LOW, HEAD, "attention slides over 5 tokens, the context is 64"),
    "no quantisation": (BASE, None, HEAD, "layers.0.qkv is float32"),
    "float head": (BASE, LOW, None, "the output head is float32"),
    "hidden width": (replace(BASE, hidden_size=80), LOW, HEAD, "the hidden width 80 is no multiple of 32"),
    "inner width": (replace(BASE, intermediate_size=80), LOW, HEAD, "the inner width 80 is no multiple of 32"),
    "query width": (replace(BASE, heads=5, kv_heads=1), LOW, HEAD, "the query width 80 is no multiple of 32"),
    "heads": (replace(BASE, heads=8, kv_heads=8, head_dim=4), LOW, HEAD, "heads of 4 numbers do not fill vectors"),
    "blocks": (BASE, QuantFormat(4, 128, True), HEAD, "layers.0.qkv is no multiple of its blocks of 128 wide"),
    "head's blocks": (BASE, LOW, QuantFormat(8, 128, True), "the output head is no multiple of its blocks of 128 wide"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_kernels_do_not_compute_is_refused(tmp_path: Path, kind: str) -> None:
    """A model that is compiled although a part of it is not computed looks right until it writes."""
    config, form, head, words = REFUSED[kind]
    folder = export(tmp_path / "m", tiny_source(config), form, head=head)
    with BuiltModel(folder, config) as built, pytest.raises(SourceError, match=words) as caught:
        shape_of(built, CONTEXT_TOKENS, "profiles/x.yaml")
    assert str(caught.value).startswith("profiles/x.yaml: the tvm engine cannot compute this model")
    assert len(str(caught.value).splitlines()) == 1


def test_a_window_as_long_as_the_context_is_no_window(tmp_path: Path) -> None:
    """Mistral's 4096 do not slide in a context of 4096."""
    config = replace(CONFIGS["mistral-sliding"], sliding_window=CONTEXT_TOKENS)
    folder = export(tmp_path / "m", tiny_source(config), LOW, head=HEAD)
    with BuiltModel(folder, config) as built:
        assert shape_of(built, CONTEXT_TOKENS, "p").capacity == 64
