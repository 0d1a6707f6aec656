"""Target and quantisation in mlc_llm's words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge.build.mlc_llm.choices import aim_of, check_decoder, mode_of
from edge.errors import SpecError
from edge.specs.profile import Quantisation
from edge.specs.target import Accelerator, load_target, target_names
from tests.tiny import BASE

TARGETS = Path(__file__).parents[3] / "targets"


def aim(name: str, *accelerators: Accelerator, host: str = "x86_64") -> object:
    target = load_target(name, folder=TARGETS)
    if accelerators:
        target = target.model_copy(update={"accelerators": accelerators})
    return aim_of(target, "p.yaml", host)


def test_every_target_of_the_repository_has_an_aim() -> None:
    """If it fails, a profile for one of our targets ends in an error that is no answer."""
    kinds = {name: aim_of(load_target(name, folder=TARGETS), "p", "x86_64").kind for name in target_names(TARGETS)}
    assert kinds["android-arm64"] == "android"
    assert kinds["browser"] == "webgpu"
    assert kinds["jetson-orin-nano"] == kinds["jetson-agx-orin"] == "cuda"
    assert kinds["raspberry-pi-4"] == kinds["raspberry-pi-5"] == kinds["x86_64-linux"] == "cpu"


def test_presets_follow_the_accelerator() -> None:
    """If it fails, a device with its own preset gets the general one, or the other way round."""
    adreno = Accelerator(kind="gpu", name="Qualcomm Adreno 740")
    assert aim("android-arm64", adreno).device == "android:adreno"  # type: ignore[attr-defined]
    vulkan = aim("raspberry-pi-5", Accelerator(kind="gpu", name="VideoCore VII (Vulkan 1.3)"))
    assert (vulkan.device, vulkan.host) == ("vulkan:generic", "aarch64-linux-gnu")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano", "x86_64-linux"])
def test_a_json_target_is_not_taken_for_a_device(name: str) -> None:
    """If it fails, `--device` with one colon and no space is read as `kind:number` of a device of the build host."""
    device = aim(name).device  # type: ignore[attr-defined]
    assert json.loads(device)["kind"] in ("llvm", "cuda")
    assert device.count(":") > 1


def test_features_of_the_level() -> None:
    """If it fails, a Raspberry Pi 4 gets instructions that it does not have."""
    four, five = (json.loads(aim(f"raspberry-pi-{n}").device) for n in (4, 5))  # type: ignore[attr-defined]
    assert four["mcpu"] == "cortex-a72"
    assert "+dotprod" not in four.get("mattr", [])
    assert "+dotprod" in five["mattr"]


def test_a_linker_is_asked_for_only_across_architectures() -> None:
    """If it fails, a native build asks for a cross compiler, or a cross build links with the host's."""
    assert [name for name, _ in aim("raspberry-pi-5").needs] == ["aarch64-linux-gnu-g++"]  # type: ignore[attr-defined]
    assert aim("raspberry-pi-5", host="aarch64").needs == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("scheme", "target", "mode"),
    [
        ("int4", "android-arm64", "q4f16_1"),
        ("int4", "browser", "q4f32_1"),
        ("int4", "raspberry-pi-5", "q4f32_1"),
        ("none", "jetson-orin-nano", "q0f16"),
        ("none", "x86_64-linux", "q0f32"),
    ],
)
def test_modes(scheme: str, target: str, mode: str) -> None:
    """If it fails, a device computes in a precision that it does not have."""
    quantisation = Quantisation(scheme=scheme, head_bits=4)  # type: ignore[arg-type]
    assert mode_of(quantisation, aim(target), "p").name == mode  # type: ignore[arg-type]


def test_mixed_and_gptq_have_no_counterpart() -> None:
    """If it fails, a calibrated build is replaced by a plain one in silence."""
    mixed = Quantisation(scheme="mixed", int8_layers=(0,), head_bits=4)
    gptq = Quantisation(scheme="int4", head_bits=4).model_copy(update={"rounding": "gptq"})
    for quantisation, words in ((mixed, "scheme 'mixed'"), (gptq, "rounding 'gptq'")):
        with pytest.raises(SpecError, match=words):
            mode_of(quantisation, aim("android-arm64"), "p")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        replace(BASE, family="gpt_oss"),
        replace(BASE, experts=4, experts_per_token=2),
        replace(BASE, family="mistral"),
        replace(BASE, attention_bias=True),
        replace(BASE, family="qwen2", attention_bias=True, head_dim=32),
    ],
)
def test_decoders_that_it_has_not(config: object) -> None:
    """If it fails, mlc_llm drops a bias or a tied head and the library computes another model."""
    with pytest.raises(SpecError, match="mlc_llm has no"):
        check_decoder(config, 64, "p")  # type: ignore[arg-type]


def test_a_window_that_no_position_reaches_is_none() -> None:
    """If it fails, Mistral models cannot be built at all."""
    check_decoder(replace(BASE, family="mistral", tie_embeddings=False, sliding_window=64), 64, "p")


@pytest.mark.slow
def test_tvm_itself_reads_the_targets() -> None:
    """If it fails, `mlc_llm compile --device` refuses the JSON (it hands the text to TVM's Target as it is)."""
    tvm = pytest.importorskip("tvm.target", reason="apache-tvm is not installed")
    for name in ("raspberry-pi-4", "raspberry-pi-5", "x86_64-linux", "jetson-orin-nano"):
        asked = aim(name)
        target = tvm.Target(asked.device)  # type: ignore[attr-defined]
        assert target.host is None  # so that --host counts
        assert target.kind.name == json.loads(asked.device)["kind"]  # type: ignore[attr-defined]
    arm = tvm.Target(aim("raspberry-pi-5").device).export()  # type: ignore[attr-defined]
    assert (arm["mcpu"], arm["feature.has_dotprod"]) == ("cortex-a76", True)
