"""Documents. When these fail, free text gets onto the wire, or two versions misread each other."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from edge.errors import InputError
from edge.fleet.wire import documents, messages, report
from edge.fleet.wire.documents import Document, FutureVersionError
from edge.fleet.wire.report import BandwidthReport, FieldReport, plausible
from tests.fleet.wire.reports import make_report, make_result

WORDS = "Mrs Smith, 71, cataract OD"


def examples() -> list[Document]:
    """One of each."""
    return [
        make_report(),
        messages.InstallReport(
            outcome="committed", reason="none", from_digest=None, to_digest="a" * 64, release="notes-1", slot="a",
            moved_bytes=1, kept_bytes=2, duration_s=3.5,
        ),
        messages.Telemetry(
            battery_percent=50.0, charging=True, hottest_celsius=41.5, memory_available_bytes=1, disk_free_bytes=2,
            outbox_rows=0, outbox_bytes=0, dropped=0, agent_version="0.1.0",
        ),
        messages.ReportedState(
            state_version=3, agent_version="0.1.0", profile="notes", release=None, bundle_digest=None,
            previous_digest=None, slot=None, phase="idle", desired_version=0, last_result_seq=0, paused_reason="none",
        ),
        messages.DesiredState(desired_version=4, release="notes-2", profile="notes", bundle_digest="b" * 64,
                              rollout="autumn"),
        messages.Ack(epoch="0a1b2c3d", accepted=(1, 2), quarantined=((3, "forged"),)),
        messages.Command(status="init", workload="quick"),
        messages.Presence(online=True),
    ]  # fmt: skip


@pytest.mark.parametrize("document", examples(), ids=lambda document: type(document).__name__)
def test_round_trip_and_versions(document: Document) -> None:
    """If not: a document is another one after the wire, or a newer one is misread as an old one."""
    data = document.to_bytes()
    assert type(document).from_bytes(data, "x") == document
    newer = json.loads(data) | {"version": 2, "future": "field"}
    with pytest.raises(FutureVersionError):
        type(document).from_bytes(json.dumps(newer).encode(), "x")
    with pytest.raises(InputError):
        type(document).from_bytes(json.dumps(json.loads(data) | {"version": 0}).encode(), "x")


@pytest.mark.parametrize("document", examples(), ids=lambda document: type(document).__name__)
def test_no_field_takes_a_sentence(document: Document) -> None:
    """If not: a patient's words have a way out. Every leaf is tried, and a field that is not listed."""

    def spoilt(value: Any) -> list[Any]:
        if isinstance(value, dict):
            inner = [value | {key: other} for key, item in value.items() for other in spoilt(item)]
            return [*inner, value | {"note": WORDS}]
        if isinstance(value, list):
            return [[*value[:at], other, *value[at + 1 :]] for at, item in enumerate(value) for other in spoilt(item)]
        return [WORDS]

    for value in spoilt(json.loads(document.to_bytes())):
        with pytest.raises(InputError) as said:
            type(document).from_bytes(json.dumps(value).encode(), "x")
        assert "Smith" not in str(said.value)


def test_a_file_that_was_cut_short_says_so() -> None:
    """If not: somebody updates edge on two machines for a stick that was pulled out early."""
    with pytest.raises(InputError, match="cut short; bring it again"):
        FieldReport.from_bytes(make_report().to_bytes()[:-9], "x")


def text_fields(model: type[BaseModel]) -> list[str]:
    """Paths of fields whose schema lets any text through."""
    found = []
    schema = model.model_json_schema()
    for name, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        for key, field in part.get("properties", {}).items():
            for option in (field, *field.get("anyOf", ()), field.get("items", {}), *field.get("prefixItems", ())):
                if option.get("type") == "string" and not ({"pattern", "enum", "const"} & set(option)):
                    found.append(f"{name}.{key}")
    return found


@pytest.mark.parametrize("document", examples(), ids=lambda document: type(document).__name__)
def test_every_text_field_has_a_pattern(document: Document) -> None:
    """If not: a field added later is a hole."""
    assert text_fields(type(document)) == []


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """If not: rubbish on a topic is a traceback."""
    try:
        FieldReport.from_bytes(data, "x")
    except InputError as error:
        assert len(str(error)) < 300


def test_a_report_holds_no_word_of_the_result() -> None:
    """If not: reasons and titles, which may quote what was read, leave the device."""
    result = make_result()
    spoken = dataclasses.replace(
        result,
        skipped=(WORDS,),
        golden=dataclasses.replace(result.golden, reason=WORDS),  # type: ignore[type-var]
        energy=dataclasses.replace(result.energy, reason=WORDS),
        environment=dataclasses.replace(result.environment, sensors={"energy": WORDS}, governor=WORDS),
    )
    assert b"Smith" not in make_report(spoken).to_bytes()
    assert len(make_report().to_bytes()) < 4096


def test_plausible() -> None:
    """If not: a device that invents its speeds opens a ring."""
    good = make_report()
    assert plausible(good) == ""
    assert plausible(good, 10e9) == ""
    rule = good.bandwidth
    assert isinstance(rule, BandwidthReport)
    fast = [one.model_copy(update={"tokens_per_s": one.tokens_per_s * 10}) for one in good.decode]
    assert plausible(good.model_copy(update={"decode": tuple(fast)})) == "faster_than_memory"
    assert plausible(good.model_copy(update={"bandwidth": None})) == "no_bandwidth"
    small = rule.model_copy(update={"bytes_read_per_token": 1000})
    assert plausible(good.model_copy(update={"bandwidth": small})) == "bytes_per_token"
    wide = rule.model_copy(update={"limit_bytes_per_s": 1e12})
    assert plausible(good.model_copy(update={"bandwidth": wide}), 10e9) == "bandwidth_of_no_such_device"
    assert plausible(good.model_copy(update={"emulated": True})) == "emulated_speed"
    assert plausible(good.model_copy(update={"emulated": True, "decode": (), "prefill": (), "bandwidth": None})) == ""


def test_document_types_are_all_here() -> None:
    """If not: a new document is on the wire and none of these tests saw it."""
    kinds = {
        kind
        for module in (messages, report, documents)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Document) and kind is not Document
    }
    assert kinds == {type(document) for document in examples()}
