"""Deterministic fact check of a note against its transcript: typed facts, unsupported and missing, major or minor."""

from edge.clinical.facts.check import check_line, check_note, missing_facts
from edge.clinical.facts.extract import extract_facts
from edge.clinical.facts.model import Fact, FactFinding, FactReport
from edge.clinical.facts.source import FactSource

__all__ = [
    "Fact",
    "FactFinding",
    "FactReport",
    "FactSource",
    "check_line",
    "check_note",
    "extract_facts",
    "missing_facts",
]
