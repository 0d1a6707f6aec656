"""Budgets: each must pass at its limit, fail beyond it, and never pass because nothing was measured."""

from dataclasses import replace
from typing import Any

import pytest
from bench_dummies import make_result
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.clinical_gate import SelfTest, SelfTestCase
from edge.bench.gates import (
    BUDGET_KEYS,
    EMULATED_OPEN,
    Check,
    check_all,
    check_always,
    check_budgets,
    compare,
    passed,
)
from edge.bench.result import BenchResult
from edge.bench.words import quantity
from edge.errors import BundleError
from edge.specs.budget import Budgets, FidelityBudget

RESULT = make_result()
LIMITS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"disk_bytes_max": 103_000_000}, {"disk_bytes_max": 102_999_999}),
    ({"load_ms_max": 380}, {"load_ms_max": 379.9}),
    ({"peak_rss_bytes_max": 298_000_000}, {"peak_rss_bytes_max": 297_999_999}),
    ({"ttft_ms_max": {"prompt_tokens": 512, "ms": 2200}}, {"ttft_ms_max": {"prompt_tokens": 512, "ms": 2199}}),
    ({"decode_tokens_per_s_min": 41.2}, {"decode_tokens_per_s_min": 41.3}),
    ({"prefill_tokens_per_s_min": 232}, {"prefill_tokens_per_s_min": 233}),
    (
        {"sustained": {"seconds": 10, "floor_ratio_min": 0.94}},
        {"sustained": {"seconds": 10, "floor_ratio_min": 0.95}},
    ),
    (
        {"clinical": {"suite": "note", "margin": 0.02, "cases_min": 20, "confidence": 0.95}},
        {"clinical": {"suite": "note", "margin": 0.005, "cases_min": 20, "confidence": 0.95}},
    ),
    ({"fidelity": {"mean_kl_max": 0.05}}, {"fidelity": {"mean_kl_max": 0.049}}),
    ({"fidelity": {"top1_min": 0.9}}, {"fidelity": {"top1_min": 0.91}}),
    ({"fidelity": {"perplexity_ratio_max": 1.02}}, {"fidelity": {"perplexity_ratio_max": 1.01}}),
    ({"fidelity": {"greedy_agreement_min": 0.8}}, {"fidelity": {"greedy_agreement_min": 0.81}}),
]
FIDELITY = {
    "mean_kl": {"mean": 0.05},
    "top1": {"mean": 0.9},
    "perplexity_ratio": 1.02,
    "greedy_agreement": 0.8,
}


@pytest.mark.parametrize(("holds", "breaks"), LIMITS)
def test_at_and_beyond_the_limit(holds: dict[str, Any], breaks: dict[str, Any]) -> None:
    """If it fails, a budget decides the wrong way."""
    (good,) = check_budgets(holds, RESULT, FIDELITY)
    (bad,) = check_budgets(breaks, RESULT, FIDELITY)
    assert (good.outcome, bad.outcome) == ("passed", "failed")
    assert ": pass" in good.line
    assert ": fail" in bad.line


def test_fidelity_fails_only_what_its_interval_excludes() -> None:
    """If it fails, the few tokens of a device's golden cases reject a good build by chance, or accept a bad one."""
    measured = {"mean_kl": {"mean": 0.05, "low": 0.04, "high": 0.06}, "top1": {"mean": 0.9, "low": 0.87, "high": 0.93}}
    inside = check_budgets({"fidelity": {"mean_kl_max": 0.041, "top1_min": 0.92}}, RESULT, measured)
    outside = check_budgets({"fidelity": {"mean_kl_max": 0.039, "top1_min": 0.94}}, RESULT, measured)
    assert [check.outcome for check in inside] == ["passed", "passed"]
    assert [check.outcome for check in outside] == ["failed", "failed"]
    assert [check.measured for check in inside] == [0.05, 0.9]


