"""`edge run`: a draft from a file, or a chat, on a terminal.

What the model wrote goes to stdout and nothing else does; labels, notices and figures go to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.bundle.install.in_force import in_force
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.clinical.note import LABEL, decode_transcript, note_prompt, read_task
from edge.device.facts import local_facts
from edge.errors import ExitStatus, InputError, UnverifiedError
from edge.runtime.generate import Finished, PrefillStep
from edge.runtime.prefix_cache import PrefixCache
from edge.runtime.sampling import SamplerSettings
from edge.runtime.session import Session, TextPiece
from edge.runtime.text import Message

WORDS = {
    "stop": "Done in {seconds:.0f} s. Check each item.",
    "length": "Stopped at the length limit after {seconds:.0f} s. The draft may be incomplete.",
    "context": "Stopped because the model's context is full. The draft is incomplete.",
    "constraint": "Stopped: nothing more fits the form. The draft may be incomplete.",
    "cancelled": "Stopped. Partial result, not for use.",
}


def say(text: str) -> None:
    """A line for the person."""
    print(text, file=sys.stderr, flush=True)


def run_command(
    place: Path, file: Path | None, task: str | None, *, force: bool, threads: int | None, options: Mapping[str, Any]
) -> int:
    """Open the bundle, read, write. Returns the exit code."""
    if task is None and file is not None:
        raise InputError("a file needs a task", where=str(file), mend="add --task note")
    if task is not None and file is None:
        raise InputError(f"the task '{task}' needs a file", mend="give a transcript, or - for standard input")
    transcript = decode_transcript(_read(file), str(file)) if file is not None else ""
    device = local_facts()
    bundle = open_bundle(in_force(place), KeyStore().trust_store(), device=device)
    for line in check_verified(bundle, device.device_class, force=force):
        say(line)
    with Session(bundle, threads=threads, prefix_cache=PrefixCache()) as session:
        if task is not None:
            return _draft(session, task, transcript, options)
        return _chat(session, options)


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(file), mend="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(file), mend="give a text file") from error


def check_verified(bundle: OpenBundle, device_class: str, *, force: bool) -> list[str]:
    """What to say of this build on this class of device. Errors: UnverifiedError when it failed its test."""
    attestation = bundle.attestation_for(device_class)
    if attestation is None:
        return ["This build has not passed its device test. Run `edge verify` on this device."]
    if attestation.passed:
        return []
    if not force:
        raise UnverifiedError(
            "this build failed its device test here",
            where=str(bundle.path),
            mend="run `edge verify` to see why, or add --force to run it all the same",
        )
    return ["This build FAILED its device test here; running it because of --force."]


def _sampler(base: SamplerSettings, options: Mapping[str, Any]) -> SamplerSettings:
    given = {name: options[name] for name in ("temperature", "top_p", "seed") if options.get(name) is not None}
    return replace(base, **given)


def printable(text: str) -> str:
    """What a terminal may be shown: a model must not move the cursor or change colours (ESC and the like)."""
    return "".join(letter if (letter >= " " and letter != "\x7f") or letter in "\n\t" else "\ufffd" for letter in text)


def _stream(session: Session, ids: list[int], sampler: SamplerSettings, limit: int) -> tuple[str, Finished]:
    """Print the answer as it comes; Ctrl-C stops within one step."""
    pieces: list[str] = []
    finished: Finished | None = None
    reading = False

    with _Interrupt() as interrupt:
        if os.environ.get("EDGE_TRACE_START"):
            say("reading")
        for event in session.stream(ids, sampler=sampler, max_new_tokens=limit, cancelled=lambda: interrupt.asked):
            if isinstance(event, PrefillStep) and sys.stderr.isatty():
                reading = True
                sys.stderr.write(f"\rReading {event.done_tokens}/{event.total_tokens} tokens ")
                sys.stderr.flush()
            elif isinstance(event, TextPiece):
                if reading:
                    sys.stderr.write("\r" + " " * 40 + "\r")
                    reading = False
                pieces.append(event.text)
                sys.stdout.write(printable(event.text) if sys.stdout.isatty() else event.text)
                sys.stdout.flush()
            elif isinstance(event, Finished):
                finished = event
    sys.stdout.write("\n")
    if finished is None:
        raise InputError("the model wrote nothing", mend="run `edge verify` on this bundle")
    return "".join(pieces), finished


def _draft(session: Session, name: str, transcript: str, options: Mapping[str, Any]) -> int:
    from edge.clinical.differential_console import SCORED_TASKS, run_scored

    if name in SCORED_TASKS and (session.folder / "tasks" / f"{name}.json").is_file():
        answer = options.get("answer_file")
        judged = decode_transcript(_read(Path(answer)), str(answer)) if answer else None
        return run_scored(session, name, transcript, {**options, "answer": judged})
    task = read_task(session.folder, name)
    manifest = session.bundle.manifest
    say(f"{LABEL} [{manifest.name}, behaviour {session.bundle.behaviour_digest[:12]}]")
    if task.part_words:
        return _note(session, transcript, options)
    sampler = _sampler(task.sampler, options)
    limit = int(options.get("max_new_tokens") or task.max_new_tokens)
    prompt = note_prompt(task, transcript, session.tokenizer, session.engine.context_tokens - limit)
    if prompt.notice:
        say(prompt.notice)
    sys.stdout.write(task.answer_prefix)
    _, finished = _stream(session, list(prompt.token_ids), sampler, limit)
    say(WORDS[finished.reason].format(seconds=finished.elapsed_ms / 1000))
    speed = finished.decode_tokens_per_s
    say(
        f"read {finished.prompt_tokens} tokens, first word after {(finished.ttft_ms or 0) / 1000:.1f} s, "
        f"wrote {finished.new_tokens} tokens" + (f" at {speed:.0f} tok/s" if speed else "")
    )
    return int(ExitStatus.INTERRUPTED) if finished.reason == "cancelled" else int(ExitStatus.OK)


def _note(session: Session, transcript: str, options: Mapping[str, Any]) -> int:
    """The note, part by part: progress and rules to stderr, the note to stdout; Ctrl-C stops within one step."""
    from edge.clinical.drafting import PartStarted, draft_events
    from edge.clinical.note_draft import NoteDraft, NoteLine, shown_text

    draft: NoteDraft | None = None
    live = sys.stderr.isatty()
    with _Interrupt() as interrupt:
        if os.environ.get("EDGE_TRACE_START"):
            say("reading")
        for event in draft_events(session, transcript, cancelled=lambda: interrupt.asked, options=options):
            if isinstance(event, PartStarted) and live:
                sys.stderr.write(f"\rReading part {event.index + 1} of {event.count} ")
                sys.stderr.flush()
            elif isinstance(event, NoteLine) and live:
                sys.stderr.write(f"\r{printable(f'{event.section}: {event.text}')}\n")
            elif isinstance(event, NoteDraft):
                draft = event
    if draft is None:
        raise InputError("the model wrote nothing", mend="run `edge verify` on this bundle")
    for line in draft.told():
        say(line)
    text = json.dumps(draft.to_json(), ensure_ascii=False) if options.get("json") else ""
    text = text or shown_text(draft, evidence=bool(options.get("evidence")))
    sys.stdout.write((printable(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()  # a full disk or a closed pipe is told here, not when Python ends
    figures = draft.figures
    say(WORDS["cancelled" if draft.cancelled else "stop"].format(seconds=figures.elapsed_ms / 1000))
    say(
        f"read {figures.prompt_tokens} tokens in {figures.parts} parts, wrote {figures.new_tokens} tokens"
        + (f"; {figures.drafting}" if figures.drafting else "")
    )
    return int(ExitStatus.INTERRUPTED) if draft.cancelled else int(ExitStatus.OK)


class _Interrupt:
    """Ctrl-C as a flag while the model writes."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _Interrupt:
        import signal

        self._before = signal.signal(signal.SIGINT, self._on)
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        signal.signal(signal.SIGINT, self._before)

    def _on(self, _number: int, _frame: object) -> None:
        self.asked = True


