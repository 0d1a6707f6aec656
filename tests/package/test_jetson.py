"""CPU or GPU on a Jetson. When these fail, a board runs code for another GPU, or a stale compiled engine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError, InputError, SourceError, SpecError
from edge.package import jetson
from edge.package.jetson import CPU, CUDA, TENSORRT, BundleNeeds, EngineKey, Wheel

TABLE = jetson.load_table()
# First lines as boards print them.
R36 = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37"
R35 = "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35"
PACKAGE = """Package: nvidia-jetpack
Version: 5.1.2-b104
Architecture: arm64
Depends: nvidia-jetpack-runtime (= 5.1.2-b104), nvidia-jetpack-dev (= 5.1.2-b104)
"""
NEEDS = BundleNeeds("onnxruntime", "1.31.1", "int4", "d" * 64)
BOARD = jetson.jetpack_named(R36, TABLE)


def own(**changes: object) -> Wheel:
    """A wheel that an engineer built for the board."""
    wheel = jetson.wheel_of("onnxruntime_gpu-1.31.1-cp311-cp311-linux_aarch64.whl", cuda="12.6", sm=[87])
    return dataclasses.replace(wheel, **changes)  # type: ignore[arg-type]


def test_what_boards_say() -> None:
    """If not: the wheel of another JetPack is chosen."""
    assert jetson.parse_tegra_release(R36) == (36, 4, 3)
    assert jetson.parse_tegra_release("# R36 (release), REVISION: 3, GCID: 1") == (36, 3)
    assert jetson.parse_jetpack_package(PACKAGE) == (5, 1, 2)
    both = "Package: nvidia-jetpack\nVersion: 6.1+b123\n\nPackage: nvidia-jetpack\nVersion: 6.2+b77\n"
    assert jetson.parse_jetpack_package(both) == (6, 2)
    assert BOARD.jetpack == (6, 2)
    assert jetson.jetpack_named(R35, TABLE).jetpack == (5, 1, 2)
    assert jetson.jetpack_named("6.2", TABLE) == BOARD
    assert jetson.jetpack_named(PACKAGE, TABLE).jetpack == (5, 1, 2)


def test_a_point_release_that_is_not_listed() -> None:
    """If not: each new point release of NVIDIA's stops the packager, or passes for a release to come."""
    assert jetson.jetpack_for((36, 4, 7), TABLE).jetpack == (6, 2)
    assert jetson.jetpack_named("6.2.1", TABLE).jetpack == (6, 2)
    for unknown in ((32, 7, 1), (38, 2), (36, 1)):
        with pytest.raises(InputError, match="is not known"):
            jetson.jetpack_for(unknown, TABLE)
    with pytest.raises(InputError, match=r"JetPack 7\.1 is not known"):
        jetson.jetpack_named("7.1", TABLE)


@given(st.text(max_size=80))
def test_other_texts(text: str) -> None:
    """If not: a wrong file is a traceback."""
    for read in (jetson.parse_tegra_release, jetson.parse_jetpack_package):
        with pytest.raises(InputError):
            read(text)
    try:
        jetson.jetpack_named(text, TABLE)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


def test_the_registry_s_wheel_is_not_for_orin() -> None:
    """If not: the engine loads and the first kernel fails: there is no code for sm_87 in it."""
    name = "onnxruntime_gpu-1.31.1-cp311-cp311-manylinux_2_34_aarch64.whl"
    row = jetson.matches(name, TABLE)
    assert row is not None and 87 not in row.sm
    wheel = jetson.wheel_of(name, cuda="13", sm=row.sm)
    why = jetson.refusals(wheel, BOARD, NEEDS)
    assert any("sm_89, sm_90, sm_120, sm_121, the board is sm_87" in line for line in why)
    assert any("CUDA 13" in line for line in why)


def test_what_is_chosen_today() -> None:
    """If not: a Jetson is promised a GPU that no wheel of JetPack gives to this Python and this ONNX Runtime."""
    for board in TABLE.jetpacks:
        choice = jetson.choose(board, NEEDS, TABLE)
        assert choice.providers == (CPU,) and choice.wheel == ""
        assert len(choice.reasons) == len(TABLE.wheels)
    text = "\n".join(jetson.choose(BOARD, NEEDS, TABLE).reasons)
    assert "it is for Python 3.10, edge needs 3.11" in text
    assert "it is ONNX Runtime 1.23.0, the bundle was made and verified with 1.31.1" in text


