"""A user's machine in a folder: keys, cache, a tiny model, profiles, and the real command line run against them.

Every command is a process of its own with an environment of its own, so that a test sees what a user sees: an
exit code, standard output, standard error, and the files that are there afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from edge.build.checkpoint import folder_digest
from edge.build.checkpoint.base import expected_tensors
from edge.clinical.note import NOTE_TASK
from edge.errors import ExitStatus
from edge.specs.decoder import decoder_from_hf_config
from tests.build.checkpoint.conftest import CONFIG
from tests.tiny import CHATML

REPO = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CONTEXT_TOKENS = 4096
VISIT = "Doctor: What brings you in? Patient: My left eye is red and it hurts since Monday.\n"
TEXTS = (
    "Doctor: How is the eye today? Patient: It still hurts when I read, since Monday. Doctor: Any drops? "
    "Patient: Yes, twice a day. Doctor: Let me look at the cornea with the slit lamp.\n",
    "Doctor: Good morning, what can I do for you? Patient: I see flashes at night and some dark spots. "
    "Doctor: Since when? Patient: Three days. Doctor: I would like to widen the pupils and look inside.\n",
    "Doctor: Your pressure is 24 on the right and 18 on the left. Patient: Is that bad? Doctor: It is a little "
    "high, so we start with one drop in the evening and meet again in four weeks.\n",
)
WORKLOAD = {
    "version": 1,
    "name": "tiny",
    "warmups": 1,
    "repetitions": 2,
    "load_repetitions": 1,
    "prompt_tokens": [16],
    "decode_contexts": [0],
    "decode_tokens": 8,
    "sustained_s": 0.2,
    "window_s": 0.1,
    "seed": 1,
    "timeout_s": 100,
}
# What a command may say besides its one error line: a stage's time, a key that was made, a pointer.
PROGRESS = re.compile(
    r"  [a-z]+ +\d+\.\d s *|made the (builder|device) key .*|This build has not passed its device test\. .*|"
    r"Draft written by a language model\. .*|\d+ lines? (was|were) withheld: .*|Notice: .*|Red flag .*|"
    r"Nothing was found for a note in this text\.|"
)
LITTER = re.compile(r"\..+\.(building|old|trash|lock|part)|edge-.*|tmp.*")


@dataclass(frozen=True)
class Result:
    """An ended command."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines on standard error that are no progress."""
        return [line for line in self.err.splitlines() if not PROGRESS.fullmatch(line)]

    def ok(self) -> Result:
        """It ended well, and said nothing of an error."""
        assert self.status == 0, self
        assert "edge: " not in self.err, self
        return self

    def fails(self, status: ExitStatus, *parts: str) -> str:
        """It failed with this code and exactly one line that says `parts`; returns the line."""
        assert self.status == status, self
        assert len(self.errors) == 1, self
        line = self.errors[0]
        assert line.startswith("edge: "), self
        assert "Traceback" not in self.err, self
        for part in parts:
            assert part in line, line
        return line


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class World:
    """One user's machine below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.profiles, self.bundle = root / "profiles", root / "out" / "tiny"
        self.said = Result(0, "", "")  # by the command that made a shared machine

    @staticmethod
    def new(root: Path) -> World:
        """An empty machine with the repository's targets and a workload of a second."""
        world = World(root)
        for name in ("profiles/text", "out", "tmp", "user", "home", "cache"):
            (root / name).mkdir(parents=True)
        (root / "targets").symlink_to(REPO / "targets")
        for number, text in enumerate(TEXTS):
            (world.profiles / "text" / f"visit{number}.txt").write_text(text, encoding="utf-8")
        (root / "visit.txt").write_text(VISIT, encoding="utf-8")
        (root / "work.yaml").write_text(yaml.safe_dump(WORKLOAD), encoding="utf-8")
        return world

    def copy(self, root: Path) -> World:
        """The same machine elsewhere."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        return World(root)

    # ---- commands ------------------------------------------------------------------------------------------

    def environment(self, **changes: str) -> dict[str, str]:
        """Nothing of the tester's own; pip reaches no registry."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.root / "user"),
            "TMPDIR": str(self.root / "tmp"),
            "EDGE_HOME": str(self.root / "home"),
            "EDGE_CACHE": str(self.root / "cache"),
            "LC_ALL": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        } | changes

    @staticmethod
    def command(*arguments: str | Path) -> list[str]:
        """The command line of `edge ARGUMENTS`."""
        return [sys.executable, "-m", "edge.cli", *map(str, arguments)]

    def edge(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
        before: Callable[[], None] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Result:
        """Run a command to its end. before: called in the child; prefix: a program that starts it."""
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            check=False,
            cwd=self.root,
            env=self.environment(**(env or {})),
            input=input,
            capture_output=True,
            timeout=TIMEOUT_S,
            preexec_fn=before,
        )
        return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command and come back at once."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def build(self, profile: str = "tiny", **options: Any) -> Result:
        """`edge build` into out/<profile>."""
        return self.edge("build", f"profiles/{profile}.yaml", "-o", f"out/{profile}", **options)

    def verify(self, bundle: str = "out/tiny", *more: str, **options: Any) -> Result:
        """`edge verify` with the workload of a second."""
        return self.edge("verify", bundle, "--workload", "work.yaml", *more, **options)

    def note(self, bundle: str = "out/tiny", *more: str, file: str = "visit.txt", **options: Any) -> Result:
        """`edge run --task note`, 12 tokens long."""
        return self.edge("run", bundle, "--task", "note", file, "--max-new-tokens", "12", *more, **options)

    def sitecustomize(self, code: str, name: str = "site") -> dict[str, str]:
        """Environment under which every Python process runs `code` before anything else."""
        folder = self.root / "hooks" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
        return {"PYTHONPATH": str(folder)}

    # ---- what lies there -----------------------------------------------------------------------------------

    def litter(self) -> list[str]:
        """Files and folders that only a killed run may leave."""
        folders = [self.root / name for name in ("out", "cache", "home", "tmp", "user")]
        found = [path for folder in folders for path in folder.rglob("*") if LITTER.fullmatch(path.name)]
        return sorted(str(path.relative_to(self.root)) for path in found)

    def digest(self, name: str = "tiny") -> str:
        """The bundle digest of out/<name>."""
        return hashlib.sha256((self.root / "out" / name / "manifest.json").read_bytes()).hexdigest()

    # ---- profiles ------------------------------------------------------------------------------------------

    def profile(self, stem: str = "tiny", *, model: Mapping[str, Any] | None = None, **changes: Any) -> Path:
        """Write profiles/<stem>.yaml. model, quantisation: merged into the plain ones."""
        folder = self.profiles / "model"
        value: dict[str, Any] = {
            "version": 1,
            "name": stem,
            "description": "A tiny model for tests",
            "model": {"source": "hf:model", "license": "Apache-2.0"} | dict(model or {}),
            "target": "x86_64-linux",
            "fidelity_text": {"text": "text", "tokens": 96},
            "context_tokens": CONTEXT_TOKENS,
            "prefill_chunk_tokens": 256,
            "threads": 1,
            "tasks": ["note"],
        } | changes
        value["quantisation"] = {"scheme": "int4"} | changes.get("quantisation", {})
        if "sha256" not in value["model"]:
            value["model"]["sha256"] = folder_digest(folder)
        path = self.profiles / f"{stem}.yaml"
        path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
        return path