def test_fidelity_that_a_device_cannot_measure_is_said() -> None:
    """If it fails, a device is failed for what only the build host can measure."""
    (check,) = check_budgets({"fidelity": {"greedy_agreement_min": 0.9}}, RESULT, {"mean_kl": {"mean": 0.01}})
    assert check.outcome == "not_measured"


def test_every_budget_of_a_profile_is_known_here() -> None:
    """If it fails, a budget can be written into a profile that no gate checks."""
    assert set(Budgets.model_fields) == set(BUDGET_KEYS)
    covered = {key for holds, _ in LIMITS for key in holds}
    assert covered == set(BUDGET_KEYS)
    fidelity = {key for holds, _ in LIMITS for key in holds.get("fidelity", {})}
    assert fidelity == set(FidelityBudget.model_fields)


def test_null_budgets_are_not_checked() -> None:
    """If it fails, a profile without a budget fails for it."""
    assert check_budgets(dict.fromkeys(BUDGET_KEYS), RESULT) == []
    nothing = dict.fromkeys(FidelityBudget.model_fields)
    assert check_budgets({"fidelity": nothing}, RESULT, FIDELITY) == []


@pytest.mark.parametrize("budgets", [{"watts_max": 5}, {"fidelity": {"bleu_min": 1}}])
def test_unknown_budgets_are_refused(budgets: dict[str, Any]) -> None:
    """If it fails, a budget of a newer edge is ignored and the bundle passes."""
    with pytest.raises(BundleError, match="not known"):
        check_budgets(budgets, RESULT, FIDELITY)


def test_what_could_not_be_measured_fails() -> None:
    """If it fails, a bundle passes its speed budget by having no speed."""
    bare = make_result(decode=(), prefill=(), bandwidth=None, golden=None, prediction=None, self_test=None)
    budgets = {"decode_tokens_per_s_min": 1, "prefill_tokens_per_s_min": 1}
    checks = [*check_budgets(budgets, bare), *check_always(bare)]
    assert [check.outcome for check in checks] == ["failed"] * 4
    other = {"ttft_ms_max": {"prompt_tokens": 300, "ms": 9e9}}
    assert check_budgets(other, RESULT)[0].outcome == "failed"
    assert check_budgets({"fidelity": {"top1_min": 0.1}}, RESULT, {})[0].outcome == "failed"


def test_what_may_stay_open_stays_open() -> None:
    """If it fails, a quick verify fails for a floor that only a long run can show, or claims to have shown it."""
    budgets = {"sustained": {"seconds": 600, "floor_ratio_min": 0.7}, "fidelity": {"top1_min": 0.9}}
    floor, fidelity = check_budgets(budgets, RESULT)
    assert (floor.outcome, fidelity.outcome) == ("not_measured", "not_measured")
    assert "the run lasted 10 s" in floor.line
    assert check_budgets(budgets, make_result(sustained=None))[0].outcome == "not_measured"


def test_decode_is_judged_by_its_slowest_context() -> None:
    """If it fails, a device passes by the speed of an empty cache."""
    (check,) = check_budgets({"decode_tokens_per_s_min": 20}, RESULT)
    assert check.line == "decode 41.2 tok/s, needs 20 tok/s: pass"


def test_what_always_holds() -> None:
    """If it fails, golden cases, the bandwidth rule or the prediction no longer decide."""
    assert [check.outcome for check in check_always(RESULT)] == ["passed"] * 4
    assert RESULT.golden is not None
    assert RESULT.bandwidth is not None
    assert RESULT.prediction is not None
    wrong = make_result(
        golden=replace(RESULT.golden, passed=False, reason="3 clear predictions differ"),
        bandwidth=replace(RESULT.bandwidth, demand_bytes_per_s=23e9),
        prediction=replace(RESULT.prediction, measured_bytes=331_000_000),
        self_test=SelfTest((SelfTestCase("note-knee", "note", "the answer has not its form", ""),)),
    )
    checks = check_always(wrong)
    assert [check.outcome for check in checks] == ["failed"] * 4
    assert "3 clear predictions differ" in checks[0].line
    assert "1 of 1 cases fail, first note-knee: the answer has not its form" in checks[1].line
    assert "the measurement is wrong" in checks[2].line


