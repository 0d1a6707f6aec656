"""The gate's cases and the source's scores: made the same everywhere, and what an engine says of the same weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edge.build.clinical_suite import (
    ANSWER_TOKENS,
    CANDIDATES,
    DIFFERENTIAL_CASES,
    SUITE_TOKENS,
    answers_of,
    differential_cases,
    exact_log_probs,
    force_engine,
    force_source,
    make_suite,
    note_cases,
    note_sentences,
)
from edge.build.reference import log_softmax
from edge.clinical.differential import DIFFERENTIAL_TASK
from edge.clinical.gate_suite import DIFFERENTIAL, NOTE, Forced, figures, force, read_suite
from edge.errors import SourceError
from edge.runtime.text import ChatTokenizer
from tests.tiny import BASE, engine, export, tiny_ids, tiny_source, write_tokenizer

VISIT = (
    "[doctor] What brings you in today ?\n"
    "[patient] My right knee hurts since I fell on the stairs two weeks ago .\n"
    "[doctor] Do you take anything for it ?\n"
    "[patient] I take ibuprofen 400 mg twice a day .\n"
)
NOTE_TEXT = (
    "CHIEF COMPLAINT\n\nRight knee pain.\n\nHISTORY OF PRESENT ILLNESS\n\nHe fell on the stairs two weeks ago. "
    "He has pain in his right knee.\n\nMEDICATIONS\n\n• Ibuprofen 400 mg twice a day.\n\n"
    "ASSESSMENT AND PLAN\n\nWe will order an MRI of the lumbar spine. Ibuprofen 600 mg twice a day.\n"
)
TEXTS = [(f"visit{number}.txt", f"{VISIT}\n{NOTE_TEXT}") for number in range(3)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def test_a_reference_note_is_read_by_its_headings() -> None:
    """If it fails, the model is asked for a section under another section's name."""
    assert list(note_sentences(NOTE_TEXT)) == [
        ("CC", "Right knee pain."),
        ("HPI", "He fell on the stairs two weeks ago."),
        ("HPI", "He has pain in his right knee."),
        ("MEDICATIONS", "Ibuprofen 400 mg twice a day."),
        ("ASSESSMENT", "We will order an MRI of the lumbar spine."),
        ("ASSESSMENT", "Ibuprofen 600 mg twice a day."),
    ]


def test_an_answer_holds_only_what_its_part_says() -> None:
    """If it fails, a build is judged by words that no model could have known."""
    parts = [
        "Doctor: hello\nPatient: my right knee hurts, I fell on the stairs two weeks ago",
        "ibuprofen 400 mg twice",
    ]
    first, second = answers_of(parts, NOTE_TEXT)
    assert [label for label, _ in first] == ["CC", "HPI", "HPI"]
    assert second == [("MEDICATIONS", "Ibuprofen 400 mg twice a day.")]
    assert answers_of([], NOTE_TEXT) == []
    assert answers_of(["", "x"], "") == [[], []]


def test_note_cases_take_one_part_of_each_visit_in_turn(tokenizer: ChatTokenizer) -> None:
    """If it fails, a suite that is cut short knows one visit only."""
    cases = list(note_cases(TEXTS, tokenizer))
    assert [case.id for case in cases] == ["visit0-01", "visit1-01", "visit2-01"]
    for case in cases:
        assert ANSWER_TOKENS[0] <= len(case.continuations[0]) <= ANSWER_TOKENS[1]
        assert case.gold == 0
    assert tokenizer.decode(list(cases[0].continuations[0])).startswith("CC: Right knee pain.\nHPI: He fell")


def test_differential_cases_are_a_condition_against_those_like_it(tokenizer: ChatTokenizer) -> None:
    """If it fails, the right option is not among the candidates, or the cases change from run to run."""
    cases = list(differential_cases(tokenizer, DIFFERENTIAL_TASK.scoring))
    assert cases == list(differential_cases(tokenizer, DIFFERENTIAL_TASK.scoring))
    assert len(cases) == DIFFERENTIAL_CASES >= 24
    assert len({case.prompt for case in cases}) == len(cases)
    for case in cases:
        assert len(set(case.continuations)) == CANDIDATES
        assert "Present: " in tokenizer.decode(list(case.prompt))
    assert len({case.gold for case in cases}) > 1  # its place tells nothing


