"""The Android engine over a Java layer that runs the real onnxruntime: bit for bit what the ONNX engine gives."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat
from edge.errors import BundleError, InputError, MissingToolError, ResourceError
from edge.runtime import java as java_module
from edge.runtime.android_engine import ArmOrtJavaEngine, OrtJavaEngine, open_java_engine
from edge.runtime.android_engine import java_engine as class_for
from edge.runtime.engine import ExactEngine, PrefixEngine
from edge.runtime.generate import Finished, TokenStep, generate
from edge.runtime.java import MOST_BUFFER_BYTES, Memory, PyJnius, available
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.sampling import Sampler, SamplerSettings
from tests.runtime.fake_java import Environment, FakeJava, JavaError, SessionOptions, SharedMemory, Tensor
from tests.tiny import CONFIGS, CONTEXT_TOKENS, engine, export, tiny_ids, tiny_source

INT8 = QuantFormat(8, 32, True)
IDS = tiny_ids(30)


def java_engine(folder: Path, java: FakeJava | None = None, context_tokens: int | None = None) -> OrtJavaEngine:
    return OrtJavaEngine(folder, threads=1, context_tokens=context_tokens, java=java or FakeJava())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model"), tiny_source(), INT8, head=INT8)


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[tuple[OnnxEngine, OrtJavaEngine]]:
    both = engine(folder), java_engine(folder)
    yield both
    for one in both:
        one.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_bit_for_bit_the_onnx_engine(tmp_path: Path, name: str) -> None:
    """Every family of the graph: another binding, shape or order of calls on Android would give other tokens."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(30, source.config)
    made = export(tmp_path / "m", source, INT8, head=INT8)
    wanted, read = engine(made), java_engine(made)
    for part, rows in ((ids[:1], (0,)), (ids[1:4], range(3)), (ids[4:20], ()), (ids[20:], (9, 0))):
        assert np.array_equal(read.forward(part, rows), wanted.forward(part, rows))
    assert (read.length, read.vocab_size, read.context_tokens) == (30, wanted.vocab_size, wanted.context_tokens)
    assert np.array_equal(read.held_ids, wanted.held_ids)
    wanted.close()
    read.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30), st.booleans()), min_size=1, max_size=8))
def test_any_order_of_append_and_rewind(
    pair: tuple[OnnxEngine, OrtJavaEngine], steps: list[tuple[int, int, bool]]
) -> None:
    """Drafts and prefix reuse rewind at will; both engines must forget and go on alike, exactly or not."""
    for one in pair:
        one.rewind(0)
    for count, back, exact in steps:
        at = pair[0].length
        ids = IDS[: min(count, CONTEXT_TOKENS - at)]
        if ids:
            found = [
                one.forward_exact(ids, (len(ids) - 1,)) if exact else one.forward(ids, range(len(ids))) for one in pair
            ]
            assert np.array_equal(*found)
        for one in pair:
            one.rewind(max(0, one.length - back))


def test_greedy_text_is_the_same(pair: tuple[OnnxEngine, OrtJavaEngine]) -> None:
    """The whole generation loop over the Java layer: the clinician reads the same words."""
    told = []
    for one in pair:
        one.rewind(0)
        steps = generate(one, IDS[:9], Sampler(SamplerSettings()), stop_ids=frozenset({2}), max_new_tokens=24)
        told.append(
            [step.token_id for step in steps if isinstance(step, TokenStep | Finished) and hasattr(step, "token_id")]
        )
    assert told[0] == told[1] != []


def test_last_place_of_the_context(pair: tuple[OnnxEngine, OrtJavaEngine]) -> None:
    """In the last place there is no room for the second row of an exact step: the token before is read again."""
    ids = tiny_ids(CONTEXT_TOKENS)
    for one in pair:
        one.rewind(0)
        one.forward_exact(ids[:-1], ())
    assert np.array_equal(*(one.forward_exact(ids[-1:], (0,)) for one in pair))
    for one in pair:
        with pytest.raises(InputError, match="do not fit"):
            one.forward(ids[:1], (0,))
        assert one.length == CONTEXT_TOKENS


def test_a_prefix_goes_from_one_engine_to_the_other(pair: tuple[OnnxEngine, OrtJavaEngine]) -> None:
    """What is kept of a task's own words must be laid out as everywhere else, and be exact when it comes back."""
    wanted, read = pair
    for one in pair:
        one.rewind(0)
        one.forward(IDS, (29,))
    assert read.prefix_shape(7) == wanted.prefix_shape(7)
    state = read.save_prefix(12)
    assert np.array_equal(state, wanted.save_prefix(12))
    assert read.save_prefix(0).shape == wanted.save_prefix(0).shape
    read.load_prefix(IDS[:12], state)
    wanted.load_prefix(IDS[:12], state.astype(np.float32))
    assert np.array_equal(read.forward(IDS[12:], range(18)), wanted.forward(IDS[12:], range(18)))
    with pytest.raises(ValueError, match="cannot save"):
        read.save_prefix(31)
    with pytest.raises(ValueError, match="is not one of"):
        read.load_prefix(IDS[:3], state)
    with pytest.raises(ValueError, match="cannot rewind"):
        read.rewind(31)


def test_it_is_every_kind_of_engine(pair: tuple[OnnxEngine, OrtJavaEngine]) -> None:
    """Drafts ask for exactness and the prefix cache for its methods; a saved state says which backend wrote it."""
    assert isinstance(pair[1], ExactEngine)
    assert isinstance(pair[1], PrefixEngine)
    assert pair[1].state_version.startswith("onnxruntime-java ")
    assert pair[1].state_version != pair[0].state_version


