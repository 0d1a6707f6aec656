"""`edge plan`: verdicts, the ledger, bounds, and their laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build.ledger import UI_BYTES
from edge.build.plan import Plan, gigabytes, plan, plan_file
from edge.errors import SpecError
from edge.specs.profile import Profile, load_profile
from edge.specs.target import Target, load_target

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
RESOLVED = {path.stem: load_profile(path).resolved() for path in PROFILES}
TARGETS = {path.stem: load_target(path).resolved() for path in (ROOT / "targets").glob("*.yaml")}


def planned(
    name: str,
    *,
    target: dict[str, Any] | None = None,
    quantisation: dict[str, Any] | None = None,
    budgets: dict[str, Any] | None = None,
    int8_layers: list[int] | None = None,
    **fields: Any,
) -> Plan:
    """A shipped profile with some fields changed, planned on its target with some fields changed."""
    value = json.loads(json.dumps(RESOLVED[name])) | fields
    value["quantisation"] |= quantisation or {}
    value["budgets"] |= budgets or {}
    profile = Profile.from_resolved(value)
    config = profile.model.decoder()
    assert config is not None
    on = Target.from_resolved(TARGETS[profile.target] | (target or {}))
    return plan(profile, on, config, int8_layers=int8_layers)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_shipped_profile_plans(path: Path) -> None:
    """`edge plan --all` must work from the configs alone; only gpt-oss-120b does not fit."""
    result = plan_file(path)
    assert result.fits == (path.stem != "gpt-oss-120b-agx-orin")
    assert result.reason.startswith("Yes: needs" if result.fits else "No: needs")
    assert json.loads(json.dumps(result.to_json()))["ledger"][0]["name"] == "weights"
    held = [item.size_bytes for item in result.ledger if not item.reclaimable]
    assert result.needed_bytes == sum(held)


def test_gpt_oss_120b_says_why_not() -> None:
    """A plain no with both numbers is what stops somebody from buying the wrong device."""
    result = planned("gpt-oss-120b-agx-orin")
    assert result.reason == "No: needs 90.9 GB, the target has 62.7 GB free"


def test_the_1b_shape_is_near_the_measured_memory_and_speed() -> None:
    """facts/onnx.md on 2 threads: RSS 1,564 MB, 18.05 tok/s at 17.6 GB/s. Memory within 10 %, speed below it."""
    result = planned(
        "llama-3.2-1b-pi5",
        context_tokens=1536,
        budgets=dict.fromkeys(RESOLVED["llama-3.2-1b-pi5"]["budgets"]),
        target={"screen": False, "memory_bandwidth_bytes_per_s": 17.6e9},
    )
    assert result.peak_rss_bytes == pytest.approx(1564e6, rel=0.10)
    assert 18.05 < result.decode_ceiling_tokens_per_s < 2 * 18.05


def test_the_pi_5_ceiling_agrees_with_the_published_speed() -> None:
    """anchors.md: Llama 3.2 1B Q4 decodes at 11-14 tok/s on a Pi 5 by its bandwidth of 9-11 GB/s."""
    assert 10 < planned("llama-3.2-1b-pi5").decode_ceiling_tokens_per_s < 14


def test_moe_is_bounded_by_its_active_experts() -> None:
    """A 20 B mixture reads 3.6 B weights a token: its ceiling is several times that of a dense 20 B."""
    result = planned("gpt-oss-20b-agx-orin")
    stored = result.item("weights").size_bytes + result.item("scales").size_bytes
    assert result.token_read_bytes < stored / 5


def test_mixed_before_the_build_is_a_range_and_the_larger_end_decides() -> None:
    """Until layers are chosen both ends are possible; a yes must hold for the larger."""
    result = planned("reference-notes")
    assert result.ranged
    assert "at most" in result.reason
    needed, low = result.needed_bytes, result.low_needed_bytes
    assert low < needed
    reserved = TARGETS["x86_64-linux"]["memory_reserved_bytes"]
    tight = planned("reference-notes", target={"memory_bytes": reserved + (low + needed) // 2})
    assert not tight.fits
    assert tight.reason.startswith("No: may need")


def test_layers_chosen_by_the_build_close_the_range() -> None:
    """The manifest's predicted memory is that of the layers that were kept."""
    open_plan = planned("reference-notes")
    chosen = planned("reference-notes", int8_layers=[0, 1, 29])
    assert not chosen.ranged
    assert "3 of 30 layers int8" in chosen.quantisation
    assert open_plan.low_needed_bytes < chosen.needed_bytes < open_plan.needed_bytes
    listed = planned("reference-notes", quantisation={"int8_layers": [0, 1, 29]})
    assert listed.to_json() == chosen.to_json()
    none = planned("reference-notes", int8_layers=[])
    assert none.needed_bytes == open_plan.low_needed_bytes


