"""The lines between the app and the speech process: JSON, audio in base64; nothing else passes."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from edge.app.speech.protocol import SpeechEvent
from edge.errors import InputError

VERSION = 1
MAX_FEED_BYTES = 1 << 20  # half a minute at 16 kHz: more at once is no microphone
MAX_LINE_BYTES = 2 * MAX_FEED_BYTES
REQUESTS = {"start": {"language", "terms"}, "feed": {"pcm16", "rate_hz"}, "stop": set(), "close": set()}
EVENTS = {
    "ready": {"model"},
    "text": {"text", "start_ms", "end_ms", "final", "speaker"},
    "stopped": set(),
    "failed": {"what", "mend", "key"},
}


def line(kind: str, **values: Any) -> bytes:
    """A message as a line."""
    return json.dumps({"v": VERSION, "kind": kind, **values}, ensure_ascii=True).encode("ascii") + b"\n"


def parse(data: bytes, known: dict[str, set[str]]) -> tuple[str, dict[str, Any]]:
    """(kind, values) of a line. known: REQUESTS or EVENTS. Errors: InputError, without the content of the line."""
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.pop("v", None) != VERSION:
        raise InputError("a line of the speech process is not of this version", mend="install the app again")
    kind = value.pop("kind", None)
    if kind not in known or set(value) != known[kind]:
        raise InputError("a line of the speech process is not understood", mend="install the app again")
    return kind, value


def feed_line(pcm16: bytes, rate_hz: int) -> bytes:
    """Audio as a line."""
    return line("feed", pcm16=base64.b64encode(pcm16).decode("ascii"), rate_hz=rate_hz)


def audio(values: dict[str, Any]) -> tuple[bytes, int]:
    """(PCM, rate) of a feed. Errors: InputError for what is no audio."""
    try:
        pcm16, rate_hz = base64.b64decode(values["pcm16"], validate=True), int(values["rate_hz"])
    except (binascii.Error, TypeError, ValueError):
        pcm16, rate_hz = b"", 0
    if not 8_000 <= rate_hz <= 192_000 or len(pcm16) % 2:
        raise InputError("the audio is not 16-bit PCM of 8 to 192 kHz", mend="choose another microphone or file")
    return pcm16, rate_hz


def event(values: dict[str, Any]) -> SpeechEvent:
    """The event of a text line."""
    return SpeechEvent(
        str(values["text"]),
        int(values["start_ms"]),
        int(values["end_ms"]),
        bool(values["final"]),
        str(values["speaker"]),
    )
