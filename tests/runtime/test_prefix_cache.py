"""Prefixes on disk: bit for bit what reading gives, and never anything else."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.prefix_cache import PrefixCache, PublicPrefix, default_folder
from tests.runtime.scripted import ScriptedEngine
from tests.tiny import engine, export, tiny_ids, tiny_source

BEHAVIOUR = "ab" * 32
INT8 = QuantFormat(8, 32, True)
PUBLIC, PRIVATE = tiny_ids(24), tiny_ids(10, seed=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("m"), tiny_source(), INT8, head=INT8, accuracy_level=4)


@pytest.fixture(scope="module")
def shared(model: Path) -> Iterator[OnnxEngine]:
    loaded = engine(model)
    yield loaded
    loaded.close()


@pytest.fixture
def loaded(shared: OnnxEngine) -> OnnxEngine:
    shared.rewind(0)
    return shared


@pytest.fixture
def cache(tmp_path: Path) -> PrefixCache:
    return PrefixCache(tmp_path / "prefixes")


def fill(cache: PrefixCache, loaded: OnnxEngine, ids: list[int] = PUBLIC, behaviour: str = BEHAVIOUR) -> Path:
    loaded.rewind(0)
    loaded.forward_exact(ids, ())
    before = set(cache.folder.glob("*"))
    assert cache.store(loaded, behaviour, public_prefix_tokens=ids)
    loaded.rewind(0)
    (made,) = set(cache.folder.glob("*")) - before
    return made


def test_restored_is_as_read(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """The same note must come out, whether the instructions were read or fetched: equal bits, not nearly equal."""
    fill(cache, loaded)
    loaded.forward_exact(PUBLIC, ())
    read = loaded.forward_exact(PRIVATE, range(10))
    state = loaded.save_prefix(34)
    loaded.rewind(0)
    assert cache.restore(loaded, BEHAVIOUR, PUBLIC)
    assert list(loaded.held_ids) == PUBLIC
    assert np.array_equal(loaded.forward_exact(PRIVATE, range(10)), read)
    assert np.array_equal(loaded.save_prefix(34), state)


def test_only_what_was_declared_public_is_written(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """Keys and values of a visit give the visit away: the file must be exactly as long as the public part."""
    loaded.forward_exact([*PUBLIC, *PRIVATE], ())
    assert cache.store(loaded, BEHAVIOUR, public_prefix_tokens=PUBLIC)
    (path,) = cache.folder.iterdir()
    head, _, rest = path.read_bytes().partition(b"\n")
    assert len(rest) == int(np.prod(loaded.prefix_shape(len(PUBLIC)))) * 4 + 32
    assert json.loads(head)["shape"] == list(loaded.prefix_shape(len(PUBLIC)))
    assert rest[:-32] == loaded.save_prefix(len(PUBLIC)).tobytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_declared_but_not_held_is_not_written(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """A caller that mixes up its tokens must not get another text's state stored under them."""
    loaded.forward_exact(PRIVATE, ())
    for ids in (PUBLIC, [*PRIVATE, 1], []):
        assert not cache.store(loaded, BEHAVIOUR, public_prefix_tokens=ids)
    assert not cache.folder.exists()


def test_unknown_leaves_the_engine_alone(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """Other tokens, another build: nothing is there, and what the engine holds stays."""
    fill(cache, loaded)
    loaded.forward_exact(PRIVATE, ())
    for behaviour, ids in (
        (BEHAVIOUR, PUBLIC[:-1]),
        (BEHAVIOUR, [*PUBLIC[:-1], 0]),
        ("cd" * 32, PUBLIC),
        (BEHAVIOUR, []),
    ):
        assert not cache.restore(loaded, behaviour, ids)
    assert list(loaded.held_ids) == PRIVATE
    assert len(list(cache.folder.iterdir())) == 1


def test_an_engine_without_prefixes(cache: PrefixCache) -> None:
    """Other engines work without it."""
    model = ScriptedEngine()
    model.forward(PUBLIC[:3], (0,))
    assert not cache.store(model, BEHAVIOUR, public_prefix_tokens=PUBLIC[:3])
    assert not cache.restore(model, BEHAVIOUR, PUBLIC[:3])
    assert not cache.keep(model, BEHAVIOUR, 3)


@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_never_used(
    tmp_path_factory: pytest.TempPathFactory, shared: OnnxEngine, data: st.DataObject
) -> None:
    """One flipped bit anywhere, any cut, anything appended: not used, and gone. The next run writes it anew."""
    cache = PrefixCache(tmp_path_factory.mktemp("p") / "prefixes")
    path = fill(cache, shared)
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["flip", "cut", "more", "empty"]))
    if kind == "flip":
        at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        path.write_bytes(whole[:at] + bytes((whole[at] ^ (1 << bit),)) + whole[at + 1 :])
    elif kind == "cut":
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        path.write_bytes(whole + b"x" if kind == "more" else b"")
    assert not cache.restore(shared, BEHAVIOUR, PUBLIC)
    assert shared.length == 0
    assert not path.exists()
    assert fill(cache, shared) == path
    assert path.read_bytes() == whole