def _typed_line() -> str:
    """A line of the chat. Errors: EOFError at the end; InputError when it is not UTF-8."""
    try:
        line = input("> " if sys.stdin.isatty() else "")
        line.encode()  # under some locales Python reads other bytes as lone surrogates
    except UnicodeError as error:
        raise InputError("what was typed is not UTF-8", mend="use a terminal that is set to UTF-8") from error
    return line


def _chat(session: Session, options: Mapping[str, Any]) -> int:
    """Turns until end of input; every turn re-reads only what is new."""
    say(f"{LABEL} End with Ctrl-D.")
    messages: list[Message] = []
    known: list[int] = []
    sampler = _sampler(SamplerSettings(repetition_penalty=1.1), options)
    limit = int(options.get("max_new_tokens") or 512)
    while True:
        say("") if messages else None
        try:
            line = _typed_line()
        except EOFError:
            return int(ExitStatus.OK)
        if not line.strip():
            continue
        messages.append(Message("user", line))
        ids = session.tokenizer.encode_chat(messages)
        common = 0
        while common < min(len(known), len(ids) - 1) and known[common] == ids[common]:
            common += 1
        session.engine.rewind(min(common, session.engine.length))
        common = session.engine.length
        room = session.engine.context_tokens - len(ids)
        if room < 16:
            raise InputError("the chat is longer than the model can read", mend="start a new one")
        text, _ = _stream(session, ids[common:], sampler, min(limit, room - 8))
        messages.append(Message("assistant", text))
        known = ids
