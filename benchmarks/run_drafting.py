"""What drafts, jump-forward and warm prefixes save: whole answers, each way in turn, and whether the tokens are equal.

    python -m benchmarks.run_drafting --bundle B (--visit FILE... | --prompts FILE) [--peer GGUF] [--json FILE]

--prompts is JSON: [{"prompt": [ids], "new_tokens": n, "visit": "name", "public_prefix_tokens": n, "grammar": "lark",
"repetition_penalty": 1.0}], all but the first two optional; prompts of one visit are added up. --visit asks the
bundle's own note task about transcripts. --peer is the same model for llama.cpp: from the same tokens it writes as
many, in a process of its own (--peer-python where llama-cpp-python is not installed here).

Ways: "one row" computes each token alone (the cheapest step, not comparable bit for bit with any other way) ·
"plain" is exact: all further ways must give its tokens · "drafts" · "jump" · "drafts+jump" · "all, warm": the prefix
from disk too. --warm-prefix N adds the time to the first token after a prompt whose first N tokens are public, cold
and warm. Status 8 when the tokens of two exact ways differ.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  # noqa: F401  telemetry off before anything else is imported

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.interleave import WorkerProcess
from edge.clinical.drafting import answer_grammar
from edge.clinical.note import decode_transcript, read_task
from edge.clinical.note_prompt import part_messages, patient_phrase
from edge.clinical.parts import split_parts
from edge.clinical.patient import patient_context
from edge.clinical.transcript import parse_transcript
from edge.errors import EdgeError, ExitStatus, InputError, MissingToolError, ResourceError
from edge.files import write_atomic
from edge.runtime.constraint import GrammarConstraint, GrammarTokenizer, lark_grammar
from edge.runtime.drafts import PromptLookup
from edge.runtime.generate import Finished, TokenStep, generate
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.prefix_cache import PrefixCache, PublicPrefix
from edge.runtime.sampling import Sampler, SamplerSettings
from edge.runtime.text import ChatTokenizer, Message

PEER = "llama.cpp"
ONE_ROW, PLAIN, DRAFTS, JUMP, BOTH, WARM = "one row", "plain", "drafts", "jump", "drafts+jump", "all, warm"
BEHAVIOUR = "benchmark"


@dataclass(frozen=True)
class Prompt:
    """One answer to be written. public_prefix_tokens: 0 without a warm prefix. grammar: Lark, or ""."""

    prompt: tuple[int, ...]
    new_tokens: int
    visit: str = "visit"
    public_prefix_tokens: int = 0
    grammar: str = ""
    repetition_penalty: float = 1.0

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways of answering that make sense for it."""
        jumps = (JUMP, BOTH) if self.grammar else ()
        return (ONE_ROW, PLAIN, DRAFTS, *jumps, *((WARM,) if self.public_prefix_tokens else ()))


@dataclass
class Answers:
    """One prompt answered one way, repeatedly. number: of the prompt; equal: the tokens are those of the plain way."""

    number: int
    visit: str
    way: str
    prompt_tokens: int
    seconds: list[float] = field(default_factory=list)
    ttft_s: list[float] = field(default_factory=list)
    tokens: tuple[int, ...] = ()
    equal: bool = True
    steps: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    forced_tokens: int = 0
    drafting: str = ""


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts of a JSON file. Errors: InputError."""
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
        prompts = [Prompt(**(item | {"prompt": tuple(map(int, item["prompt"]))})) for item in items]
        if not prompts:
            raise ValueError("none")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError("not a list of prompts", where=str(path), mend="see the head of run_drafting.py") from error
    return prompts


def visit_prompts(bundle: Path, tokenizer: ChatTokenizer, visits: Sequence[Path]) -> list[Prompt]:
    """The bundle's note task on transcripts, part by part as `edge run` asks it, under its grammar."""
    task = read_task(bundle, "note")

    def encode(text: str, patient: str) -> tuple[int, ...]:
        messages = [Message(item["role"], item["content"]) for item in part_messages(text, patient)]
        return tuple(tokenizer.encode_chat(messages))

    # Two parts that share no first letter show where the task's own words end.
    probes = (encode("A", ""), encode("9", ""))
    public = next(place for place, (one, other) in enumerate(zip(*probes, strict=False)) if one != other)
    prompts = []
    for path in visits:
        text = decode_transcript(path.read_bytes(), path.name)
        patient = patient_phrase(patient_context(text))
        for part in split_parts(parse_transcript(text), task.part_words):
            ids = encode(part.text, patient)
            penalty = task.sampler.repetition_penalty
            prompts.append(Prompt(ids, task.max_new_tokens, path.name, public, answer_grammar(), penalty))
    return prompts


