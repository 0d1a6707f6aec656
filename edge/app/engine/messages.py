"""What the app and the engine's process say to each other: one JSON object a line, protocol version 1.

`encode` and `decode` are strict both ways: a type, a key or a value that this version does not know is a
ProtocolError, never a guess. Texts of a visit and of the model are left out of every repr, so that no log can hold
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PROTOCOL_VERSION = 1
# A visit of an hour is below 100 kB; a line beyond this is a fault of the other side.
MAX_LINE_BYTES = 4 << 20
UNKNOWN_EXIT = 255
Verified = Literal["passed", "failed", "none", "forced"]
RefusalCode = Literal["missing", "mismatch", "untrusted", "unverified", "low_memory", "unsupported"]
NOTE, BENCHMARK = "note", "benchmark"


class ProtocolError(Exception):
    """A line that is not a message of this version. Carries no part of the line."""


# Requests


@dataclass(frozen=True)
class DraftNote:
    """Draft the note of a visit. text: the transcript."""

    run_id: str
    encounter_id: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class RankDifferential:
    """Rank options for a case. task: differential or ophthalmology; eye: OD, OS or None."""

    run_id: str
    encounter_id: str
    task: str
    text: str = field(repr=False)
    eye: str | None = None


@dataclass(frozen=True)
class RunBenchmark:
    """Measure the bundle on this device and sign the outcome."""

    run_id: str


@dataclass(frozen=True)
class Cancel:
    """Stop a run at its next step. A run that waits is never begun."""

    run_id: str


@dataclass(frozen=True)
class Close:
    """End the process."""


# Events


@dataclass(frozen=True)
class Loading:
    """The engine is getting ready. fraction: 0 to 1; seconds_left: an estimate, None when there is none."""

    fraction: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class BundleFacts:
    """What a screen tells of the model. verified: its device test here; predicted_peak_bytes: of the manifest."""

    name: str
    profile: str
    target: str
    behaviour_digest: str
    bundle_digest: str
    verified: Verified
    tasks: tuple[str, ...]
    load_ms: float
    context_tokens: int
    predicted_peak_bytes: int
    model_words: str


@dataclass(frozen=True)
class Ready:
    """The engine takes runs."""

    facts: BundleFacts


@dataclass(frozen=True)
class Refused:
    """The bundle is not used; the process ends. message: one line; bytes: only of low_memory."""

    code: RefusalCode
    message: str
    free_bytes: int = 0
    needed_bytes: int = 0


@dataclass(frozen=True)
class Started:
    """A run has begun. parts: in how many parts the text is read; 1 for a differential."""

    run_id: str
    encounter_id: str
    task: str
    parts: int


@dataclass(frozen=True)
class Reading:
    """The model begins to read a part, counted from 1."""

    run_id: str
    part: int
    parts: int


@dataclass(frozen=True)
class Piece:
    """Text as it is written: a display only, not checked. tokens: about how many of the model's tokens it is."""

    run_id: str
    text: str = field(repr=False)
    tokens: int = 1


@dataclass(frozen=True)
class LineDrafted:
    """A line that passed the fact check: section, text, origin and evidence as in the note's JSON."""

    run_id: str
    line: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Progress:
    """Steps done of a differential or a benchmark."""

    run_id: str
    done: int
    total: int


@dataclass(frozen=True)
class TooLong:
    """The first minutes of the visit were left out, because it is longer than the model can read."""

    run_id: str
    left_out_minutes: int


@dataclass(frozen=True)
class Unreadable:
    """The model's answers did not have their form; the run's Result is empty."""

    run_id: str


@dataclass(frozen=True)
class Figures:
    """What a run cost. ttft_ms: from its start to the first text; tokens_per_s: while writing."""

    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    new_tokens: int = 0
    elapsed_ms: float = 0.0
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Result:
    """The end of a run. value: the task's own JSON; cancelled: partial, not for use."""

    run_id: str
    encounter_id: str
    task: str
    value: dict[str, Any] = field(repr=False)
    figures: Figures = Figures()
    cancelled: bool = False


@dataclass(frozen=True)
class Failed:
    """The end of a run that could not be done. message: one line without a word of a patient."""

    run_id: str
    message: str


@dataclass(frozen=True)
class DeviceReading:
    """The device now. free_bytes: memory that can be had; rss_bytes: of the engine's process."""

    temperature_c: float | None
    throttled: bool
    free_bytes: int
    rss_bytes: int
    frequency_mhz: float | None = None


