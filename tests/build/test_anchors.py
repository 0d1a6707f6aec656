"""Published speeds: the file, and the rule that nobody decodes faster than memory can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build.anchors import ANCHORS_FILE, implausible, load_anchors
from edge.build.plan_all import MODELS
from edge.build.sizes import count_parameters
from edge.errors import SpecError
from edge.specs.profile import load_profile
from edge.specs.target import load_target

ROOT = Path(__file__).parents[2]
ANCHORS = load_anchors()
TARGETS = {path.stem: load_target(path) for path in (ROOT / "targets").glob("*.yaml")}
PROFILES = {model.key: ROOT / "profiles" / f"{model.profile}.yaml" for model in MODELS}


def test_every_published_speed_is_plausible() -> None:
    """A speed above its own ceiling means a wrong bandwidth, wrong bytes or a wrong figure: none may be shown."""
    assert implausible(ANCHORS, TARGETS) == []


def test_an_implausible_speed_is_named() -> None:
    """The rule must bite, or the test above proves nothing."""
    first = ANCHORS[0]
    above = first.ceiling_tokens_per_s(TARGETS[first.target]) * 1.01
    found = implausible([first.model_copy(update={"decode_tokens_per_s": (1.0, above)}), *ANCHORS[1:]], TARGETS)
    assert len(found) == 1
    assert first.device in found[0]


def test_every_speed_stands_beside_a_known_model_and_target() -> None:
    """A misspelt name would drop a speed in silence."""
    for anchor in ANCHORS:
        assert anchor.target in TARGETS
        assert anchor.model in PROFILES


@pytest.mark.parametrize("index", range(len(ANCHORS)))
def test_bytes_read_are_those_of_the_model(index: int) -> None:
    """Bytes that no form of the model can have would make the rule above mean nothing: 4 to 16 bits a weight."""
    anchor = ANCHORS[index]
    if "another model" in anchor.differs:
        pytest.skip("another model than the one it stands beside")
    config = load_profile(PROFILES[anchor.model]).model.decoder()
    assert config is not None
    active = count_parameters(config).active
    assert active * 3.99 / 8 <= anchor.token_read_bytes <= active * 16.1 / 8


def test_a_match_runs_on_what_the_plan_is_for() -> None:
    """The plan is for the CPU and the target's own bandwidth; anything else is a near match and says so."""
    for anchor in ANCHORS:
        if anchor.processor != "CPU":
            assert anchor.near
        if anchor.basis == "measured" and anchor.bandwidth_bytes_per_s is not None:
            assert anchor.near


@given(index=st.integers(0, len(ANCHORS) - 1), sizes=st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)))
def test_ceiling_falls_with_the_bytes(index: int, sizes: tuple[int, int]) -> None:
    """Law: more bytes a token never allow more tokens."""
    few, many = (ANCHORS[index].model_copy(update={"token_read_bytes": size}) for size in sorted(sizes))
    target = TARGETS[few.target]
    assert few.ceiling_tokens_per_s(target) >= many.ceiling_tokens_per_s(target)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("decode_tokens_per_s: [11, 14]", "decode_tokens_per_s: [14, 11]", "the lowest figure comes first"),
        ("basis: derived", "basis: guessed", "'guessed' is not allowed (allowed: measured, derived"),
        ("bandwidth_bytes_per_s: 11_000_000_000", "bandwidth_bytes_per_s: null", "says where bandwidth_bytes_per_s"),
        ("token_read_bytes: 770_000_000", "token_read_bytes: 0", "must be more than 0"),
    ],
)
def test_a_wrong_file_is_answered_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    """Who adds a speed must be told what is wrong with it, and where."""
    text = ANCHORS_FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "anchors.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_anchors(path)
    assert words in str(caught.value)
    assert "anchors.yaml:" in str(caught.value)
