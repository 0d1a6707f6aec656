"""The weights file: aligned, in order, the same bytes however it is chunked, and honest about a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.build.weights_file import ALIGNMENT_BYTES, WeightsFile
from edge.errors import ResourceError


def test_tensors_lie_where_the_list_says(tmp_path: Path) -> None:
    """The graph points into the file by these offsets: one byte off and every weight is another."""
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.arange(12, dtype=np.float32).reshape(3, 4),
        "c": np.arange(ALIGNMENT_BYTES, dtype=np.uint8),
        "d": np.array(7, dtype=np.int64),
        "e": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    }
    with WeightsFile(tmp_path / "w") as file:
        for name, array in arrays.items():
            file.append(name, array)
    data = (tmp_path / "w").read_bytes()
    covered = np.zeros(len(data), dtype=bool)
    for name, stored in file.tensors.items():
        assert stored.offset_bytes % ALIGNMENT_BYTES == 0
        part = data[stored.offset_bytes : stored.offset_bytes + stored.size_bytes]
        assert np.array_equal(np.frombuffer(part, stored.dtype).reshape(stored.shape), arrays[name])
        covered[stored.offset_bytes : stored.offset_bytes + stored.size_bytes] = True
    assert not any(byte for byte, used in zip(data, covered, strict=True) if not used)
    assert list(file.tensors) == list(arrays)


def test_chunks_make_the_same_file(tmp_path: Path) -> None:
    """Memory is bounded by writing in chunks; the file must not tell how many there were."""
    array = np.random.default_rng(0).standard_normal((10, 7)).astype(np.float32)
    with WeightsFile(tmp_path / "whole") as file:
        file.append("x", array)
    with WeightsFile(tmp_path / "parts") as file:
        file.append_chunks("x", array.dtype, array.shape, (array[start : start + 3] for start in range(0, 10, 3)))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_a_host_of_the_other_byte_order_writes_the_same(tmp_path: Path) -> None:
    """The file is little-endian wherever it is built."""
    array = np.arange(4, dtype=np.float32)
    for name, values in (("little", array), ("big", array.astype(">f4"))):
        with WeightsFile(tmp_path / name) as file:
            file.append("x", values)
    assert (tmp_path / "little").read_bytes() == (tmp_path / "big").read_bytes()


def test_a_tensor_of_another_size_than_promised(tmp_path: Path) -> None:
    """A missing chunk would shift nothing and be found by nobody."""
    with pytest.raises(ValueError, match="wrote 8 bytes of a 16-byte tensor"), WeightsFile(tmp_path / "w") as file:
        file.append_chunks("x", np.dtype(np.float32), (4,), [np.zeros(2, np.float32)])


def test_never_over_an_existing_file(tmp_path: Path) -> None:
    """Two builds in one staging folder would weave their weights together."""
    (tmp_path / "w").write_bytes(b"old")
    with pytest.raises(ResourceError):
        WeightsFile(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == b"old"
    with pytest.raises(ResourceError, match="No such file"):
        WeightsFile(tmp_path / "none" / "w")


def test_a_full_disk_that_shows_only_at_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems may promise space and fail later: the build must not go on with a short file."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no space left"), WeightsFile(tmp_path / "w") as file:
        file.append("x", np.zeros(3))
    assert file._file.closed


def test_a_limit_of_the_system_in_the_middle_of_a_tensor(tmp_path: Path) -> None:
    """A real short write (RLIMIT_FSIZE): one error of ours, in a tensor and in what was still buffered."""
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from edge.build.weights_file import WeightsFile\n"
        "from edge.errors import ResourceError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "for count in (30_000, 10_000_000):\n"
        "    try:\n"
        "        with WeightsFile(Path(sys.argv[1]) / str(count)) as file:\n"
        "            file.append('x', np.zeros(count, np.float32))\n"
        "    except ResourceError as error:\n"
        "        print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert result.stdout.count("File too large; check the path and the disk.") == 2
    assert result.stderr == ""