@dataclass(frozen=True)
class BenchmarkDone:
    """The end of a benchmark. path: of the result's file; words: one line."""

    run_id: str
    passed: bool
    path: str
    words: str


@dataclass(frozen=True)
class Died:
    """The process ended by itself. Made by the client, never sent.

    exit_code: negative for a signal, UNKNOWN_EXIT where it cannot be known. message: one line for the engineer.
    """

    exit_code: int
    message: str = ""


Request = DraftNote | RankDifferential | RunBenchmark | Cancel | Close
Event = (
    Loading
    | Ready
    | Refused
    | Started
    | Reading
    | Piece
    | LineDrafted
    | Progress
    | TooLong
    | Unreadable
    | Result
    | Failed
    | DeviceReading
    | BenchmarkDone
    | Died
)
Message = Request | Event
RUN_REQUESTS = (DraftNote, RankDifferential, RunBenchmark)
ENDS = (Result, Failed, BenchmarkDone)

_READERS: dict[type[Any], dict[str, Callable[[Any], Any]]] = {}
_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Event))}


def task_of(request: Request) -> str:
    """The task that a request needs of a bundle; '' for Cancel and Close."""
    if isinstance(request, DraftNote):
        return NOTE
    if isinstance(request, RankDifferential):
        return request.task
    return BENCHMARK if isinstance(request, RunBenchmark) else ""


def encode(message: Message) -> bytes:
    """A line with its newline. Errors: ProtocolError when it is longer than MAX_LINE_BYTES or not plain JSON."""
    try:
        value = {"v": PROTOCOL_VERSION, "type": type(message).__name__, **_plain(message)}
        line = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"a {type(message).__name__} cannot be written ({type(error).__name__})") from None
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a {type(message).__name__} of {len(line)} bytes is too long")
    return line


def decode(line: bytes) -> Message:
    """The message of a line. Errors: ProtocolError for anything that this version does not know."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a line of {len(line)} bytes is too long")
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ProtocolError("a line is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("a line is not an object")
    if (version := value.pop("v", None)) != PROTOCOL_VERSION or isinstance(version, bool):
        raise ProtocolError("a line is of another protocol version")
    kind = _TYPES.get(value.pop("type", None) or "") if isinstance(value.get("type"), str) else None
    if kind is None:
        raise ProtocolError("a line is of an unknown type")
    message: Message = _read(kind, value)
    return message


def _no_constant(_word: str) -> float:
    raise ValueError


def _plain(message: Any) -> dict[str, Any]:
    values = {one.name: getattr(message, one.name) for one in fields(message)}
    return {name: _plain(value) if is_dataclass(value) else value for name, value in values.items()}


def _read(kind: type[Any], value: Mapping[str, Any]) -> Any:
    readers = _readers(kind)
    if value.keys() != readers.keys():
        raise ProtocolError(f"a {kind.__name__} has other keys")
    return kind(**{name: read(value[name]) for name, read in readers.items()})


def _readers(kind: type[Any]) -> dict[str, Callable[[Any], Any]]:
    if kind not in _READERS:
        hints = get_type_hints(kind)
        _READERS[kind] = {one.name: _reader(hints[one.name], f"{kind.__name__}.{one.name}") for one in fields(kind)}
    return _READERS[kind]


def _reader(hint: Any, where: str) -> Callable[[Any], Any]:
    """A function that takes a JSON value for a field, or raises ProtocolError."""

    def wrong() -> ProtocolError:
        return ProtocolError(f"{where} is not of its type")

    if get_origin(hint) in (Union, UnionType):
        inner = [_reader(one, where) for one in get_args(hint) if one is not NoneType]
        return lambda value: None if value is None else inner[0](value)
    if get_origin(hint) is Literal:
        words = get_args(hint)

        def word(value: Any) -> Any:
            if not (isinstance(value, str) and value in words):
                raise wrong()
            return value

        return word
    if is_dataclass(hint) and isinstance(hint, type):

        def nested(value: Any) -> Any:
            if not isinstance(value, dict):
                raise wrong()
            return _read(hint, value)

        return nested
    if get_origin(hint) is tuple:

        def strings(value: Any) -> tuple[str, ...]:
            if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                raise wrong()
            return tuple(value)

        return strings
    base = get_origin(hint) or hint

    def plain(value: Any) -> Any:
        if base is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, base) or (isinstance(value, bool) and base is not bool):
            raise wrong()
        if base is float and not math.isfinite(value):
            raise wrong()
        return value

    return plain