def test_a_foreign_file_under_the_right_name(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """A file of another build, renamed or copied: whole in itself, and wrong."""
    mine, other = fill(cache, loaded), fill(cache, loaded, behaviour="cd" * 32)
    other.replace(mine)
    assert not cache.restore(loaded, BEHAVIOUR, PUBLIC)
    assert not mine.exists()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file(cache: PrefixCache, loaded: OnnxEngine, tmp_path: Path, kind: str) -> None:
    """A pipe would hang the start; a link would read what somebody else wrote."""
    path = fill(cache, loaded)
    elsewhere = path.rename(tmp_path / "elsewhere")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    assert not cache.restore(loaded, BEHAVIOUR, PUBLIC)
    assert elsewhere.exists()


def test_the_least_recently_used_goes_first(tmp_path: Path, loaded: OnnxEngine) -> None:
    """A small disk: the bound holds, and what is in use stays."""
    size = fill(PrefixCache(tmp_path / "probe"), loaded).stat().st_size
    cache = PrefixCache(tmp_path / "p", max_bytes=2 * size + 200)
    texts = [tiny_ids(24, seed=seed) for seed in range(3)]
    for age, ids in enumerate(texts[:2]):
        os.utime(fill(cache, loaded, ids), (1000 + age, 1000 + age))
    assert cache.restore(loaded, BEHAVIOUR, texts[0])
    fill(cache, loaded, texts[2])
    assert [cache.restore(loaded, BEHAVIOUR, ids) for ids in texts] == [True, False, True]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 2 * size + 200
    small = PrefixCache(tmp_path / "p", max_bytes=size // 2)
    loaded.rewind(0)
    loaded.forward_exact(PUBLIC, ())
    assert not small.store(loaded, BEHAVIOUR, public_prefix_tokens=PUBLIC)


def test_half_size_is_nearly_the_same(tmp_path: Path, loaded: OnnxEngine) -> None:
    """float16 is a choice: half the file, and kept apart from the exact one."""
    whole, half = PrefixCache(tmp_path / "p"), PrefixCache(tmp_path / "p", half=True)
    large, small = fill(whole, loaded).stat().st_size, fill(half, loaded).stat().st_size
    assert small < 0.6 * large
    logits = []
    for cache in (whole, half):
        assert cache.restore(loaded, BEHAVIOUR, PUBLIC)
        logits.append(loaded.forward_exact(PRIVATE, range(10)))
    assert logits[1] == pytest.approx(logits[0], abs=0.3)


def test_an_unwritable_place_is_no_error(tmp_path: Path, loaded: OnnxEngine) -> None:
    """A read-only system disk or a file in the way: the answer does not depend on the cache."""
    (tmp_path / "file").write_text("x")
    cache = PrefixCache(tmp_path / "file" / "prefixes")
    loaded.forward_exact(PUBLIC, ())
    assert not cache.store(loaded, BEHAVIOUR, public_prefix_tokens=PUBLIC)
    assert not cache.restore(loaded, BEHAVIOUR, PUBLIC)


def test_an_open_folder_is_closed_and_a_link_is_not_followed(tmp_path: Path, loaded: OnnxEngine) -> None:
    """Other users of the machine must not read or plant prefixes."""
    (tmp_path / "open").mkdir(mode=0o755)
    fill(PrefixCache(tmp_path / "open"), loaded)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "open")
    loaded.forward_exact(PRIVATE, ())
    assert not PrefixCache(tmp_path / "link").store(loaded, BEHAVIOUR, public_prefix_tokens=PRIVATE)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import edge.files
    from edge.runtime.prefix_cache import PrefixCache
    from tests.runtime.test_prefix_cache import BEHAVIOUR, PUBLIC
    from tests.tiny import engine

    folder, model, calls = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    loaded = engine(model)
    loaded.forward_exact(PUBLIC, ())
    seen = 0
    events = ("open", "os.rename", "os.chmod", "os.mkdir", "os.listdir", "os.scandir")
    def trace(event, arguments):
        # The writing's own system calls.
        global seen
        if event in events and str(folder) in str(arguments):
            seen += 1
            if seen == calls:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(trace)
    PrefixCache(folder).store(loaded, BEHAVIOUR, public_prefix_tokens=PUBLIC)
    print(seen)
"""


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5])
def test_kill_while_writing_leaves_nothing_wrong(tmp_path: Path, model: Path, loaded: OnnxEngine, calls: int) -> None:
    """Batteries run out: after a kill at any point there is a whole file or none, and litter is cleared later."""
    folder = tmp_path / "prefixes"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder), str(model), str(calls)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    cache = PrefixCache(folder)
    before = loaded.length
    if not cache.restore(loaded, BEHAVIOUR, PUBLIC):
        assert loaded.length == before
        loaded.forward_exact(PUBLIC, ())
        assert cache.store(loaded, BEHAVIOUR, public_prefix_tokens=PUBLIC)
        assert cache.restore(loaded, BEHAVIOUR, PUBLIC)
    for part in folder.glob(".*.part"):
        os.utime(part, (time.time() - 3600,) * 2)
    fill(cache, loaded, tiny_ids(8, seed=8))
    assert not list(folder.glob(".*.part"))
    assert len(list(folder.iterdir())) == 2


def test_private_ones_stay_in_memory(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """A pipeline that asks twice about one visit may keep its state, and nothing of it reaches the disk."""
    loaded.forward_exact([*PUBLIC, *PRIVATE], ())
    logits = loaded.forward_exact(PUBLIC[:3], (2,))
    assert cache.keep(loaded, BEHAVIOUR, 34)
    assert not cache.keep(loaded, BEHAVIOUR, 99)
    loaded.rewind(0)
    assert cache.restore(loaded, BEHAVIOUR, [*PUBLIC, *PRIVATE])
    assert np.array_equal(loaded.forward_exact(PUBLIC[:3], (2,)), logits)
    assert not cache.folder.exists()
    cache.forget()
    assert not cache.restore(loaded, BEHAVIOUR, [*PUBLIC, *PRIVATE])
    one = int(np.prod(loaded.prefix_shape(10))) * 4
    small = PrefixCache(cache.folder, memory_bytes=2 * one)
    texts = [tiny_ids(10, seed=seed) for seed in range(3)]
    for ids in texts:
        loaded.rewind(0)
        loaded.forward_exact(ids, ())
        assert small.keep(loaded, BEHAVIOUR, 10)
    assert [small.restore(loaded, BEHAVIOUR, ids) for ids in texts] == [False, True, True]
    loaded.forward_exact(texts[0], ())
    assert not small.keep(loaded, BEHAVIOUR, loaded.length + 0 if loaded.length > 20 else 21)


def test_a_prefix_that_was_restored_is_not_written_again(cache: PrefixCache, loaded: OnnxEngine) -> None:
    """Writing 23 MB after every answer would wear the disk."""
    path = fill(cache, loaded)
    prefix = PublicPrefix(cache, BEHAVIOUR, len(PUBLIC))
    assert prefix.restore(loaded, PUBLIC)
    path.unlink()
    prefix.store(loaded, [*PUBLIC, 1])
    assert not path.exists()
    fresh = PublicPrefix(cache, BEHAVIOUR, len(PUBLIC))
    assert not fresh.restore(loaded, PUBLIC)
    fresh.store(loaded, [*PUBLIC, 1])
    assert path.exists()


def test_the_place_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One variable moves all caches of edge."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    assert default_folder() == PrefixCache().folder == tmp_path / "prefixes"
    monkeypatch.delenv("EDGE_CACHE")
    assert default_folder().parts[-2:] == ("edge", "prefixes")


def test_states_that_do_not_fit(loaded: OnnxEngine) -> None:
    """Another model's state in this one's cache would be noise that reads like a note."""
    loaded.forward_exact(PUBLIC, ())
    state = loaded.save_prefix(24)
    assert state.shape == loaded.prefix_shape(24) == (4, 2, 24, 16)
    for wrong in (state[:2], state[:, :1], state[:, :, :5], state[..., :8]):
        with pytest.raises(ValueError, match="is not one of 24 tokens"):
            loaded.load_prefix(PUBLIC, wrong)
    for length in (-1, 25):
        with pytest.raises(ValueError, match="cannot save"):
            loaded.save_prefix(length)
    assert loaded.state_version.startswith("onnxruntime ")
