"""safetensors headers: exact values of every type, and no way to make the reader crash or over-allocate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.checkpoint.rows import RowFile
from edge.build.checkpoint.safetensors_file import read_header
from edge.errors import SourceError


def test_every_type_decodes_exactly(tiny, tmp_path: Path) -> None:
    """A wrong decoder changes every weight of a model, quietly."""
    values = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    half = values.astype("<f2")
    upper = (values.view("<u4") >> 16).astype("<u2")
    path = tmp_path / "m.safetensors"
    tiny.safetensors(
        path,
        {
            "f32": ("F32", [5, 6], values.tobytes()),
            "f16": ("F16", [5, 6], half.tobytes()),
            "bf16": ("BF16", [5, 6], upper.tobytes()),
            "vector": ("F16", [6], half[0].tobytes()),
        },
    )
    file = RowFile(path)
    tensors = read_header(file)

    def read(name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return file.read(name, tensors[name], start, stop)

    np.testing.assert_array_equal(read("f32"), values)
    np.testing.assert_array_equal(read("f16"), half.astype(np.float32))
    np.testing.assert_array_equal(read("bf16", 2, 4), (upper.astype("<u4") << 16).view("<f4")[2:4])
    np.testing.assert_array_equal(read("vector", 1, 3), half[0, 1:3].astype(np.float32))
    assert read("f32", 3, 3).shape == (0, 6)
    with pytest.raises(IndexError):
        read("f32", 0, 6)


def header_of(entries: object) -> bytes:
    raw = json.dumps(entries).encode()
    return len(raw).to_bytes(8, "little") + raw


def entry(begin: int, end: int, shape: object = (2, 2), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated"),
        (b"\1\0\0", "truncated"),
        ((2**40).to_bytes(8, "little") + b"x" * 50, "header length"),
        ((90_000_000).to_bytes(8, "little") + b"{}", "truncated"),
        ((5).to_bytes(8, "little") + b"hello", "not valid JSON"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        ((1000).to_bytes(8, "little") + b"[" * 1000, "not valid JSON"),
        ((4).to_bytes(8, "little") + b"\xff\xfe{}", "not valid JSON"),
        (header_of({"a": 3}), "no description"),
        (header_of({"a": entry(0, 16, (2, -2))}) + b"0" * 16, "impossible shape"),
        (header_of({"a": entry(0, 16, "22")}) + b"0" * 16, "impossible shape"),
        (header_of({"a": entry(16, 0)}) + b"0" * 16, "impossible shape"),
        (header_of({"a": entry(0, 12)}) + b"0" * 12, "12 bytes for shape"),
        (header_of({"a": entry(0, 2**62, (2**60,))}), "truncated"),
        (header_of({"a": entry(0, 16), "b": entry(8, 24)}) + b"0" * 24, "tensor b starts at 8"),
        (header_of({"a": entry(0, 16), "b": entry(20, 36)}) + b"0" * 36, "tensor b starts at 20"),
        (header_of({"a": entry(0, 16)}) + b"0" * 15, "truncated"),
        (header_of({"a": entry(0, 16)}) + b"0" * 17, "1 bytes follow"),
        (header_of({"a": entry(0, 16, dtype="I8")}) + b"0" * 16, "known: BF16, F16, F32"),
    ],
)
def test_a_broken_header_is_one_line(tiny, tmp_path: Path, content: bytes, says: str) -> None:
    """Any of these made other readers crash, or allocate what the file only claims to have."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_header(RowFile(path))
    tiny.line(caught.value, says, str(path))


def test_a_name_that_comes_twice_is_refused(tiny, tmp_path: Path) -> None:
    """JSON keeps the last one in silence; which of two weights is meant nobody can tell."""
    raw = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"0000")
    with pytest.raises(SourceError) as caught:
        read_header(RowFile(path))
    tiny.line(caught.value, "not valid JSON")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_makes_another_error(tiny, tmp_path: Path, data: st.DataObject) -> None:
    """Cut or flipped anywhere, a file is read or refused with SourceError: never a traceback."""
    path = tmp_path / "m.safetensors"
    values = np.ones((4, 3), dtype=np.float32)
    tiny.safetensors(path, {n: ("F32", [4, 3], values.tobytes()) for n in ("a", "b")})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    file = RowFile(path)
    try:
        for name, tensor in read_header(file).items():
            file.read(name, tensor, 0, None)
    except SourceError as error:
        tiny.line(error)
    finally:
        file.close()


def test_a_value_that_is_not_finite_is_refused(tiny, tmp_path: Path) -> None:
    """A fine-tune that overflowed would be quantised into noise."""
    values = np.array([[1.0, np.inf]], dtype=np.float32)
    path = tmp_path / "m.safetensors"
    tiny.safetensors(path, {"model.w": ("F32", [1, 2], values.tobytes())})
    file = RowFile(path)
    with pytest.raises(SourceError) as caught:
        file.read("model.w", read_header(file)["model.w"], 0, None)
    tiny.line(caught.value, "model.w", "not finite")


def test_a_file_that_shrinks_while_open_is_one_line(tiny, tmp_path: Path) -> None:
    """A download that is restarted under a running build must not give zeros."""
    path = tmp_path / "m.safetensors"
    tiny.safetensors(path, {"w": ("F32", [1000], np.ones(1000, np.float32).tobytes())})
    file = RowFile(path)
    tensor = read_header(file)["w"]
    with path.open("r+b") as shrunk:
        shrunk.truncate(200)
    with pytest.raises(SourceError) as caught:
        file.read("w", tensor, 0, None)
    tiny.line(caught.value, "truncated")