def test_the_suite_carries_the_sources_scores_and_reads_back(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """If it fails, a device compares its build with another case's source."""
    told = itertools.count()

    def score(sequences: object) -> list[Forced]:
        rows = []
        for ids, prompt in sequences:  # type: ignore[attr-defined]
            size = len(ids) - prompt
            rows.append(Forced(np.full(size, -1.0 - next(told)), np.ones(size)))
        return rows

    suite = make_suite(NOTE, TEXTS, tokenizer, 4096, 3, score)  # type: ignore[arg-type]
    assert suite.source == ((1.0, -1.0), (1.0, -2.0), (1.0, -3.0))
    (tmp_path / "suite.json").write_bytes(suite.to_bytes())
    assert read_suite(tmp_path / "suite.json") == suite
    assert suite.to_bytes() == read_suite(tmp_path / "suite.json").to_bytes()
    with pytest.raises(SourceError, match=r"has 3 cases, its budget wants 16.*cases_min"):
        make_suite(NOTE, TEXTS, tokenizer, 4096, 16, score)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="has 0 cases"):
        make_suite(NOTE, TEXTS, tokenizer, 64, 1, score)  # type: ignore[arg-type]
    many = [(f"v{number}.txt", TEXTS[0][1]) for number in range(200)]
    cut = make_suite(NOTE, many, tokenizer, 4096, 1, score)  # type: ignore[arg-type]
    assert sum(case.longest for case in cut.cases) <= SUITE_TOKENS


def test_the_source_and_an_engine_of_the_same_weights_agree(tmp_path: Path) -> None:
    """If it fails, the paired difference measures two ways to compute and not the build."""
    source = tiny_source()
    sequences = [(tiny_ids(30, seed=1), 20), (tiny_ids(12, seed=2), 11), (tiny_ids(40, seed=3), 9)]
    expected = force_source(source, sequences)
    runs = engine(export(tmp_path, source), context_tokens=64)
    found = force_engine(runs, sequences)
    runs.close()
    for one, other, (ids, prompt) in zip(expected, found, sequences, strict=True):
        assert len(one.log_probs) == len(ids) - prompt
        np.testing.assert_allclose(one.log_probs, other.log_probs, rtol=0, atol=2e-3)
        np.testing.assert_array_equal(one.first, other.first)
    again = force_source(source, sequences)
    assert all((one.log_probs == other.log_probs).all() for one, other in zip(expected, again, strict=True))


def test_exact_log_probabilities_are_those_of_the_definition() -> None:
    """If it fails, the source's figures are reproducible and wrong."""
    logits = np.random.default_rng(0).normal(0, 4, (7, BASE.vocab_size))
    targets = np.arange(7)
    np.testing.assert_allclose(exact_log_probs(logits, targets), log_softmax(logits)[targets, targets], atol=1e-12)


def test_a_case_is_scored_once_for_each_candidate_without_seeing_the_others(tmp_path: Path) -> None:
    """If it fails, the order of the candidates changes a build's score."""
    from edge.clinical.gate_suite import SuiteCase

    runs = engine(export(tmp_path, tiny_source()), context_tokens=64)
    names = [tuple(tiny_ids(size, seed=size)) for size in (1, 3, 5)]
    prompt = tuple(tiny_ids(20))
    forward = SuiteCase("a", prompt, tuple(names), 0)
    backward = SuiteCase("a", prompt, tuple(reversed(names)), 2)
    scoring = DIFFERENTIAL_TASK.scoring
    one, other = (figures(DIFFERENTIAL, case, force(runs, case), scoring) for case in (forward, backward))
    assert one == pytest.approx(other, abs=1e-5)
    assert runs.length == 0
    runs.close()
    assert 0 <= one[0] <= 1
