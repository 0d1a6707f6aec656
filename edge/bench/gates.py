"""Budgets against measured values: the lines that decide whether a bundle may be used on a device. Pure.

Rules
- A budget of null is not checked. A budget that this edge does not know is an error, never ignored.
- A budget that could have been measured and was not (its prompt does not fit, its phase did not run) fails.
  Two may stay open without failing: the sustained floor, whose budget may ask for a longer run than a quick
  verify makes, and fidelity, which is measured where the bundle is built.
- Some checks need no budget and always hold: golden cases, the decode path, the clinical self-test of a bundle that
  has one, the bandwidth rule, and measured memory against the manifest's prediction.
- The clinical budget is held by the lower confidence bound, never by the mean (edge.bench.clinical_gate).
- On an emulated device there is no time, no bandwidth, no energy and no absolute memory: such budgets are said to be
  not measured. Answers (golden cases, fidelity, self-test, suite), size on disk and the growth of memory are judged.
- Speeds are judged by the median of their repetitions; decode by the slowest context that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edge.bench.clinical_gate import BUDGET_KEYS as CLINICAL_KEYS
from edge.bench.clinical_gate import SuiteScores, non_inferiority
from edge.bench.result import BenchResult
from edge.bench.words import quantity
from edge.errors import BundleError

Outcome = Literal["passed", "failed", "not_measured"]
WORDS: dict[Outcome, str] = {"passed": "pass", "failed": "fail", "not_measured": "not measured"}

# How far the measured peak may be above the prediction; allocators and page rounding are not in the ledger.
PREDICTION_RATIO_MAX = 1.10
# Of the ledger's `runtime`, what is resident before the model comes: interpreter, numpy, onnxruntime, tokenizers.
IMPORTS_BYTES = 50_000_000
# Code that the emulator translates while the model runs lies in the same process: 38 MB more growth than on x86-64
# with a model of 0.5 MB (qemu-aarch64 7.2).
EMULATOR_GROWTH_BYTES = 48_000_000
# Budgets that an emulator can say nothing about.
EMULATED_OPEN = frozenset(
    {
        "load_ms_max",
        "peak_rss_bytes_max",
        "ttft_ms_max",
        "decode_tokens_per_s_min",
        "prefill_tokens_per_s_min",
        "sustained",
    }
)

BUDGET_KEYS = frozenset(
    {
        "fidelity",
        "clinical",
        "disk_bytes_max",
        "load_ms_max",
        "peak_rss_bytes_max",
        "ttft_ms_max",
        "decode_tokens_per_s_min",
        "prefill_tokens_per_s_min",
        "sustained",
    }
)
FIDELITY_KEYS: dict[str, tuple[str, str, bool]] = {
    # budget key: key of the fidelity result, words, whether the budget is a least value
    "mean_kl_max": ("mean_kl", "mean KL divergence", False),
    "top1_min": ("top1", "same top token", True),
    "perplexity_ratio_max": ("perplexity_ratio", "perplexity ratio", False),
    "greedy_agreement_min": ("greedy_agreement", "greedy agreement", True),
}
# A device has no source to ask; these stay with the build's own gate.
BUILD_ONLY = ("perplexity_ratio", "greedy_agreement")


@dataclass(frozen=True)
class Check:
    """One line of a verdict. measured, limit: in `unit`; None where there is no number; reason: why, if
    said.
    """

    name: str
    title: str
    measured: float | None
    limit: float | None
    unit: str
    least: bool
    outcome: Outcome
    reason: str = ""

    @property
    def line(self) -> str:
        """In human words: "decode 41.2 tok/s, needs 20: pass"."""
        parts = self.title
        if self.measured is not None:
            parts += f" {quantity(self.measured, self.unit)}"
        if self.limit is not None:
            parts += f", {'needs' if self.least else 'at most'} {quantity(self.limit, self.unit)}"
        told = f" ({self.reason})" if self.reason else ""
        return f"{parts}: {WORDS[self.outcome]}{told}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def compare(name: str, title: str, measured: float | None, limit: float, unit: str, *, least: bool) -> Check:
    """A check of one number; a number that is missing fails. least: `limit` is a lower bound."""
    if measured is None:
        return Check(name, title, None, limit, unit, least, "failed", "it could not be measured")
    holds = measured >= limit if least else measured <= limit
    return Check(name, title, measured, limit, unit, least, "passed" if holds else "failed")


def check_fidelity(budget: Mapping[str, Any], fidelity: Mapping[str, Any] | None) -> list[Check]:
    """Fidelity as measured at the build against its budget."""
    unknown = sorted(set(budget) - set(FIDELITY_KEYS))
    if unknown:
        raise BundleError(f"fidelity budget '{unknown[0]}' is not known", mend="update edge on this device")
    checks = []
    for key, (measured_key, title, least) in FIDELITY_KEYS.items():
        limit = budget.get(key)
        if limit is None:
            continue
        unit = "share" if least else ""
        found = None if fidelity is None else fidelity.get(measured_key)
        if fidelity is None or (found is None and measured_key in BUILD_ONLY):
            reason = "measured where the bundle is built"
            checks.append(Check(f"fidelity.{key}", title, None, limit, unit, least, "not_measured", reason))
            continue
        # A device scores few tokens: it fails only what its 95 % interval excludes.
        bound = found.get("high" if least else "low") if isinstance(found, Mapping) else None
        check = compare(f"fidelity.{key}", title, bound or number_of(found), limit, unit, least=least)
        checks.append(replace(check, measured=number_of(found)))
    return checks


def number_of(value: Any) -> float | None:
    """A fidelity value: a number, or the "mean" of an interval."""
    if isinstance(value, Mapping):
        value = value.get("mean")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def check_clinical(budget: Mapping[str, Any], scores: SuiteScores | None) -> Check:
    """Non-inferiority of this build to its fp32 source on the suite. Errors: BundleError for an unknown key."""
    unknown = sorted(set(budget) - CLINICAL_KEYS)
    if unknown:
        raise BundleError(f"clinical budget '{unknown[0]}' is not known", mend="update edge on this device")
    suite, margin, least = str(budget["suite"]), float(budget["margin"]), int(budget["cases_min"])
    title = f"{suite} suite, build minus fp32 source, lower bound"
    check = Check("clinical", title, None, -margin, "points", True, "failed")
    if scores is None or scores.suite != suite:
        return replace(check, reason=f"the bundle has no {suite} suite")
    if len(scores.ids) < least:
        return replace(check, reason=f"{len(scores.ids)} cases, the budget wants {least}")
    found = non_inferiority(scores.source, scores.build, margin, float(budget["confidence"]))
    told = (
        f"{scores.metric} in {found.cases} cases: source {quantity(found.source_mean, 'share')}, "
        f"build {quantity(found.build_mean, 'share')}, difference {quantity(found.difference, 'points')} "
        f"[{quantity(found.low, 'points')}, {quantity(found.high, 'points')}] at {found.confidence:.0%} one-sided, "
        f"margin {quantity(margin, 'points').removeprefix('+')}"
    )
    return replace(check, measured=found.low, outcome="passed" if found.holds else "failed", reason=told)


def check_ttft(budget: Mapping[str, Any], result: BenchResult) -> Check:
    """TTFT at the budget's prompt length, which the runner adds to the workload."""
    tokens = int(budget["prompt_tokens"])
    measured = next((p.ttft_ms.median for p in result.prefill if p.prompt_tokens == tokens), None)
    title = f"first token after {tokens} tokens of prompt"
    return compare("ttft_ms_max", title, measured, budget["ms"], "ms", least=False)