def test_failed_lines_come_first() -> None:
    """If it fails, the reason of a verdict is below the fold."""
    checks = check_all({"decode_tokens_per_s_min": 99, "load_ms_max": 9999}, RESULT)
    assert checks[0].name == "decode_tokens_per_s_min"
    assert not passed(checks)
    assert passed(checks[1:])
    assert not passed(())


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.booleans())
def test_compare_law(measured: float, limit: float, least: bool) -> None:
    """If it fails, a least value is treated as a most value."""
    check = compare("n", "t", measured, limit, "ms", least=least)
    assert (check.outcome == "passed") == (measured >= limit if least else measured <= limit)
    assert "\n" not in check.line
    assert Check(**check.to_json()) == check


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (412_000_000, "bytes", "412.0 MB"),
        (2_500_000_000, "bytes", "2.50 GB"),
        (12_300_000_000, "bytes/s", "12.3 GB/s"),
        (0.9444, "share", "94.4%"),
        (41.23, "tok/s", "41.2 tok/s"),
        (20, "tok/s", "20 tok/s"),
        (2474.4, "ms", "2,474 ms"),
        (0.0412, "", "0.0412"),
        (0, "J", "0 J"),
    ],
)
def test_quantities(value: float, unit: str, words: str) -> None:
    """If it fails, a number is shown a thousand times too large, or with needless digits."""
    assert quantity(value, unit) == words


# ---- an emulated device ------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {key: value for holds, _ in LIMITS for key, value in holds.items()}


def emulated(**changes: Any) -> BenchResult:
    """As the runner makes it: no speed at all."""
    environment = replace(RESULT.environment, emulated="qemu-aarch64, -cpu cortex-a76")
    nothing: dict[str, Any] = {"prefill": (), "decode": (), "sustained": None, "bandwidth": None}
    return replace(RESULT, **({"environment": environment} | nothing | changes))


def test_an_emulated_device_is_not_judged_by_its_clock() -> None:
    """If it fails, a bundle fails, or worse passes, by the speed of an emulator."""
    checks = check_all(EVERYTHING, emulated(), FIDELITY)
    by_name = {check.name: check for check in checks}
    for name in EMULATED_OPEN & set(EVERYTHING):
        assert by_name[name].outcome == "not_measured"
        assert by_name[name].measured is None
        assert by_name[name].line.endswith(": not measured (emulated)")
    assert "bandwidth" not in by_name
    for name in ("golden", "clinical_golden", "disk_bytes_max", "clinical", "predicted_memory"):
        assert by_name[name].outcome == "passed", by_name[name].line
    assert passed(checks)
    assert not set(EVERYTHING) - EMULATED_OPEN - {"disk_bytes_max", "fidelity", "clinical"}


def test_an_emulated_device_is_judged_by_its_answers_and_its_growth() -> None:
    """If it fails, a build that says something else on the other instruction set passes there."""
    golden = RESULT.golden
    assert golden is not None
    assert not passed(check_all({}, emulated(golden=replace(golden, passed=False, reason="differs"))))
    memory = replace(RESULT.memory, peak_rss_bytes=900_000_000)
    (failed,) = (check for check in check_all({}, emulated(memory=memory)) if check.outcome == "failed")
    assert failed.title == "memory growth against its prediction"
    # The emulator itself is in the memory from the start, and is not held against the bundle.
    shifted = replace(RESULT.memory, baseline_rss_bytes=851_000_000, peak_rss_bytes=1_098_000_000)
    assert passed(check_all({}, emulated(memory=shifted)))