def test_a_context_longer_than_the_model_is_refused() -> None:
    """SmolLM2 was made for 8,192 positions; beyond them it writes nonsense without an error."""
    result = planned("reference-notes", context_tokens=16384)
    assert "context of 16384 tokens is longer than the model's 8192" in result.reason
    assert not result.fits


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ({"disk_bytes_max": 50_000_000}, "disk of 109 MB is over the budget of 50"),
        ({"peak_rss_bytes_max": 200_000_000}, "is over the budget of 200"),
        ({"decode_tokens_per_s_min": 500}, "the budget asks for 500 tok/s, memory bandwidth allows"),
        ({"ttft_ms_max": {"prompt_tokens": 512, "ms": 1}}, "the budget asks for a first token in 1 ms, reading takes"),
    ],
)
def test_a_budget_that_no_build_can_hold_is_a_no(budgets: dict[str, Any], words: str) -> None:
    """An impossible budget must be found before an hour of building."""
    result = planned("reference-notes", budgets=budgets)
    assert result.reason.startswith("No: ")
    assert words in result.reason


def test_a_budget_inside_the_range_is_a_note() -> None:
    """Mixed may still hold it, so it is no refusal, and it is not kept silent either."""
    result = planned("reference-notes", budgets={"disk_bytes_max": 120_000_000})
    assert result.fits
    assert "the disk budget holds only if enough layers stay int4" in result.notes


def test_unknown_compute_is_not_a_number() -> None:
    """Where nobody measured the compute, TTFT is not known; a made-up number would be believed."""
    assert planned("reference-notes-pi4").ttft_ms_expected is None
    known = planned("reference-notes")
    assert known.ttft_ms_expected is not None
    assert known.ttft_ms_expected >= known.ttft_ms_bound


def test_the_screen_costs_its_budget() -> None:
    """The bedside app takes memory beside the model on devices with a screen."""
    without = planned("reference-notes")
    with_screen = planned("reference-notes", target={"screen": True})
    assert with_screen.needed_bytes - without.needed_bytes == UI_BYTES


def test_notes_name_what_the_reader_must_know() -> None:
    """Slow kernels, unpinned sources and unbuildable families are said beside the verdict."""
    assert any("no dot product" in note for note in planned("reference-notes-pi4").notes)
    assert any("model.sha256 is null" in note for note in planned("llama-3.2-1b-pi5").notes)
    assert any("not gpt_oss" in note for note in planned("gpt-oss-20b-agx-orin").notes)
    assert any("no int4 kernel" in note for note in planned("reference-notes", target=TARGETS["browser"]).notes)
    assert planned("reference-notes").notes == ()


def test_the_browser_holds_the_file_too() -> None:
    """A page has no mapped file: the download stays in memory, so it counts."""
    item = planned("llama-3.2-1b-browser").item("file_pages")
    assert not item.reclaimable
    assert item.size_bytes > 1e9


def test_a_partly_filled_cache_counts_in_part() -> None:
    """Measured memory is compared at the context that was measured, not at the full one."""
    result = planned("reference-notes")
    assert result.peak_rss_at_bytes(8192) == result.peak_rss_at_bytes(10**6) == result.peak_rss_bytes
    spared = result.peak_rss_bytes - result.peak_rss_at_bytes(4096)
    assert spared == result.item("kv_cache").size_bytes // 2


