"""BERTScore and BLEURT with model folders that the user gives; without them: not measured, and why.

Their weights are on no package registry and are not shipped. BERTScore (Zhang et al. 2020) needs the package
bert-score and a folder of a transformers encoder; BLEURT (Sellam et al. 2020) needs the package
bleurt-pytorch and a folder of its converted checkpoint. Nothing is fetched: both are opened with local files only.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.errors import InputError, MissingToolError
from edge.files import sha256_file

NO_FOLDER = "no model folder was given"
Scorer = Callable[[str, str], float]
# BERTScore cannot know which layer of an unknown model to read; these are its authors' choices for the usual ones.
BERTSCORE_LAYERS = {
    "microsoft/deberta-xlarge-mnli": 40,
    "microsoft/deberta-large-mnli": 18,
    "roberta-large": 17,
    "bert-base-uncased": 9,
}


class LearnedMetrics:
    """Scorers that were asked for; `reasons` says for each of the others why it is not measured.

    bertscore_folder, bleurt_folder: model folders. Errors: InputError when a folder is not there, MissingToolError
    when a folder was given and its package is not installed.
    """

    def __init__(
        self,
        bertscore_folder: Path | None = None,
        bleurt_folder: Path | None = None,
        bertscore_layer: int | None = None,
    ) -> None:
        self.reasons: dict[str, str] = {}
        self._scorers: dict[str, Scorer] = {}
        self._models: dict[str, str] = {}
        self._add("bertscore_f1", bertscore_folder, lambda folder: _bertscore(folder, bertscore_layer))
        self._add("bleurt", bleurt_folder, _bleurt)

    def _add(self, name: str, folder: Path | None, make: Callable[[Path], Scorer]) -> None:
        if folder is None:
            self.reasons[name] = NO_FOLDER
            return
        if not (folder / "config.json").is_file():
            raise InputError("not a model folder (no config.json)", where=str(folder), mend=f"give the one of {name}")
        self._scorers[name] = make(folder)
        self._models[name] = sha256_file(folder / "config.json")[:12]

    def scores(self, reference: str, note: str) -> dict[str, float | None]:
        """Scores of a note, None where a metric is not measured."""
        measured: dict[str, float | None] = dict.fromkeys(self.reasons)
        return measured | {name: scorer(reference, note) for name, scorer in self._scorers.items()}

    @property
    def settings(self) -> dict[str, str]:
        """Which model measures each of them (digest of its configuration), '' where none does; binds a journal."""
        return {name: self._models.get(name, "") for name in ("bertscore_f1", "bleurt")}


def _package(module: str, package: str, metric: str) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingToolError(f"{metric} needs the package {package}", mend=f"pip install {package}") from error


def _bertscore(folder: Path, layer: int | None) -> Scorer:
    package = _package("bert_score", "bert-score", "BERTScore")
    layers = layer or next(
        (number for name, number in BERTSCORE_LAYERS.items() if name.split("/")[-1] in folder.name), 0
    )
    if not layers:
        raise InputError(
            "BERTScore's layer of this model is not known",
            where=str(folder),
            mend="name the folder like the model, for example deberta-xlarge-mnli",
        )
    scorer = package.BERTScorer(model_type=str(folder), num_layers=layers, idf=False, rescale_with_baseline=False)

    def score(reference: str, note: str) -> float:
        _, _, f1 = scorer.score([note], [reference])
        return float(f1[0])

    return score


def _bleurt(folder: Path) -> Scorer:
    package = _package("bleurt_pytorch", "bleurt-pytorch", "BLEURT")
    torch = _package("torch", "torch", "BLEURT")
    model = package.BleurtForSequenceClassification.from_pretrained(str(folder), local_files_only=True).eval()
    tokenizer = package.BleurtTokenizer.from_pretrained(str(folder), local_files_only=True)

    def score(reference: str, note: str) -> float:
        with torch.no_grad():
            inputs = tokenizer([reference], [note], padding="longest", truncation=True, return_tensors="pt")
            return float(model(**inputs).logits.flatten()[0])

    return score