# ---- the model -----------------------------------------------------------------------------------------------


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE of the note prompt's own words, so that a prompt is about 150 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([NOTE_TASK.system, NOTE_TASK.user, *TEXTS], trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


def write_model(folder: Path, **changes: Any) -> None:
    """A Hugging Face folder of a two-layer llama that answers each token with one of its own.

    Its layers change the answer little, so that every format agrees with the source where it is clear.
    """
    tokenizer = train_tokenizer()
    vocab = tokenizer.get_vocab_size()
    config = CONFIG | {"vocab_size": vocab, "max_position_embeddings": 8192, "tie_word_embeddings": False}
    config |= {"bos_token_id": tokenizer.token_to_id(SPECIALS[1]), "eos_token_id": tokenizer.token_to_id(SPECIALS[2])}
    config |= changes
    rng = np.random.default_rng(11)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in expected_tensors(decoder_from_hf_config(config, "")):
        values = rng.standard_normal(shape)
        if name.endswith("norm.weight"):
            values = 1 + 0.1 * values
        elif name != "model.embed_tokens.weight":
            values *= 1.0 / np.sqrt(shape[1])
        tensors[name] = values.astype(np.float32)
    # Each token is followed by one of its own that can be printed, never by a control token.
    texts = {token: tokenizer.decode([token]) for token in range(vocab - len(SPECIALS))}
    words = [token for token, text in texts.items() if text.isascii() and text.isprintable()]
    head = 0.05 * rng.standard_normal(tensors["lm_head.weight"].shape)
    head[rng.permutation(words)] += 0.12 * tensors["model.embed_tokens.weight"][words]
    tensors["lm_head.weight"] = head.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": SPECIALS[1], "eos_token": SPECIALS[2], "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "model.safetensors")


_shared: dict[str, World] = {}


def built_world(make_folder: Callable[[str], Path]) -> World:
    """The machine on which out/tiny was built; made once a test run, to be copied, never changed."""
    if "built" not in _shared:
        world = World.new(make_folder("built"))
        write_model(world.profiles / "model")
        world.profile()
        world.said = world.build().ok()
        _shared["built"] = world
    return _shared["built"]


def verified_world(make_folder: Callable[[str], Path]) -> World:
    """The same where out/tiny was verified too, with result.json and report.html."""
    if "verified" not in _shared:
        world = built_world(make_folder).copy(make_folder("verified"))
        world.said = world.verify("out/tiny", "--json", "result.json", "--html", "report.html").ok()
        _shared["verified"] = world
    return _shared["verified"]