def test_a_profile_without_architecture_cannot_be_planned(tmp_path: Path) -> None:
    """Without a config there is nothing to count; say which key to fill."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "targets").symlink_to(ROOT / "targets")
    text = (ROOT / "profiles" / "reference-notes.yaml").read_text()
    start, end = text.index("  architecture:\n"), text.index("adapter:\n")
    path = tmp_path / "profiles" / "p.yaml"
    path.write_text(text[:start] + text[end:])
    with pytest.raises(SpecError, match=r"p\.yaml: key 'model\.architecture' is null"):
        plan_file(path)


def test_gigabytes_read_as_in_the_verdict() -> None:
    """Two digits below 10 GB, one from there, without a jump at the border."""
    assert [gigabytes(n) for n in (520_000_000, 9_994_000_000, 9_996_000_000, 61_249_000_000)] == [
        "0.52",
        "9.99",
        "10.0",
        "61.2",
    ]


NAMES = st.sampled_from(sorted(RESOLVED))


@given(name=NAMES, contexts=st.tuples(st.integers(512, 100_000), st.integers(512, 100_000)))
def test_plan_grows_with_the_context(name: str, contexts: tuple[int, int]) -> None:
    """Law: a longer context never needs less memory, nor makes a token cheaper."""
    short, long = (planned(name, context_tokens=tokens) for tokens in sorted(contexts))
    assert short.needed_bytes <= long.needed_bytes
    assert short.peak_rss_bytes <= long.peak_rss_bytes
    assert short.disk_bytes <= long.disk_bytes
    assert short.decode_ceiling_tokens_per_s >= long.decode_ceiling_tokens_per_s


@given(name=NAMES, block=st.sampled_from([32, 64, 128]), head_bits=st.sampled_from([4, 8]), symmetric=st.booleans())
def test_plan_grows_with_the_bits(name: str, block: int, head_bits: int, symmetric: bool) -> None:
    """Law: int4 <= int8 <= none in memory, disk and bytes read; mixed spans int4 to int8 exactly."""
    base = {"block_size": block, "head_bits": head_bits, "symmetric": symmetric, "rounding": "rtn", "int8_layers": None}
    four, eight, none, mixed = (
        planned(name, quantisation=base | {"scheme": scheme}) for scheme in ("int4", "int8", "none", "mixed")
    )
    for field in ("needed_bytes", "disk_bytes", "token_read_bytes", "peak_rss_bytes"):
        values = [getattr(result, field) for result in (four, eight, none)]
        assert values == sorted(values)
        assert getattr(mixed, field) == values[1]
        assert getattr(mixed, f"low_{field}") == values[0]


@given(name=NAMES, blocks=st.tuples(st.sampled_from([32, 64, 128]), st.sampled_from([32, 64, 128])))
def test_larger_blocks_have_fewer_scales(name: str, blocks: tuple[int, int]) -> None:
    """Law: the scales item falls as blocks grow."""
    small, large = (planned(name, quantisation={"block_size": block}) for block in sorted(blocks))
    assert large.item("scales").size_bytes <= small.item("scales").size_bytes


def test_an_adapter_beside_its_base_has_a_line() -> None:
    """Its factors are memory, disk and bytes to read for each token; without one the ledger has no such line."""
    beside, merged = (
        plan_file(ROOT / "profiles" / f"{name}.yaml") for name in ("reference-notes-adapter", "reference-notes")
    )
    item = beside.item("adapter")
    # 4,884,480 numbers of the adapter and 921,600 zeros beside the diagonal of q, k and v, float32 at run time.
    assert item.size_bytes == item.low_bytes == 4 * (4_884_480 + 921_600)
    assert item.note == "unmerged, rank 16, float32 of a file of 11.6 MB"
    assert beside.needed_bytes - merged.needed_bytes == item.size_bytes
    assert beside.token_read_bytes - merged.token_read_bytes == item.size_bytes
    assert beside.disk_bytes - merged.disk_bytes == 11_612_160
    assert "adapter" not in {line.name for line in merged.ledger}
