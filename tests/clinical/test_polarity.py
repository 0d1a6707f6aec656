"""What the words around a phrase make of it: the ground that red flags and notices stand on."""

from __future__ import annotations

import pytest

from edge.clinical.polarity import Status, status_of, turn_of
from edge.clinical.transcript import Span, parse_transcript

PHRASE = "chest pain"
CASES = [
    ("[patient] i have chest pain", Status.PRESENT),
    ("chest pain for two hours, no fever", Status.PRESENT),
    ("[patient] when i walk i get chest pain", Status.PRESENT),
    ("[patient] if i walk fast i get chest pain", Status.PRESENT),
    ("[patient] no fever but chest pain", Status.PRESENT),
    ("[patient] no i do have chest pain", Status.PRESENT),
    ("[patient] it does n't help my chest pain", Status.PRESENT),
    ("[patient] my wife said i have chest pain", Status.PRESENT),
    ("Guest_family: my son has chest pain", Status.PRESENT),
    ("[doctor] with a three day history of chest pain .", Status.PRESENT),
    ("[doctor] so you still have that chest pain , okay ?\n[patient] good", Status.PRESENT),
    ("[doctor] any chest pain ?\n[patient] yeah , sometimes .", Status.PRESENT),
    ("[doctor] do you have any symptoms like chest pain\n[patient] yes", Status.PRESENT),
    ("[doctor] any chest pain ?\n[patient] no .", Status.ABSENT),
    ("[doctor] have you had any fever chest pain nausea\n[patient] no", Status.ABSENT),
    ("[doctor] chest pain\n[patient] no chest pain", Status.ABSENT),
    ("[doctor] any chest pain ?\n[patient] yeah no , not really", Status.ABSENT),
    ("[doctor] any chest pain ? no . okay .", Status.ABSENT),
    ("[doctor] any chest pain no okay\n[patient] and", Status.ABSENT),
    ("[doctor] so no chest pain ?\n[patient] right", Status.ABSENT),
    ("[patient] i do n't have any chest pain", Status.ABSENT),
    ("[patient] i don’t want any chest pain", Status.ABSENT),
    ("[patient] it never felt like chest pain", Status.ABSENT),
    ("[patient] the chest pain has resolved", Status.ABSENT),
    ("[doctor] she denies fever , chills , nausea , vomiting , or chest pain .", Status.ABSENT),
    ("Patient denies chest pain.", Status.ABSENT),
    ("[doctor] any fever , chest pain ?\n[patient] i like dogs", Status.UNSURE),
    ("[doctor] did the chest pain come all at once or has it been gradual ?\n[patient] yes", Status.UNSURE),
    ("[patient] i had chest pain two years ago", Status.PAST),
    ("[doctor] a 50-year-old with a history of chest pain .", Status.PAST),
    ("[patient] my dad had chest pain and died", Status.FAMILY),
    ("[patient] there's chest pain in my family", Status.FAMILY),
    ("[patient] family history of chest pain", Status.FAMILY),
    ("[doctor] call me if you have chest pain .", Status.HYPOTHETICAL),
    ("[doctor] this can cause chest pain", Status.HYPOTHETICAL),
    ("[doctor] watch out for chest pain .", Status.HYPOTHETICAL),
]


@pytest.mark.parametrize(("text", "status"), CASES)
def test_status(text: str, status: Status) -> None:
    """A denial read as a finding, or a finding lost as a denial."""
    start = text.index(PHRASE)
    assert status_of(parse_transcript(text), Span(start, start + len(PHRASE))) == status


def test_turn_of() -> None:
    """The turn of a place is found by halving: an error shifts every answer."""
    text = "[doctor] one\n[patient] two\n[doctor] three"
    transcript = parse_transcript(text)
    places = [turn_of(transcript, Span(text.index(word), text.index(word) + 1)) for word in ("one", "two", "three")]
    assert places == [0, 1, 2]