def prefix_prompt(tokenizer: ChatTokenizer, visit: Path, tokens: int) -> Prompt:
    """A prompt of `tokens` public tokens and 24 more, one word of answer. Errors: InputError for a short text."""
    ids = tokenizer.encode_text(decode_transcript(visit.read_bytes(), visit.name))
    if len(ids) < tokens + 24:
        raise InputError(f"it has {len(ids)} tokens", where=visit.name, mend=f"give one of {tokens + 24} or more")
    return Prompt(tuple(ids[: tokens + 24]), 1, f"prefix {tokens}", tokens)


class Edge:
    """The engine under test, in this process."""

    def __init__(self, bundle: Path, threads: int, cache: PrefixCache) -> None:
        self.tokenizer = ChatTokenizer(bundle / "tokenizer")
        self.engine = OnnxEngine(bundle / "model", threads=threads)
        self._cache = cache
        self._grammars: GrammarTokenizer | None = None

    def answer(self, prompt: Prompt, way: str) -> tuple[tuple[int, ...], Finished]:
        """One answer from an empty engine."""
        constraint = None
        if prompt.grammar:
            self._grammars = self._grammars or GrammarTokenizer(self.tokenizer, self.engine.vocab_size)
            constraint = GrammarConstraint(self._grammars, lark_grammar(prompt.grammar, public=True))
        prefix = None
        if way == WARM:
            public = prompt.prompt[: prompt.public_prefix_tokens]
            prefix = PublicPrefix(self._cache, BEHAVIOUR, len(public))
            if not self._cache.restore(self.engine, BEHAVIOUR, public):
                self.engine.rewind(0)
                self.engine.forward_exact(public, ())
                if not self._cache.store(self.engine, BEHAVIOUR, public_prefix_tokens=public):
                    raise ResourceError("the prefix was not written", where=str(self._cache.folder))
        self.engine.rewind(0)
        tokens: list[int] = []
        for step in generate(
            self.engine,
            prompt.prompt,
            Sampler(SamplerSettings(repetition_penalty=prompt.repetition_penalty)),
            stop_ids=self.tokenizer.stop_ids,
            max_new_tokens=prompt.new_tokens,
            constraint=constraint,
            drafter=PromptLookup() if way in (DRAFTS, BOTH, WARM) else None,
            jump_forward=way in (JUMP, BOTH, WARM),
            exact=way != ONE_ROW,
            prefix=prefix,
        ):
            if isinstance(step, TokenStep):
                tokens.append(step.token_id)
            elif isinstance(step, Finished):
                return tuple(tokens), step
        raise ResourceError("the answer has no end", where="generate")


def measure(
    edge: Edge, prompts: Sequence[Prompt], peer: WorkerProcess | None, repetitions: int, say: Callable[[str], None]
) -> list[Answers]:
    """Every way of every prompt, in an order that turns with the repetition; the first round is not counted."""
    found = {
        (number, way): Answers(number, p.visit, way, len(p.prompt))
        for number, p in enumerate(prompts)
        for way in p.ways
    }
    if peer:
        found |= {(number, PEER): Answers(number, p.visit, PEER, len(p.prompt)) for number, p in enumerate(prompts)}
    wanted = [edge.answer(prompt, PLAIN)[0] for prompt in prompts]
    for repetition in range(-1, repetitions):
        say("warm-up" if repetition < 0 else f"repetition {repetition + 1} of {repetitions}")
        for number, prompt in enumerate(prompts):
            ways = [*prompt.ways, *((PEER,) if peer else ())]
            turn = repetition % len(ways)
            for way in ways[turn:] + ways[:turn]:
                one = found[number, way]
                if way == PEER and peer:
                    seconds, first_s = _ask(peer, prompt, one, max(1, len(wanted[number])))
                else:
                    one.tokens, end = edge.answer(prompt, way)
                    seconds, first_s = end.elapsed_ms / 1000, (end.ttft_ms or 0.0) / 1000
                    one.steps, one.drafting, one.forced_tokens = end.steps, end.drafting, end.forced_tokens
                    one.drafted_tokens, one.accepted_tokens = end.drafted_tokens, end.accepted_tokens
                    one.equal = one.equal and one.tokens == wanted[number]
                if repetition >= 0:
                    one.seconds.append(seconds)
                    one.ttft_s.append(first_s)
    return list(found.values())


def _ask(peer: WorkerProcess, prompt: Prompt, one: Answers, new_tokens: int) -> tuple[float, float]:
    reply = peer.ask("answer", prompt=list(prompt.prompt), new_tokens=new_tokens)
    if "seconds" not in reply:
        raise ResourceError(f"llama.cpp failed ({reply.get('error', 'no answer')})", where=PEER)
    one.tokens = tuple(reply["tokens"])
    return reply["seconds"], reply["ttft_s"]


