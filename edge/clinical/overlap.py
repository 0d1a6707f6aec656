"""Words in common between what was said and what was written: crude stems, lay words next to clinical ones.

Used where a line of a note is tied to the words it came from: in the training data and for evidence on the device.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z]+|\d+(?:[./]\d+)*")
_STOP = frozenset({
    "a", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could", "denies", "did",
    "do", "does", "for", "from", "had", "has", "have", "he", "her", "him", "his", "i", "if", "in", "is", "it",
    "its", "me", "my", "no", "not", "noted", "notes", "of", "on", "or", "our", "patient", "patients", "reported",
    "reports", "she", "so", "stated", "states", "that", "the", "their", "them", "these", "they", "this", "those",
    "to", "today", "us", "was", "we", "were", "will", "with", "would", "you", "your",
})  # fmt: skip
_SAME = {
    "mom": "mother", "dad": "father", "belly": "abdominal", "abdomen": "abdominal", "stomach": "abdominal",
    "sugar": "glucose", "sugars": "glucose", "tired": "fatigue", "tiredness": "fatigue", "dizzy": "dizziness",
    "lightheaded": "lightheadedness", "throw": "vomit", "puffy": "swell", "swollen": "swell", "breath": "dyspnea",
    "breathing": "dyspnea", "pee": "urin", "urinate": "urin", "urination": "urin", "urinary": "urin",
    "bp": "pressure", "xray": "radiograph", "x": "radiograph", "ray": "radiograph", "hurt": "pain", "hurts": "pain",
    "painful": "pain", "hurting": "pain", "kidney": "renal", "lung": "pulmonary", "lungs": "pulmonary",
    "heart": "cardiac", "cardiovascular": "cardiac", "drug": "medication", "medicine": "medication",
    "meds": "medication", "medications": "medication", "shot": "injection", "tender": "tenderness",
    "surgeries": "surgery", "surgical": "surgery", "smoking": "smoke", "smoker": "smoke", "alcohol": "drink",
    "weeks": "week", "physical": "therapy", "pt": "therapy", "refer": "referral", "follow": "followup",
    "up": "followup",
}  # fmt: skip


def stem(word: str) -> str:
    """A crude stem, the same on both sides."""
    word = _SAME.get(word, word)
    for ending in ("ations", "ation", "ing", "ies", "ied", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words_of(text: str) -> list[str]:
    """Stemmed content words and numbers."""
    return [stem(word) for word in _WORD.findall(text.lower().replace("'", "")) if word not in _STOP]
