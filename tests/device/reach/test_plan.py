"""What to copy: after a plan was carried out, a device has exactly the wanted files, and nothing twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.device.reach import plan as planner
from edge.device.reach.board import RefusedError, Store
from edge.device.reach.plan import Listing, LocalFile, check_space, local_files, part_name, plan_copy, requests
from edge.errors import ResourceError

NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "attestations/x.json"])
CONTENT = st.binary(max_size=30)
TREE = st.dictionaries(NAMES, CONTENT, max_size=5)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wanted_files(tree: Mapping[str, bytes]) -> dict[str, LocalFile]:
    return {name: LocalFile(Path("/x"), sha(data), len(data)) for name, data in tree.items()}


@settings(max_examples=150, deadline=None)
@given(
    wanted=TREE,
    there=TREE,
    begun=st.lists(st.tuples(CONTENT, st.integers(0, 30)), max_size=2),
    piece=st.integers(1, 20),
)
def test_a_plan_leads_to_the_wanted_files(
    wanted: dict[str, bytes], there: dict[str, bytes], begun: list[tuple[bytes, int]], piece: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """If it fails, a device ends with other files than the bundle has, or gets what it has once more."""
    store = Store(str(tmp_path_factory.mktemp("board")))
    top = store.path("x")
    for name, data in there.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    top.mkdir(parents=True, exist_ok=True)
    for data, length in begun:
        (top / part_name(sha(data))).write_bytes(data[:length])
    raw = store.listing("x")
    listing = Listing({name: (one[0], one[1]) for name, one in raw["files"].items()}, raw["parts"], tuple(raw["odd"]))
    files = wanted_files(wanted)
    plan = plan_copy(files, listing, keep=("attestations/",))
    before, planner.PIECE_BYTES = planner.PIECE_BYTES, piece
    try:
        store.remove("x", list(plan.remove))
        sent = 0
        for group in requests(plan, files):
            data = b"".join(wanted[one.name][one.offset : one.offset + one.length] for one in group)
            assert len(data) <= piece
            pieces = [
                {
                    "name": one.name,
                    "sha256": one.sha256,
                    "size": one.size_bytes,
                    "offset": one.offset,
                    "length": one.length,
                }
                for one in group
            ]
            store.put("x", pieces, data)
            sent += len(data)
    finally:
        planner.PIECE_BYTES = before
    found = store.listing("x")
    kept = {name: data for name, data in there.items() if name.startswith("attestations/")}
    assert {name: one[0] for name, one in found["files"].items()} == {
        name: sha(data) for name, data in (kept | wanted).items()
    }
    assert (found["parts"], found["odd"]) == ({}, [])
    assert sent == plan.send_bytes
    again = plan_copy(files, Listing({name: (one[0], one[1]) for name, one in found["files"].items()}, {}))
    assert not again.send


def test_space() -> None:
    """If it fails, a copy that cannot fit is begun, or one that needs nothing is refused on a full device."""
    plan = plan_copy(wanted_files({"a": b"x" * 1000}), Listing({}, {}))
    check_space(plan, planner.SPARE_BYTES + 1000, "board")
    with pytest.raises(ResourceError, match="nothing was copied"):
        check_space(plan, planner.SPARE_BYTES + 999, "board")
    check_space(plan_copy({}, Listing({}, {})), 0, "board")


def test_local_files(tmp_path: Path) -> None:
    """If it fails, compiled Python of this machine is sent, or a file is missed."""
    (tmp_path / "a/__pycache__").mkdir(parents=True)
    (tmp_path / "a/__pycache__/x.pyc").write_bytes(b"x")
    (tmp_path / "a/b").write_bytes(b"b")
    assert {name: file.sha256 for name, file in local_files(tmp_path).items()} == {"a/b": sha(b"b")}


# ---- the far side's disk -----------------------------------------------------------------------------------------


def piece(data: bytes, **changes: object) -> list[dict[str, object]]:
    return [{"name": "a", "sha256": sha(data), "size": len(data), "offset": 0, "length": len(data)} | changes]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a//b"])
def test_no_path_leaves_the_folder(tmp_path: Path, name: str) -> None:
    """If it fails, a bundle's file name writes anywhere on the device."""
    store = Store(str(tmp_path / "board"))
    for do in (
        lambda: store.put("x", piece(b"1", name=name), b"1"),
        lambda: store.read(name, 9),
        lambda: store.remove("x", [name]),
    ):
        with pytest.raises(RefusedError, match="leaves edge's folder"):
            do()


def test_a_wrong_digest_leaves_nothing(tmp_path: Path) -> None:
    """If it fails, a file that was changed on its way counts on the device."""
    store = Store(str(tmp_path / "board"))
    with pytest.raises(RefusedError, match="reads back other"):
        store.put("x", piece(b"1", sha256=sha(b"2")), b"1")
    assert store.listing("x") == {"files": {}, "parts": {}, "odd": []}


def test_a_disk_error_removes_the_part(tmp_path: Path) -> None:
    """If it fails, a device that is full stays full of what nobody can use."""
    store = Store(str(tmp_path / "board"))
    (store.root / "x/a").mkdir(parents=True)  # a folder where the file shall be
    with pytest.raises(RefusedError):
        store.put("x", piece(b"1"), b"1")
    assert not list(store.root.rglob("*.part"))


def test_free_space_is_that_of_the_folder_to_be(tmp_path: Path) -> None:
    """If it fails, the space of another disk is compared."""
    asked: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        asked.append(path)
        return os.statvfs_result((4096, 4096, 0, 0, 10, 0, 0, 0, 0, 255))

    assert Store(str(tmp_path / "not/yet"), statvfs).free_bytes() == 40960
    assert asked == [tmp_path]


def test_links_are_odd(tmp_path: Path) -> None:
    """If it fails, a link on the device is written through."""
    store = Store(str(tmp_path / "board"))
    (store.root / "x").mkdir(parents=True)
    (store.root / "x/l").symlink_to("/etc")
    (store.root / "x/m").symlink_to("/etc/passwd")
    assert sorted(store.listing("x")["odd"]) == ["l", "m"]
    store.remove("x", ["l", "m"])
    assert Path("/etc/passwd").exists()
