"""Targets: the shipped files, and what a wrong one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.errors import SpecError
from edge.specs.target import Target, load_target, target_names

FOLDER = Path(__file__).parents[2] / "targets"
SHIPPED = (
    "android-arm64",
    "browser",
    "jetson-agx-orin",
    "jetson-orin-nano",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "x86_64-linux",
)


def changed(folder: Path, old: str, new: str, name: str = "raspberry-pi-5") -> Path:
    """A copy of a shipped target with one line changed."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = folder / f"{name}.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_all_targets_are_there() -> None:
    """A target that issue 2 names must not get lost."""
    assert target_names(FOLDER) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_number_has_a_source(name: str) -> None:
    """A number without a source is an invention: each one must be claimed, and guesses must say so."""
    target = load_target(name, folder=FOLDER)
    claims = {claim.strip() for source in target.sources for claim in source.claim.split(",")}
    wanted = {"cpu", "cores", "isa", "memory_bytes", "memory_reserved_bytes", "memory_bandwidth_bytes_per_s"}
    if target.compute_flops_per_s is not None:
        wanted.add("compute_flops_per_s")
    assert wanted <= claims
    assert claims <= set(Target.model_fields)


@pytest.mark.parametrize("name", SHIPPED)
def test_resolved_round_trips(name: str) -> None:
    """What a manifest carries must be the same target again, and the same bytes every time."""
    target = load_target(name, folder=FOLDER)
    value = target.resolved()
    assert Target.from_resolved(json.loads(json.dumps(value))) == target
    assert str(FOLDER.parent) not in json.dumps(value)


def test_the_pi_4_has_no_dot_product_and_the_pi_5_has() -> None:
    """The kernels of the two differ (facts/arm.md); a wrong flag would plan or refuse the wrong device."""
    assert "asimddp" not in load_target("raspberry-pi-4", folder=FOLDER).isa.features
    assert "asimddp" in load_target("raspberry-pi-5", folder=FOLDER).isa.features


def test_unknown_name_lists_the_known() -> None:
    """A misspelt target must name the nearest one."""
    with pytest.raises(SpecError, match=r"'rasberry-pi-5' is not known .*did you mean raspberry-pi-5\?"):
        load_target("rasberry-pi-5", folder=FOLDER)


def test_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    """A name is not a path: `..` must not reach other files."""
    with pytest.raises(SpecError, match="is not known"):
        load_target("..", folder=FOLDER)
    with pytest.raises(SpecError, match="there are no targets"):
        load_target("x", folder=tmp_path)


def test_a_path_is_read_as_one() -> None:
    """An engineer tries a target before it is in targets/."""
    assert load_target(str(FOLDER / "browser.yaml")).name == "browser"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arch: aarch64", "arch: arm64", "key 'arch': 'arm64' is not allowed (allowed: x86_64, aarch64, wasm32"),
        ("level: armv8.2-a", "level: armv8.3-a", "key 'isa.level': 'armv8.3-a' is not allowed for aarch64 (allowed:"),
        ("asimddp]", "dotprod]", "key 'isa.features[3]': 'dotprod' is not allowed for aarch64 (allowed: asimd,"),
        ("asimddp]", "avx2]", "key 'isa.features[3]': 'avx2' is not allowed for aarch64"),
        ("asimddp]", "asimd]", "key 'isa.features': a feature is listed twice"),
        (
            "memory_reserved_bytes: 1_200_000_000",
            "memory_reserved_bytes: 9_000_000_000",
            "key 'memory_reserved_bytes': must be less than memory_bytes (8589934592)",
        ),
        ("reach: ssh", "reach: usb", "key 'reach': 'usb' is not allowed (allowed: local, ssh, adb, browser"),
        ("os: linux", "os: browser", "key 'os': os: browser, arch: wasm32 and reach: browser go together"),
        ("name: raspberry-pi-5", "name: Pi 5", "key 'name': 'Pi 5' must be up to 64 lower-case letters"),
        ("name: raspberry-pi-5", "name: pi-5", "key 'name': 'pi-5' differs from the file's name 'raspberry-pi-5'"),
        ("cores: 4", "kores: 4", "key 'cores' is missing (and 1 more)"),
        ("version: 1", "version: 7", "key 'version': 7 is from a later edge"),
    ],
)
def test_wrong_target_says_what_is_allowed(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each wrong field must name its place and the allowed values in one line."""
    path = changed(tmp_path, old, new)
    with pytest.raises(SpecError) as caught:
        load_target(path)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    line = next(n for n, part in enumerate(path.read_text().splitlines(), 1) if new in part)
    assert text.startswith(f"{path}:{line}:") or "is missing" in text
