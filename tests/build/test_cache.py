"""The build cache: content-keyed, atomic, self-checking, safe for several runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build.cache import Cache, cache_root
from edge.errors import ExitStatus, ResourceError

SPEC = {"source": "x", "sha256": "ab"}


def put(cache: Cache, content: bytes = b"data", spec: dict[str, object] = SPEC) -> Path:
    def fill(stage: Path) -> dict[str, object]:
        (stage / "model").write_bytes(content)
        return spec

    return cache.store("kind", fill).path("model")


def test_what_is_stored_is_found(tmp_path: Path) -> None:
    """And only by exactly its spec and kind."""
    cache = Cache(tmp_path / "cache")
    assert cache.find("kind", SPEC) is None
    put(cache)
    entry = cache.find("kind", SPEC)
    assert entry is not None
    assert entry.path("model").read_bytes() == b"data"
    assert cache.find("other", SPEC) is None
    assert cache.find("kind", SPEC | {"sha256": "cd"}) is None


plain = st.dictionaries(
    st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.text(max_size=4), max_size=4
)


@given(plain, plain)
def test_two_specs_share_a_key_only_if_they_are_equal(one: dict[str, object], two: dict[str, object]) -> None:
    """Two models under one key would put one model's weights into the other's bundle."""
    cache = Cache(Path("unused"))
    same = [(k, type(v), v) for k, v in sorted(one.items())] == [(k, type(v), v) for k, v in sorted(two.items())]
    assert (cache.key("kind", one) == cache.key("kind", two)) is same
    assert cache.key("kind", one) == cache.key("kind", dict(reversed(one.items())))


@pytest.mark.parametrize("damage", ["change", "truncate", "remove", "record", "rename"])
def test_a_damaged_entry_counts_as_absent_and_is_replaced(tmp_path: Path, damage: str) -> None:
    """A disk that lost bytes must not end in a bundle."""
    cache = Cache(tmp_path)
    model = put(cache)
    record = model.parent / "entry.json"
    if damage == "change":
        model.write_bytes(b"dat4")
    elif damage == "truncate":
        model.write_bytes(b"da")
    elif damage == "remove":
        model.unlink()
    elif damage == "record":
        record.write_bytes(record.read_bytes()[:-9])
    else:  # a record that points out of its folder
        record.write_text(record.read_text().replace('"model"', '"../model"'))
    assert cache.find("kind", SPEC) is None
    put(cache)
    assert cache.find("kind", SPEC) is not None
    assert [path.name for path in (tmp_path / "kind").iterdir()] == [cache.key("kind", SPEC)]


def test_an_entry_of_another_spec_is_not_taken(tmp_path: Path) -> None:
    """A folder copied by hand under a wrong key."""
    cache = Cache(tmp_path)
    put(cache)
    other = SPEC | {"sha256": "cd"}
    (tmp_path / "kind" / cache.key("kind", SPEC)).rename(tmp_path / "kind" / cache.key("kind", other))
    assert cache.find("kind", other) is None


def test_the_first_of_two_runs_wins(tmp_path: Path) -> None:
    """Both fetched at once; neither sees a half entry, and the second drops its own."""
    cache = Cache(tmp_path)

    def fill(stage: Path) -> dict[str, object]:
        put(Cache(tmp_path))
        (stage / "model").write_bytes(b"data")
        return SPEC

    entry = cache.store("kind", fill)
    assert entry.path("model").read_bytes() == b"data"
    assert len(list((tmp_path / "kind").iterdir())) == 1


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    """Nor does Ctrl-C."""

    def fill(stage: Path) -> dict[str, object]:
        (stage / "model").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).store("kind", fill)
    assert list((tmp_path / "kind").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from edge.build.cache import Cache

def fill(stage):
    (stage / "model").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

Cache(Path(sys.argv[1])).store("kind", fill)
"""


def test_a_killed_run_leaves_no_entry_and_is_swept(tmp_path: Path) -> None:
    """Its gigabytes must not stay on the disk for ever; a live run's folder is left alone."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (stale,) = (tmp_path / "kind").iterdir()
    assert stale.name.endswith(".part")
    cache = Cache(tmp_path)
    assert cache.find("kind", SPEC) is None

    def fill(stage: Path) -> dict[str, object]:
        assert not stale.exists()
        put(Cache(tmp_path), spec=SPEC | {"sha256": "cd"})  # another run starts while this one works
        assert stage.exists()
        (stage / "model").write_bytes(b"data")
        return SPEC

    cache.store("kind", fill)
    assert len(list((tmp_path / "kind").iterdir())) == 2


def test_no_space_is_one_line(tmp_path: Path) -> None:
    """/dev/full is a disk without space."""

    def fill(stage: Path) -> dict[str, object]:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")
        return SPEC

    with pytest.raises(ResourceError) as caught:
        Cache(tmp_path).store("kind", fill)
    assert caught.value.status is ExitStatus.RESOURCE
    assert "no space left" in str(caught.value)
    assert list((tmp_path / "kind").iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError) as caught:
        put(Cache(tmp_path / "file"))
    assert len(str(caught.value).splitlines()) == 1


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """A filled cache may lie on a read-only disk, and a missing one must not appear."""
    cache = Cache(tmp_path / "cache")
    assert cache.find("kind", SPEC) is None
    assert list(tmp_path.iterdir()) == []
    put(cache)

    def state() -> list[tuple[str, int]]:
        return [(str(path), path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]

    before = state()
    assert cache.find("kind", SPEC) is not None
    assert state() == before


def test_the_root_is_chosen_by_the_environment(tmp_path: Path) -> None:
    """The guard test and read-only installs depend on it."""
    assert cache_root({"EDGE_CACHE": str(tmp_path)}) == tmp_path
    assert cache_root({}).name == "edge"