def check_sustained(budget: Mapping[str, Any], result: BenchResult) -> Check:
    """The floor of the sustained run, if it lasted as long as the budget asks."""
    run, seconds, floor = result.sustained, float(budget["seconds"]), float(budget["floor_ratio_min"])
    title = f"speed kept over {seconds:.0f} s"
    if run is None or run.seconds < seconds:
        lasted = f"the run lasted {run.seconds:.0f} s" if run else "no sustained run"
        reason = f"{lasted}, use `--workload full`"
        return Check("sustained", title, None, floor, "share", True, "not_measured", reason)
    return compare("sustained", title, run.floor_ratio, floor, "share", least=True)


def check_budgets(
    budgets: Mapping[str, Any], result: BenchResult, fidelity: Mapping[str, Any] | None = None
) -> list[Check]:
    """Every budget of a profile (as in the manifest) against a result. Errors: BundleError for an unknown
    one.
    """
    unknown = sorted(set(budgets) - BUDGET_KEYS)
    if unknown:
        raise BundleError(f"budget '{unknown[0]}' is not known", mend="update edge on this device")
    slowest_decode = min((one.tokens_per_s.median for one in result.decode), default=None)
    fastest_prefill = max((one.tokens_per_s.median for one in result.prefill), default=None)
    numbers: dict[str, tuple[str, float | None, str, bool]] = {
        "disk_bytes_max": ("size on disk", result.bundle.disk_bytes, "bytes", False),
        "load_ms_max": ("load", result.load.load_ms.median, "ms", False),
        "peak_rss_bytes_max": ("peak memory", result.memory.peak_rss_bytes, "bytes", False),
        # The prompt length with the best speed: short prompts are all overhead.
        "prefill_tokens_per_s_min": ("prefill", fastest_prefill, "tok/s", True),
        "decode_tokens_per_s_min": ("decode", slowest_decode, "tok/s", True),
    }
    checks = []
    for key, (title, measured, unit, least) in numbers.items():
        if budgets.get(key) is not None:
            checks.append(compare(key, title, measured, float(budgets[key]), unit, least=least))
    if budgets.get("ttft_ms_max") is not None:
        checks.append(check_ttft(budgets["ttft_ms_max"], result))
    if budgets.get("sustained") is not None:
        checks.append(check_sustained(budgets["sustained"], result))
    if budgets.get("fidelity") is not None:
        checks += check_fidelity(budgets["fidelity"], fidelity)
    if budgets.get("clinical") is not None:
        checks.append(check_clinical(budgets["clinical"], result.suite))
    if result.environment.emulated:
        checks = [left_open(check) if check.name in EMULATED_OPEN else check for check in checks]
    return checks