def by_visit(answers: Sequence[Answers]) -> dict[str, dict[str, list[float]]]:
    """Seconds of each visit, by way and repetition; a way that a prompt does not have is counted as its best."""
    order = [WARM, BOTH, JUMP, DRAFTS, PLAIN]
    groups: dict[int, list[Answers]] = {}
    for one in answers:
        groups.setdefault(one.number, []).append(one)
    visits: dict[str, dict[str, list[float]]] = {}
    ways = [way for way in (ONE_ROW, PLAIN, DRAFTS, JUMP, BOTH, WARM, PEER) if any(a.way == way for a in answers)]
    for group in groups.values():
        has = {one.way: one for one in group}
        total = visits.setdefault(group[0].visit, {})
        for way in ways:
            fallback = next((w for w in order[order.index(way) :] if w in has), way) if way in order else way
            if fallback in has:
                seconds = has[fallback].seconds
                total[way] = [a + b for a, b in zip(total.get(way, [0.0] * len(seconds)), seconds, strict=True)]
    return visits


def render(answers: Sequence[Answers]) -> str:
    """Tables for a terminal; ratios are medians of ratios within a repetition."""
    lines = ["answer                  way          tokens steps drafted right forced  TTFT s  total s  equal"]
    for one in answers:
        counts = (
            f"{len(one.tokens):6} {one.steps:5} {one.drafted_tokens:7} {one.accepted_tokens:5} {one.forced_tokens:6}"
        )
        equal = "-" if one.way == PEER else "yes" if one.equal else "NO"
        times = f"{median(one.ttft_s):7.2f} {median(one.seconds):8.2f}"
        lines.append(f"{one.visit[:23]:23} {one.way:12} {counts} {times}  {equal}  {one.drafting}".rstrip())
    for visit, ways in by_visit(answers).items():
        base, peer = ways[PLAIN], ways.get(PEER)
        lines.append(f"\n{visit}: whole visit")
        for way, seconds in ways.items():
            against = [b / s for b, s in zip(base, seconds, strict=True)]
            text = f"  {way:12} {median(seconds):7.2f} s, {median(against):.2f} times as fast as plain"
            if peer:
                text += f", {median([p / s for p, s in zip(peer, seconds, strict=True)]):.2f} times as fast as {PEER}"
            lines.append(text)
    return "\n".join(lines)


def start_peer(model: Path, python: str, threads: int, context_tokens: int) -> WorkerProcess:
    """llama.cpp with its model loaded. Errors: MissingToolError, ResourceError."""
    worker = WorkerProcess(python)
    limits: dict[str, Any] = {"threads": threads, "context_tokens": context_tokens, "options": {}}
    reply = worker.ask("load", engine=PEER, path=str(model), **limits)
    if "load_s" in reply:
        return worker
    worker.stop()
    if "missing" in reply:
        raise MissingToolError(reply["missing"], where=PEER, mend="give --peer-python of an environment that has it")
    raise ResourceError(reply.get("error", "it does not load"), where=PEER, mend="check the file and the memory")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="an open folder with model/ and tokenizer/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--visit", type=Path, nargs="+", help="transcripts for the bundle's note task")
    what.add_argument("--prompts", type=Path, help="prompts as token ids")
    parser.add_argument("--warm-prefix", type=int, default=0, help="tokens of a public prefix, with --visit")
    parser.add_argument("--peer", type=Path, help="the same model as GGUF, for llama.cpp")
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write the JSON."""
    chosen = arguments(words)
    peer: WorkerProcess | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="edge-drafting-") as folder:
            edge = Edge(chosen.bundle, chosen.threads, PrefixCache(Path(folder) / "prefixes"))
            prompts = (
                read_prompts(chosen.prompts)
                if chosen.prompts
                else visit_prompts(chosen.bundle, edge.tokenizer, chosen.visit)
            )
            if chosen.warm_prefix and chosen.visit:
                prompts.append(prefix_prompt(edge.tokenizer, chosen.visit[0], chosen.warm_prefix))
            if chosen.peer:
                needed = max(len(prompt.prompt) + prompt.new_tokens for prompt in prompts)
                peer = start_peer(chosen.peer, chosen.peer_python, chosen.threads, needed + 8)
            answers = measure(
                edge, prompts, peer, max(1, chosen.repetitions), lambda text: print(text, file=sys.stderr)
            )
    except EdgeError as error:
        print(error, file=sys.stderr)
        return int(error.status)
    finally:
        if peer:
            peer.stop()
    print(render(answers))
    if chosen.json:
        value = {"answers": [asdict(one) for one in answers], "visits": by_visit(answers)}
        write_atomic(chosen.json, (json.dumps(value, indent=1) + "\n").encode())
    broken = any(not one.equal for one in answers if one.way not in (ONE_ROW, PEER))
    return int(ExitStatus.GATE if broken else ExitStatus.OK)


if __name__ == "__main__":
    sys.exit(main())
