"""From a recipe's data to token ids: which files were read, what came of each, what was left out.

A new kind of data is one function here and one word in edge/specs/recipe.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edge.adapt import differential_data, note_data
from edge.adapt.alignment import Aligner
from edge.adapt.batches import Source, TokenExample, schedule
from edge.adapt.differential_data import DifferentialExample
from edge.adapt.note_data import NoteExample
from edge.clinical.note_prompt import part_messages
from edge.errors import InputError, SourceError
from edge.evaluate.data.split import dxbench_split
from edge.files import sha256_file
from edge.runtime.text import ChatTokenizer, Message
from edge.specs.recipe import DataSpec, Recipe

ROLES = ("system", "user", "assistant")
OWN_TABLE = "edge/clinical/data/conditions.json"
HELD_OUT_SEED = 1


@dataclass(frozen=True)
class Pair:
    """One training pair as text. messages: (role, content) up to the answer."""

    messages: tuple[tuple[str, str], ...]
    answer: str


@dataclass(frozen=True)
class DataFile:
    """A file that was read. name: below the data folder."""

    name: str
    sha256: str


@dataclass(frozen=True)
class EncodedSource:
    """One entry of a recipe's data. left_out: pairs past the length limit."""

    spec: DataSpec
    files: tuple[DataFile, ...]
    examples: tuple[TokenExample, ...]
    left_out: int

    @property
    def tokens(self) -> int:
        """Tokens of all examples, each once."""
        return sum(example.length for example in self.examples)

    @property
    def answer_tokens(self) -> int:
        """Tokens that the loss is over, each example once."""
        return sum(len(example.answer) for example in self.examples)


@dataclass(frozen=True)
class Course:
    """All that the loop sees: batches in order, and what they were made of."""

    sources: tuple[EncodedSource, ...]
    held_out_sources: tuple[EncodedSource, ...]
    batches: tuple[tuple[TokenExample, ...], ...]
    held_out: tuple[tuple[TokenExample, ...], ...]

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Every file that was read, by name."""
        found = {file.name: file for source in (*self.sources, *self.held_out_sources) for file in source.files}
        return tuple(found[name] for name in sorted(found))

    @property
    def tokens_seen(self) -> int:
        """Tokens of all batches, without padding."""
        return sum(example.length for batch in self.batches for example in batch)


@dataclass(frozen=True)
class Tokens:
    """A checkpoint's tokenizer. end_id: the token that ends an answer."""

    chat: ChatTokenizer
    end_id: int


def open_tokens(files: Mapping[str, bytes], folder: Path) -> Tokens:
    """The tokenizer of a checkpoint (base.Checkpoint.tokenizer_files), unpacked into `folder`. Errors: SourceError."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    ends = json.loads(files["special_tokens.json"]).get("eos_token_ids") or ()
    if not ends:
        raise SourceError("names no token that ends an answer", where="special_tokens.json", mend="check the model")
    return Tokens(ChatTokenizer(folder), int(ends[0]))


def make_course(recipe: Recipe, data: Path, tokens: Tokens, say: Callable[[str], None]) -> Course:
    """Read, encode and put in order. Errors: InputError, one line, without a word of the data."""
    made: list[list[EncodedSource]] = []
    for items in (recipe.data, recipe.held_out):
        made.append([])
        for item, found in zip(items, read_pairs(recipe, items, data), strict=True):
            source = _encoded(item, data, found, tokens, recipe.training.max_length_tokens)
            if not source.examples:
                raise InputError("gives no example", where=_where(item, data), mend="check the file and its kind")
            made[-1].append(source)
            say(f"{item.kind}: {len(source.examples)} examples, {source.tokens} tokens, {source.left_out} too long")
    step = recipe.training.tokens_per_step
    sources = [Source(source.examples, source.spec.epochs) for source in made[0]]
    held_out = [Source(source.examples, 1) for source in made[1]]
    return Course(
        tuple(made[0]),
        tuple(made[1]),
        schedule(sources, step, recipe.training.seed),
        schedule(held_out, step, HELD_OUT_SEED) if held_out else (),
    )


def read_pairs(recipe: Recipe, items: Sequence[DataSpec], data: Path) -> Iterator[list[Pair]]:
    """The pairs of each entry, as text. Errors: InputError, one line."""
    aligner = _background(data) if any(item.kind in ("aci-notes", "mts-notes") for item in items) else None
    for item in items:
        yield _read(item, recipe, data, aligner)


def read_chat(path: Path) -> Iterator[Pair]:
    """Conversations of a JSONL file: {"messages": [{"role", "content"}, ...]}, the last one the assistant's.

    Errors: InputError names the line, never its words.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path), mend="save it as UTF-8") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError("is not JSON", where=where, mend="one JSON object a line") from error
        messages = row.get("messages") if isinstance(row, dict) else None
        if not isinstance(messages, list) or len(messages) < 2:
            raise InputError(
                "has no list 'messages' of two or more", where=where, mend="see docs/adapt.md for the form"
            )
        pairs = []
        for message in messages:
            role = message.get("role") if isinstance(message, dict) else None
            content = message.get("content") if isinstance(message, dict) else None
            if role not in ROLES or not isinstance(content, str) or not content.strip():
                raise InputError(
                    "holds a message without a known role or without content",
                    where=where,
                    mend=f"roles are {', '.join(ROLES)}, content is text",
                )
            pairs.append((role, content))
        if pairs[-1][0] != "assistant":
            raise InputError("does not end with the assistant's message", where=where, mend="add the answer")
        yield Pair(tuple(pairs[:-1]), pairs[-1][1])


