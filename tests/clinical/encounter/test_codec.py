"""An encounter as bytes: nothing is lost, nothing unknown is read."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.encounter import edits
from edge.clinical.encounter.codec import content_sha256, from_bytes, to_bytes
from edge.clinical.encounter.model import Encounter, Patient, Signature, Vital
from edge.errors import InputError
from tests.clinical.encounter.made import NOW, angle_closure, encounters, new, noted, ranked


@given(encounters() | noted() | ranked())
@settings(max_examples=150, deadline=None)
def test_round_trip(enc: Encounter) -> None:
    """What was saved comes back as something else."""
    data = to_bytes(enc)
    again = from_bytes(data)
    assert again == enc
    assert to_bytes(again) == data


def test_one_form() -> None:
    """Two equal encounters have two forms, so that a signature over one does not hold for the other."""
    whole = replace(new(), vitals=(Vital("heart_rate", 80),))
    assert to_bytes(whole) == to_bytes(replace(new(), vitals=(Vital("heart_rate", 80.0),)))
    assert b"\n" not in to_bytes(whole)
    assert "Wärme".encode() in to_bytes(replace(new(), patient=Patient("Wärme")))


def broken(change: object) -> bytes:
    """An encounter's JSON after a change."""
    value = json.loads(to_bytes(angle_closure()))
    change(value)  # type: ignore[operator]
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(version=2),
        lambda value: value.update(version=True),
        lambda value: value.update(more=1),
        lambda value: value.pop("eye"),
        lambda value: value["findings"][0].pop("confirmed"),
        lambda value: value["findings"][0].update(presence="maybe"),
        lambda value: value["findings"][0].update(confirmed=1),
        lambda value: value["patient"].update(name=None),
        lambda value: value["vitals"][0].update(value="88"),
        lambda value: value["vitals"][0].update(value=10**400),
        lambda value: value["eye"]["od"].update(slit_lamp={"cornea": 1}),
        lambda value: value.update(findings={}),
        lambda value: value.update(revision=1.5),
    ],
)
def test_refuses_what_it_does_not_know(change: object) -> None:
    """A file of another edge, or a damaged one, is half read: a missing `confirmed` would turn into a yes."""
    with pytest.raises(InputError) as error:
        from_bytes(broken(change))
    assert "Ida" not in str(error.value)
    assert "Sudden" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"version":1,"version":1}', b"NaN", b"[" * 100_000])
def test_refuses_what_is_no_encounter(data: bytes) -> None:
    """Damaged bytes end in a traceback, which may hold a patient's words, and not in one line."""
    with pytest.raises(InputError):
        from_bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(json.loads(to_bytes(new())))), json_values, st.binary(max_size=20))
@settings(deadline=None)
def test_damage_is_refused_and_nothing_else(key: str, value: object, data: bytes) -> None:
    """Damage in one place ends in a traceback, or an encounter is read that cannot be written again."""
    whole = json.loads(to_bytes(angle_closure()))
    for damaged in (json.dumps({**whole, key: value}).encode(), data):
        try:
            enc = from_bytes(damaged)
        except InputError:
            continue
        with contextlib.suppress(InputError):  # half a character, which JSON can spell
            assert from_bytes(to_bytes(enc)) == enc


def test_refuses_to_write_what_cannot_be_read() -> None:
    """A NaN or half a character is saved, and the encounter never opens again."""
    with pytest.raises(InputError):
        to_bytes(replace(new(), vitals=(Vital("heart_rate", float("nan")),)))
    with pytest.raises(InputError):
        to_bytes(replace(new(), patient=Patient("\ud800")))


def test_the_content_is_what_was_entered() -> None:
    """The digest changes with time or count alone, or does not change with the content."""
    enc = angle_closure()
    digest = content_sha256(enc)
    assert content_sha256(replace(enc, revision=99, updated_at="x", signature=Signature("a", "b", "c"))) == digest
    assert content_sha256(edits.remove_finding(enc, "pain", NOW)) != digest