def test_logits_are_the_callers(pair: tuple[OnnxEngine, OrtJavaEngine]) -> None:
    """One buffer serves all single rows: a caller that keeps yesterday's logits must keep yesterday's."""
    read = pair[1]
    read.rewind(0)
    first = read.forward(IDS[:3], (2,))
    kept = first.copy()
    read.forward(IDS[3:9], (5,))
    assert np.array_equal(first, kept)
    first[:] = 0.0


def test_nothing_is_left_open(folder: Path) -> None:
    """Java's objects are not collected with Python's: a tensor left over a step is memory lost at every token."""
    Tensor.made.clear()
    read = java_engine(folder)
    kept = len(Tensor.made)
    read.forward(IDS[:4], range(4))
    read.forward(IDS[:1], (0,))
    assert sum(not tensor.closed for tensor in Tensor.made) == kept
    read.close()
    read.close()
    assert all(tensor.closed for tensor in Tensor.made)
    assert Environment.sessions[-1].closed
    assert SessionOptions.last is not None
    assert SessionOptions.last.closed


@pytest.mark.parametrize(
    ("api", "size", "shared"), [(None, 1 << 21, 0), (26, 1 << 21, 0), (27, 1 << 21, 1), (27, 64, 0)]
)
def test_the_cache_lies_outside_of_the_java_heap(api: int | None, size: int, shared: int) -> None:
    """Direct buffers of Android's java.nio count against the app's heap: a cache of 256 MB would not fit there."""
    memory = Memory(FakeJava(api), "cache", size)
    assert len(SharedMemory.mapped) == shared
    memory.write(8, b"12345678")
    assert memory.read(8, 8) == b"12345678"
    memory.close()
    memory.close()
    assert not SharedMemory.mapped


def test_an_engine_with_its_cache_in_shared_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tokens from there, and all of it is given back."""
    monkeypatch.setattr(java_module, "SHARED_FROM_BYTES", 1)
    read, wanted = java_engine(folder), engine(folder)
    assert any(name.startswith("edge-cache.") for name in SharedMemory.mapped.values())
    assert np.array_equal(read.forward(IDS, (29, 3)), wanted.forward(IDS, (29, 3)))
    read.close()
    wanted.close()
    assert not SharedMemory.mapped


def test_a_smaller_context_is_honoured(folder: Path) -> None:
    """A profile may ask for less than the model was built for, and never gets more."""
    small, large = java_engine(folder, context_tokens=16), java_engine(folder, context_tokens=4096)
    assert (small.context_tokens, large.context_tokens) == (16, CONTEXT_TOKENS)
    small.close()
    large.close()


def test_a_broken_model_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Java's exceptions come with a stack of lines; the person at the bedside sees one."""
    with pytest.raises(BundleError, match="does not load") as told:
        java_engine(tmp_path / "nowhere")
    assert "\n" not in str(told.value)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="does not load"):
        java_engine(broken)


def test_a_step_that_fails_changes_nothing(folder: Path) -> None:
    """After a failed step the conversation goes on where it was, and no Java object is left behind."""
    read = java_engine(folder)
    read.forward(IDS[:5], (4,))
    session = Environment.sessions[-1]

    def fail(text: str) -> None:
        def raise_it(_run: int) -> None:
            raise JavaError(text)

        session.fail = raise_it

    fail("OrtException: something\nat line 3")
    with pytest.raises(ResourceError, match=r"the engine failed \(OrtException: something\)"):
        read.forward(IDS[5:9], range(4))
    fail("std::bad_alloc")
    with pytest.raises(ResourceError, match="not enough free memory"):
        read.forward(IDS[5:9], range(4))
    session.fail = lambda _: None
    assert read.length == 5
    again = read.forward(IDS[5:9], range(4))
    wanted = engine(folder)
    wanted.forward(IDS[:5], (4,))
    assert np.array_equal(again, wanted.forward(IDS[5:9], range(4)))
    read.close()
    wanted.close()


def test_without_the_library_it_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app built without the Gradle dependency, or this code outside of Android: one line, exit code 10."""
    with pytest.raises(MissingToolError, match="gradle_dependencies"):
        java_engine(folder, FakeJava(without=("ai.onnxruntime.OrtEnvironment",)))
    monkeypatch.setitem(sys.modules, "jnius", None)
    assert not available()
    with pytest.raises(MissingToolError, match="pyjnius"):
        open_java_engine(folder, 1, None)


def test_pyjnius_is_asked_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """autoclass by name, cast by name and object, bytes of a ByteArray."""
    fake = SimpleNamespace(autoclass=lambda name: f"class {name}", cast=lambda name, value: (name, value))
    monkeypatch.setitem(sys.modules, "jnius", fake)
    java = PyJnius()
    assert available()
    assert java.find("a.B") == "class a.B"
    assert java.cast("a.B", 1) == ("a.B", 1)
    assert java.to_bytes(SimpleNamespace(tostring=lambda: b"xy")) == b"xy"


def test_memory_has_ends() -> None:
    """A read past the end would be another request's words; more than an int of bytes is refused before Java is."""
    memory = Memory(FakeJava(), "m", 8)
    memory.write(4, b"abcd")
    assert memory.read(2, 6) == b"\0\0abcd"
    for at, count in ((-1, 2), (5, 4), (0, 9)):
        with pytest.raises(ValueError, match="outside"):
            memory.read(at, count)
    for size in (0, MOST_BUFFER_BYTES + 1):
        with pytest.raises(ResourceError):
            Memory(FakeJava(), "m", size)
    memory.close()


def test_no_promise_of_exact_steps_on_arm() -> None:
    """If not: drafts on a tablet could change an answer: its kernels are those of the ONNX engine on Arm."""
    assert class_for("x86_64") is OrtJavaEngine
    assert class_for("aarch64") is ArmOrtJavaEngine
    assert ArmOrtJavaEngine.forward_exact is None