def test_a_wheel_that_fits() -> None:
    """If not: the GPU is never used, whatever the engineer brings."""
    choice = jetson.choose(BOARD, NEEDS, TABLE, own=[own()])
    assert choice.providers == (CUDA, CPU)
    assert choice.wheel == "onnxruntime_gpu-1.31.1-cp311-cp311-linux_aarch64.whl"
    assert any("TensorRT" in line for line in choice.reasons)
    plain = jetson.choose(BOARD, dataclasses.replace(NEEDS, scheme="none"), TABLE, own=[own()])
    assert plain.providers == (TENSORRT, CUDA, CPU)
    assert json.loads(json.dumps(plain.to_json()))["options"][TENSORRT] == {"trt_engine_cache_enable": "1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sm": (72, 86)}, "the board is sm_87"), ({"sm": ()}, "sm_nothing"), ({"arch": "x86_64"}, "it is for x86_64"),
        ({"python": (3, 10)}, "Python 3.10"), ({"release": "1.23.0"}, "ONNX Runtime 1.23.0"),
        ({"cuda": (12, 9)}, "needs CUDA 12.9"), ({"cuda": (13,)}, "needs CUDA 13"),
        ({"jetpack": (5,)}, "for JetPack 5"),
    ],
)  # fmt: skip
def test_each_reason_alone_is_enough(change: dict[str, object], words: str) -> None:
    """If not: one mistake in a wheel passes, and the board shows it first."""
    (reason,) = jetson.refusals(own(**change), BOARD, NEEDS)
    assert words in reason
    assert jetson.choose(BOARD, NEEDS, TABLE, own=[own(**change)]).providers == (CPU,)


def test_other_engines() -> None:
    """If not: a tvm bundle gets providers that its engine does not know."""
    choice = jetson.choose(BOARD, dataclasses.replace(NEEDS, engine="tvm"), TABLE, own=[own()])
    assert choice.providers == (CPU,) and "engine tvm" in choice.reasons[0]


@pytest.mark.parametrize("name", ["onnxruntime-1.31.1-cp311-cp311-linux_aarch64.whl", "x.whl", "../x.whl", ""])
def test_files_that_are_no_gpu_wheel(name: str) -> None:
    """If not: the CPU's wheel is offered as the GPU's."""
    with pytest.raises(SourceError):
        jetson.wheel_of(name, cuda="12.6", sm=[87])


@pytest.mark.parametrize("text", ["", "[]", "version: 2", "version: 1\njetpacks: [{}]\nwheels: []", "a: [", "x"])
def test_broken_tables(text: str) -> None:
    """If not: a slip in the table is a traceback on a build host."""
    with pytest.raises(SpecError):
        jetson.load_table(text)


def test_every_number_has_a_source() -> None:
    """If not: the table says what nobody knows, and names an index that may be another's tomorrow."""
    text = (Path(jetson.__file__).parent / "jetson.yaml").read_text(encoding="utf-8")
    assert "sources:" in text and "http" not in text and "pypi" not in text


KEY = EngineKey("36.4.3", "10.3.0", "Orin sm_87", "a" * 64)


def test_compiled_engines_of_another_world_go(tmp_path: Path) -> None:
    """If not: after an update of JetPack the board runs an engine that was compiled for the one before."""
    place = jetson.engine_cache(tmp_path, KEY)
    (place / "graph.engine").write_bytes(b"compiled")
    assert jetson.engine_cache(tmp_path, KEY) == place and (place / "graph.engine").exists()
    other = jetson.engine_cache(tmp_path, dataclasses.replace(KEY, bundle_digest="b" * 64))
    assert other != place and (place / "graph.engine").exists(), "another bundle's engines are good still"
    for change in ({"l4t": "36.4.4"}, {"tensorrt": "10.7"}, {"gpu": "Thor sm_110"}):
        (jetson.engine_cache(tmp_path, KEY) / "graph.engine").write_bytes(b"compiled")
        new = jetson.engine_cache(tmp_path, dataclasses.replace(KEY, **change))
        assert not list(new.glob("*.engine")) and not place.exists()
        assert other.exists()


def test_a_cache_of_a_killed_run(tmp_path: Path) -> None:
    """If not: an engine that is cut short is loaded."""
    place = jetson.engine_cache(tmp_path, KEY)
    (place / "graph.engine").write_bytes(b"comp")
    (place / "key.json").write_text('{"l4t": "36')
    assert not (jetson.engine_cache(tmp_path, KEY) / "graph.engine").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError):
        jetson.engine_cache(tmp_path / "file", KEY)
