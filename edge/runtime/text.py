"""Text to tokens and back, with the checkpoint's own tokenizer and chat template.

A chat template mixes control tokens (end of turn, role markers) with what people typed. A transcript may
hold the characters "<|im_end|>", by accident or as an attack; they must stay text. The template is rendered
with place-holders for the contents, control tokens are looked for in the template's part only, and everything
between them is encoded with special tokens switched off. For harmless text the ids are exactly those of the
framework's own template rendering.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from edge.errors import BundleError, EdgeError, InputError

try:
    from tokenizers import Tokenizer
except ImportError:  # not built for this platform (Android)
    from edge.runtime.bpe_tokenizer import BpeTokenizer as Tokenizer  # type: ignore[assignment]

# Private-use characters: refused in input, so a place-holder cannot be forged.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_PLACE_HOLDER = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Message:
    """One chat message. role: system, user or assistant."""

    role: str
    content: str


class ChatTokenizer:
    """The tokenizer folder of a bundle: tokenizer.json, chat_template.jinja, special_tokens.json."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
            self._special: Mapping[str, Any] = json.loads((folder / "special_tokens.json").read_text("utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise BundleError(
                "the tokenizer cannot be read", where=str(folder), mend="build or install the bundle again"
            ) from error
        # Special tokens in what we encode are plain text; the template's own are inserted by id.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        added = self._tokenizer.get_added_tokens_decoder()
        self._control_ids = {token.content: index for index, token in added.items() if token.special}
        longest_first = sorted(self._control_ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    @property
    def vocab_size(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def definition(self) -> str:
        """The whole tokenizer.json, for libraries that bring a reader of their own. Errors: OSError."""
        return (self._folder / "tokenizer.json").read_text(encoding="utf-8")

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return frozenset(int(index) for index in self._special.get("eos_token_ids", ()))

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Tokens that only a template may produce."""
        return frozenset(self._control_ids.values())

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text; control tokens written in it come out as ordinary characters.

        Errors: InputError when the tokenizer has no ordinary tokens for it.
        """
        try:
            ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except TypeError as error:  # half a surrogate pair, as a terminal that is not UTF-8 gives it
            raise InputError("the text is not valid Unicode", mend="give it as UTF-8") from error
        if not self.control_ids.isdisjoint(ids):
            # Possible where the vocabulary spells a control token like a word, or has a token for the unknown.
            raise InputError(
                "the text holds a word or character that this tokenizer can only write as a control token",
                mend="remove it from the text",
            )
        return ids

    def count_tokens(self, text: str) -> int:
        """Length of `text` in tokens."""
        return len(self.encode_text(text))

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        return environment.from_string(self._template)

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        try:
            return str(
                self._compiled.render(
                    messages=[{"role": message.role, "content": message.content} for message in messages],
                    add_generation_prompt=add_generation_prompt,
                    bos_token=self._special.get("bos_token") or "",
                    eos_token=self._special.get("eos_token") or "",
                    # Llama 3 writes today's date when none is given: the same chat must give the same ids.
                    date_string="26 Jul 2024",
                )
            )
        except EdgeError:
            raise
        except Exception as error:  # a template is a program: it may raise anything, with contents in the message
            raise BundleError(
                f"the chat template fails ({type(error).__name__})",
                where="tokenizer/chat_template.jinja",
                mend="use the template that belongs to the model",
            ) from error

    def encode_chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Token ids [n] of a conversation.

        Errors: InputError when a message holds characters that edge reserves; BundleError when the template
        changes contents in a way that cannot be told apart from its own text.
        """
        for message in messages:
            if _OPEN in message.content or _CLOSE in message.content:
                raise InputError(
                    "the text holds the private-use character U+E0F0 or U+E0F1",
                    mend="remove it from the text",
                )
        masked = [Message(message.role, f"{_OPEN}{index}{_CLOSE}") for index, message in enumerate(messages)]
        rendered = self._render(masked, add_generation_prompt)
        meant = self._render(messages, add_generation_prompt)
        for contents in _as_templates_write_them(messages):
            if _fill(rendered, contents) == meant:
                return self._encode_rendered(rendered, contents)
        raise BundleError(
            "the chat template rewrites contents, so user text cannot be kept apart from control tokens",
            where="tokenizer/chat_template.jinja",
            mend="use a template that inserts contents unchanged or trimmed",
        )

    def _encode_rendered(self, rendered: str, contents: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for text, control in self._split_controls(rendered):
            if control is not None:
                ids.append(control)
            elif text:
                ids.extend(self.encode_text(_fill(text, contents)))
        return ids

    def _split_controls(self, rendered: str) -> Iterator[tuple[str, int | None]]:
        position = 0
        for match in self._control.finditer(rendered) if self._control else ():
            yield rendered[position : match.start()], None
            yield "", self._control_ids[match.group()]
            position = match.end()
        yield rendered[position:], None

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, control tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def stream(self) -> DecodeStream:
        """A decoder that gives text as soon as it is certain."""
        return DecodeStream(self)


class DecodeStream:
    """Turns ids into text piece by piece, never cutting a character: a token may end inside one."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0

    def push(self, token_id: int) -> str:
        """The new text that this token completes, possibly empty."""
        self._ids.append(token_id)
        before = self._tokenizer.decode(self._ids[self._prefix : self._read])
        after = self._tokenizer.decode(self._ids[self._prefix :])
        if len(after) <= len(before) or after.endswith(REPLACEMENT):
            return ""
        self._prefix, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def flush(self) -> str:
        """What is still held back at the end, with an unfinished character as U+FFFD."""
        before = self._tokenizer.decode(self._ids[self._prefix : self._read])
        after = self._tokenizer.decode(self._ids[self._prefix :])
        self._prefix = self._read = len(self._ids)
        return after[len(before) :]


def _as_templates_write_them(messages: Sequence[Message]) -> Iterator[list[str]]:
    """Contents as they are, and trimmed for some roles or all: what a place-holder may stand for."""
    roles = sorted({message.role for message in messages})
    for count in range(len(roles) + 1):
        for trimmed in combinations(roles, count):
            yield [message.content.strip() if message.role in trimmed else message.content for message in messages]


def _fill(rendered: str, contents: Sequence[str]) -> str:
    return _PLACE_HOLDER.sub(lambda match: contents[int(match.group(1))], rendered)


def _raise(message: str) -> None:
    raise BundleError(
        f"the chat template refuses this conversation ({message})",
        where="tokenizer/chat_template.jinja",
        mend="use the roles system, user and assistant in turn",
    )
