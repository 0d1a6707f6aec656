"""DATA_CARD.md: what an adapter was made of, whose work that is, under which licence, and what it cannot say.

Made from the recipe and the run's own numbers; nothing of it is typed in by hand. No words of the data are in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.adapt.examples import Course, EncodedSource
from edge.adapt.journal import Journal
from edge.specs.recipe import Recipe


@dataclass(frozen=True)
class DataSet:
    """A published data set: what it is, who made it, on what terms, and how a recipe uses it."""

    name: str
    attribution: str
    licence: str
    used: str


DATA_SETS: dict[str, DataSet] = {
    "aci-notes": DataSet(
        "ACI-Bench",
        "Yim W., Fu Y., Ben Abacha A., Snider N., Lin T., Yetisgen M.: Aci-bench: a Novel Ambient Clinical "
        "Intelligence Dataset for Benchmarking Automatic Visit Note Generation. Scientific Data 10, 586 (2023), "
        "github.com/wyim/aci-bench",
        "CC BY 4.0",
        "The published train split only; the published valid split only to watch the loss. Changed: visits cut into "
        "parts, notes into sentences, each sentence given to the part that it comes from; sentences whose words or "
        "numbers are not said in that part left out; patients' names replaced by 'the patient'.",
    ),
    "mts-notes": DataSet(
        "MTS-Dialog",
        "Ben Abacha A., Yim W., Fan Y., Lin T.: An Empirical Study of Clinical Note Generation from Doctor-Patient "
        "Encounters. EACL 2023, github.com/abachaa/MTS-Dialog",
        "CC BY 4.0",
        "The published training split only. Changed as ACI-Bench; sections without a supported sentence left out.",
    ),
    "dxbench": DataSet(
        "DxBench and Dxy",
        "Chen J. and others: CoD, Towards an Interpretable Medical Agent using Chain of Diagnosis (2024), "
        "github.com/FreedomIntelligence/Chain-of-Diagnosis; Dxy: Xu L. and others, AAAI 2019, as published there",
        "Apache-2.0, as stated on the data set's card at its publisher",
        "Of DxBench the train part of edge's own split (sha256 of the case's id: train 70, valid 10, test 20 of 100); "
        "valid only to watch the loss, test never. Dxy whole. Changed: candidates listed alphabetically (the right "
        "one is mostly first as published), copies with findings in another order, one left out, or one candidate "
        "exchanged; one open question a case.",
    ),
    "ddxplus-patients": DataSet(
        "DDXPlus (table of conditions)",
        "Fansi Tchango A., Goel R., Wen Z., Martel J., Ghosn J.: DDXPlus: A New Dataset For Automatic Medical "
        "Diagnosis. NeurIPS 2022, github.com/mila-iqia/ddxplus",
        "CC BY 4.0",
        "Which findings belong to which condition, said in edge's own words and with further conditions of edge's own "
        "(edge/clinical/data/README-conditions.md). No patient of DDXPlus: patients are drawn from the table.",
    ),
    "imedqa": DataSet(
        "iMedQA of MediQ",
        "Li S., Balachandran V., Feng S. and others: MediQ: Question-Asking LLMs and a Benchmark for Reliable "
        "Interactive Clinical Reasoning. NeurIPS 2024, github.com/stellalisy/mediQ (made from MedQA, Jin D. and "
        "others 2021)",
        "CC BY 4.0, as stated there; the questions behind MedQA are of examinations",
        "Questions that ask for a diagnosis, a cause or a condition; the vignette's facts are the findings.",
    ),
    "chat-jsonl": DataSet(
        "Conversations of your own",
        "whoever gave them",
        "yours to state",
        "As given. An adapter can repeat what it was trained on: treat it as you treat these conversations.",
    ),
}

LIMITS = (
    "Made to draft; a clinician reads, corrects and answers for every word. It was not tested on patients.",
    "English, and the kinds of visit or case of the data sets above; others are not covered.",
    "ACI-Bench and MTS-Dialog are written or acted conversations, DxBench and Dxy come from Chinese sources in "
    "translation: real visits differ.",
    "How it differs between groups of patients (age, sex, ethnicity, accent) was not measured.",
    "The losses below are over answer tokens and say nothing about clinical quality; `edge evaluate` measures that.",
)


def data_card(
    recipe: Recipe, course: Course, journal: Journal, adapter: Mapping[str, Any], versions: Mapping[str, str]
) -> bytes:
    """The card, UTF-8. adapter: {sha256, bytes, trainable}; versions: of the libraries, by name."""
    kinds = list(dict.fromkeys(source.spec.kind for source in (*course.sources, *course.held_out_sources)))
    training, shape = recipe.training, recipe.adapter
    steps = len(journal.entries)
    tail = max(1, steps // 20)
    lines = [
        f"# Data card: adapter {recipe.name}",
        "",
        f"{recipe.description}. Decision support only: the clinician decides.",
        "",
        "## What it is",
        *_table(
            ("", ""),
            [
                ("Base model", f"{recipe.base_model_name}, {recipe.model.license} ({recipe.model.source})"),
                ("Base digest", f"`{recipe.model.sha256}`"),
                ("Adapter digest, as a profile pins it", f"`{adapter['sha256']}`"),
                ("Adapter weights", f"{adapter['bytes']:,} bytes, {adapter['trainable']:,} values, float16"),
                ("Recipe", f"`{recipe.name}`, digest `{recipe.digest()}`"),
                ("Made again by", f"`edge adapt profiles/recipes/{recipe.name}.yaml --data FOLDER`"),
                ("Made with", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))),
            ],
        ),
        "",
        "## Licence and attribution",
        "The adapter's weights are given under Apache-2.0, as edge is. They are derived from these works, which must "
        "be named with them:",
        "",
        *(_attribution(DATA_SETS[kind]) for kind in kinds),
        "",
        "## What was seen",
        *_table(
            ("data", "examples", "tokens", "answer tokens", "seen", "too long, left out"),
            [_row(source, f"{source.spec.epochs:g} times") for source in course.sources]
            + [_row(source, "held out") for source in course.held_out_sources],
        ),
        "",
        "How it was used, and what was left out:",
        *(f"- **{DATA_SETS[kind].name}**: {DATA_SETS[kind].used}" for kind in kinds),
        "- **Never seen**: every test split, and what is kept aside for acceptance.",
        "",
        "Files, by digest:",
        *_table(("file", "sha256"), [(file.name, f"`{file.sha256}`") for file in course.files]),
        "",
        "## Settings",
        *_table(
            ("", ""),
            [
                (
                    "LoRA",
                    f"rank {shape.rank}, alpha {shape.alpha}, dropout {shape.dropout:g}, "
                    f"{', '.join(shape.target_modules)}{', experts' if shape.experts else ''}",
                ),
                ("Base in memory", training.base_precision),
                (
                    "Optimiser",
                    f"AdamW, learning rate {training.learning_rate:g}, weight decay "
                    f"{training.weight_decay:g}, gradients clipped at {training.clip_norm:g}",
                ),
                ("Schedule", f"{training.schedule} to a tenth, warm-up {training.warmup_share:g} of the steps"),
                (
                    "Steps",
                    f"{steps} of at most {training.tokens_per_step} tokens, {course.tokens_seen:,} tokens in all",
                ),
                ("Seed", training.seed),
                (
                    "Threads",
                    "the same number for the same bits: "
                    + (str(training.threads) if training.threads else "as many as the machine has"),
                ),
                ("Following", recipe.papers_settings or "no paper's settings"),
            ],
        ),
        "",
        "## Losses, per answer token",
        *_table(
            ("", "loss"),
            [
                (f"training, first {tail} steps", f"{journal.mean_loss(0, tail):.3f}"),
                (f"training, last {tail} steps", f"{journal.mean_loss(steps - tail, steps):.3f}"),
                *((f"held out, after step {step}", f"{loss:.3f}") for step, loss in journal.held_out),
            ],
        ),
        "",
        "![loss](loss.svg)",
        "",
        "## Limits",
        *(f"- {line}" for line in LIMITS),
        "",
    ]
    return "\n".join(lines).encode("utf-8")


def _attribution(item: DataSet) -> str:
    return f"- **{item.name}**: {item.attribution}. Licence: {item.licence}."


def _row(source: EncodedSource, seen: str) -> tuple[str, ...]:
    part = f", {source.spec.part} part" if source.spec.part != "all" else ""
    name = source.spec.kind + (f" ({source.spec.path}{part})" if source.spec.path else "")
    counts = (len(source.examples), source.tokens, source.answer_tokens)
    return (name, *(f"{count:,}" for count in counts), seen, str(source.left_out))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    body = [
        f"| {' | '.join(' '.join(str(value).split()).replace('|', chr(92) + '|') for value in row)} |" for row in rows
    ]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body]
