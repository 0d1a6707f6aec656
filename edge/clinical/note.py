"""The note task as it lies in a bundle, and a transcript as one prompt.

The draft itself is made part by part (drafting.py). `note_prompt` puts a whole transcript into one prompt: nothing is
left out in silence, when it is longer than the model can read its beginning is dropped at a line break and the reader
is told how much.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clinical.note_prompt import SYSTEM
from edge.clinical.parts import PART_WORDS
from edge.clinical.rules import check_rules
from edge.errors import BundleError, InputError
from edge.runtime.sampling import SamplerSettings
from edge.runtime.text import ChatTokenizer, Message

TASK_FILE = "note.json"
TASK_VERSION = 2
TRANSCRIPT = "{transcript}"
LABEL = "Draft written by a language model. Check each item. The clinician decides."


@dataclass(frozen=True)
class Task:
    """A task as it lies in a bundle. user: template with {transcript}; max_new_tokens bounds the answer.

    answer_prefix: how every answer begins; put into the model's mouth, so that a small model writes a note and
    does not go on with the conversation. part_words: the task reads a visit in parts of about that many words, 0 for
    the whole at once; max_new_tokens then bounds the answer to one part. extract_share: the draft is filled up with
    the visit's own sentences to this share of the visit's words. rules: sha256 of each table and grammar of
    the package that decides what the clinician reads, so that the behaviour digest covers them.
    """

    name: str
    system: str
    user: str
    max_new_tokens: int
    sampler: SamplerSettings
    answer_prefix: str = ""
    part_words: int = 0
    extract_share: float = 0.0
    rules: tuple[tuple[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON for the bundle's tasks/ folder."""
        value = {
            "schema_version": TASK_VERSION,
            "task": self.name,
            "system": self.system,
            "user": self.user,
            "max_new_tokens": self.max_new_tokens,
            "sampler": self.sampler.to_json(),
            "answer_prefix": self.answer_prefix,
            "part_words": self.part_words,
            "extract_share": self.extract_share,
            "rules": dict(self.rules),
        }
        return (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


NOTE_TASK = Task(
    name="note",
    system=SYSTEM,
    user=TRANSCRIPT,
    max_new_tokens=240,
    sampler=SamplerSettings(temperature=0.0),
    part_words=PART_WORDS,
    # People's notes are about .33 of the visit's words (ACI-Bench train); chosen on valid among .26, .3 and .34.
    extract_share=0.28,
)


def read_task(folder: Path, name: str) -> Task:
    """A task of an open bundle. Errors: InputError when the bundle has none of that name; BundleError, also
    when its rules are not those installed here."""
    path = folder / "tasks" / f"{name}.json"
    if not path.is_file():
        names = sorted(item.stem for item in (folder / "tasks").glob("*.json") if not item.stem.endswith(".schema"))
        known = ", ".join(names) or "none"
        raise InputError(f"this bundle has no task '{name}'", where=str(folder), mend=f"use one of: {known}")
    try:
        value: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if value["schema_version"] != TASK_VERSION:
            raise BundleError(
                f"task version {value['schema_version']} is not known", where=str(path), mend="update edge"
            )
        task = Task(
            name=str(value["task"]),
            system=str(value["system"]),
            user=str(value["user"]),
            max_new_tokens=int(value["max_new_tokens"]),
            sampler=SamplerSettings(**value["sampler"]),
            answer_prefix=str(value["answer_prefix"]),
            part_words=int(value["part_words"]),
            extract_share=float(value["extract_share"]),
            rules=tuple(sorted((str(name), str(digest)) for name, digest in value["rules"].items())),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError("not a valid task file", where=str(path), mend="install the bundle again") from error
    check_rules(task, str(path))
    return task


def note_messages(task: Task, transcript: str) -> list[Message]:
    """The conversation that asks for a note."""
    # str.replace, not format: a transcript may hold braces.
    return [Message("system", task.system), Message("user", task.user.replace(TRANSCRIPT, transcript))]


def decode_transcript(data: bytes, where: str) -> str:
    """A transcript file's text. Errors: InputError when it is not UTF-8 or holds no text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text (byte {error.start})", where=where, mend="save the transcript as UTF-8"
        ) from error
    if "\0" in text:
        raise InputError("not a text file (it holds zero bytes)", where=where, mend="give the transcript as text")
    if not text.strip():
        raise InputError("no text in it", where=where, mend="give a transcript with at least one word")
    return text.replace("\r\n", "\n").strip()


@dataclass(frozen=True)
class NotePrompt:
    """token_ids: what the model reads. Left out of the transcript's beginning: left_out_lines whole lines, in all
    left_out_share of its characters (0 to 1)."""

    token_ids: tuple[int, ...]
    left_out_lines: int
    left_out_share: float

    @property
    def notice(self) -> str:
        """What the reader must be told, or ''."""
        if not self.left_out_share:
            return ""
        percent = min(max(round(100 * self.left_out_share), 1), 99)
        lines = "line" if self.left_out_lines == 1 else "lines"
        what = f"its first {self.left_out_lines} {lines}" if self.left_out_lines else "its beginning"
        return f"The visit is longer than the model can read. Left out: {what}, {percent} % of the transcript."


def note_prompt(task: Task, transcript: str, tokenizer: ChatTokenizer, room_tokens: int) -> NotePrompt:
    """Tokens for a transcript, its beginning left out line by line until it fits into `room_tokens`.

    Errors: InputError when not even the last line fits.
    """

    def encode(text: str) -> tuple[int, ...]:
        opening = tokenizer.encode_text(task.answer_prefix) if task.answer_prefix else []
        return (*tokenizer.encode_chat(note_messages(task, text)), *opening)

    whole = encode(transcript)
    if len(whole) <= room_tokens:
        return NotePrompt(whole, 0, 0.0)
    lines = _break_long(transcript.splitlines(keepends=True), tokenizer, max(room_tokens // 8, 16))
    counts = [tokenizer.count_tokens(line) for line in lines]
    frame = len(encode(""))
    kept, used = len(lines), frame
    while kept > 0 and used + counts[kept - 1] <= room_tokens - 8:
        kept -= 1
        used += counts[kept]
    for first in range(kept, len(lines)):
        ids = encode("".join(lines[first:]))
        if len(ids) <= room_tokens:  # joined lines may cost a few tokens more than the lines one by one
            left_out = "".join(lines[:first])
            whole_lines = len(f"{left_out}.".splitlines()) - 1
            return NotePrompt(ids, whole_lines, len(left_out) / len(transcript))
    raise InputError(
        f"the model's context leaves {max(room_tokens - frame, 0)} tokens for the transcript",
        mend="build with a larger context_tokens",
    )


def _break_long(lines: Sequence[str], tokenizer: ChatTokenizer, limit_tokens: int) -> list[str]:
    """Lines, those of more than limit_tokens cut, at spaces where there are any: a transcript may be one line."""
    return [piece for line in lines for piece in _halved(line, tokenizer, limit_tokens)]


def _halved(line: str, tokenizer: ChatTokenizer, limit_tokens: int) -> list[str]:
    if len(line) < 2 or tokenizer.count_tokens(line) <= limit_tokens:
        return [line]
    middle = len(line) // 2
    cut = line.rfind(" ", 0, middle) + 1 or middle
    return _halved(line[:cut], tokenizer, limit_tokens) + _halved(line[cut:], tokenizer, limit_tokens)