def left_open(check: Check) -> Check:
    """The same check without a number and without a verdict, because the device is emulated."""
    return replace(check, measured=None, outcome="not_measured", reason="emulated")


def check_growth(result: BenchResult) -> list[Check]:
    """On an emulated device: what the process grew by after its imports, against the ledger without them.

    The emulator is in the resident memory from the start, so the difference is the model's and the cache's.
    """
    if result.prediction is None:
        return []
    ledger = result.prediction.expected_bytes
    ceiling = (result.prediction.predicted_bytes - min(IMPORTS_BYTES, ledger.get("runtime", 0))) * PREDICTION_RATIO_MAX
    grown = float(result.memory.peak_rss_bytes - result.memory.baseline_rss_bytes)
    title = "memory growth against its prediction"
    return [compare("predicted_memory", title, grown, ceiling + EMULATOR_GROWTH_BYTES, "bytes", least=False)]


def check_always(result: BenchResult) -> list[Check]:
    """What must hold with or without a budget."""
    checks = []
    if result.golden is None:
        missing = "the bundle has no golden cases"
        checks.append(Check("golden", "golden cases", None, None, "", True, "failed", missing))
    else:
        outcome: Outcome = "passed" if result.golden.passed else "failed"
        agreed, least = result.golden.top1_agreement, result.golden.rule_top1_min
        reason = result.golden.reason
        checks.append(Check("golden", "golden cases", agreed, least, "share", True, outcome, reason))
    if result.self_test is not None:
        held: Outcome = "passed" if result.self_test.passed else "failed"
        told = result.self_test.reason
        checks.append(Check("clinical_golden", "clinical self-test", None, None, "", True, held, told))
    if result.environment.emulated:
        return [*checks, *check_growth(result)]
    if result.bandwidth is None:
        missing = "no decode speed was measured"
        checks.append(Check("bandwidth", "bandwidth rule", None, None, "", False, "failed", missing))
    else:
        check = result.bandwidth
        ceiling = check.limit_bytes_per_s * check.tolerance
        reason = f"read from {check.decided_by}"
        title = "bandwidth that decode needs"
        plausible = compare("bandwidth", title, check.demand_bytes_per_s, ceiling, "bytes/s", least=False)
        if plausible.outcome == "failed":
            reason = "faster than this machine can read, so the measurement is wrong"
        checks.append(Check(**(plausible.to_json() | {"reason": reason})))
    if result.prediction is not None:
        ceiling = result.prediction.predicted_bytes * PREDICTION_RATIO_MAX
        measured = float(result.prediction.measured_bytes)
        title = "memory against its prediction"
        checks.append(compare("predicted_memory", title, measured, ceiling, "bytes", least=False))
    return checks


def check_all(
    budgets: Mapping[str, Any], result: BenchResult, fidelity: Mapping[str, Any] | None = None
) -> tuple[Check, ...]:
    """The whole verdict: failed lines first, else in the order of the checks."""
    checks = [*check_always(result), *check_budgets(budgets, result, fidelity)]
    return tuple(sorted(checks, key=lambda check: check.outcome != "failed"))


def passed(checks: tuple[Check, ...]) -> bool:
    """Whether at least one check passed and none failed."""
    outcomes = [check.outcome for check in checks]
    return "passed" in outcomes and "failed" not in outcomes