def _background(data: Path) -> Aligner:
    try:
        return note_data.background(data)
    except OSError as error:
        raise _no_file(error, data) from error


def _no_file(error: OSError, data: Path) -> InputError:
    name = Path(str(error.filename)) if error.filename else data
    return InputError(
        "cannot be read" if name.exists() else "there is no such file",
        where=str(name),
        mend="give the folder of the data sets with --data",
    )


def _read(item: DataSpec, recipe: Recipe, data: Path, aligner: Aligner | None) -> list[Pair]:
    """Pairs of one entry, in order. Errors: InputError."""
    path = data / (item.path or "")
    try:
        return [_pair(example) for example in _examples(item, recipe, data, path, aligner)]
    except OSError as error:
        raise _no_file(error, data) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"is not in the form of {item.kind} ({type(error).__name__})",
            where=_where(item, data),
            mend="check the file and its kind",
        ) from error


def _examples(
    item: DataSpec, recipe: Recipe, data: Path, path: Path, aligner: Aligner | None
) -> Sequence[NoteExample | DifferentialExample | Pair]:
    seed = recipe.training.seed
    if item.kind in ("aci-notes", "mts-notes"):
        reader = note_data.aci_examples if item.kind == "aci-notes" else note_data.mts_examples
        return reader(path, aligner or _background(data), part_words=recipe.part_words)
    if item.kind == "dxbench":
        cases = [
            case
            for case in differential_data.dx_cases(path)
            if item.part == "all" or dxbench_split(case.case_id) == item.part
        ]
        for name in item.whole_files:
            cases += differential_data.dx_cases(data / name)
        if item.part == "valid":  # chosen on the question as it is asked, once a case
            return [
                differential_data.example(case.present, case.absent, case.unsure, case.candidates, case.answer)
                for case in cases
            ]
        return differential_data.dx_examples(cases, item.copies or 1, seed)
    if item.kind == "ddxplus-patients":
        return differential_data.table_patients(own_conditions(), item.count or 0, seed)
    if item.kind == "imedqa":
        return differential_data.imedqa_examples(path)
    return list(read_chat(path))


def own_conditions() -> list[dict[str, Any]]:
    """The table of conditions that comes with edge."""
    text = resources.files("edge.clinical").joinpath("data/conditions.json").read_text("utf-8")
    conditions: list[dict[str, Any]] = json.loads(text)["conditions"]
    return conditions


def _pair(example: NoteExample | DifferentialExample | Pair) -> Pair:
    if isinstance(example, NoteExample):
        messages = part_messages(example.dialogue_part, example.patient)
        return Pair(tuple((item["role"], item["content"]) for item in messages), example.answer)
    if isinstance(example, DifferentialExample):
        return Pair(example.messages, example.answer)
    return example


def _where(item: DataSpec, data: Path) -> str:
    return str(data / item.path) if item.path else OWN_TABLE


def _files(item: DataSpec, data: Path) -> tuple[DataFile, ...]:
    if item.path is None:
        with resources.as_file(resources.files("edge.clinical").joinpath("data/conditions.json")) as path:
            return (DataFile(OWN_TABLE, sha256_file(path)),)
    return tuple(DataFile(name, sha256_file(data / name)) for name in (item.path, *item.whole_files))


def _encoded(item: DataSpec, data: Path, pairs: Sequence[Pair], tokens: Tokens, max_length: int) -> EncodedSource:
    kept: list[TokenExample] = []
    left_out = 0
    for number, pair in enumerate(pairs, 1):
        try:
            prompt = tokens.chat.encode_chat([Message(role, content) for role, content in pair.messages])
            answer = [*tokens.chat.encode_text(pair.answer), tokens.end_id]
        except InputError as error:
            raise InputError(f"example {number}: {error.what}", where=_where(item, data), mend=error.mend) from error
        if len(prompt) + len(answer) > max_length:
            left_out += 1
        else:
            kept.append(TokenExample(tuple(prompt), tuple(answer)))
    return EncodedSource(item, _files(item, data), tuple(kept), left_out)
