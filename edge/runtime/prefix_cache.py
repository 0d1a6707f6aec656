"""Keys and values of a prompt's beginning, kept so that it need not be read again.

A task's instructions are the same for every visit. Reading their 500 tokens takes a small model seconds, reading their
keys and values from a file some milliseconds, with the very same logits after them.

Privacy. Only what the caller declares public is written to the disk (`store(..., public_prefix_tokens=...)`): the
task's own words, nothing of a visit. The keys and values of a patient's text would give the text away as surely as the
text itself. What is private can be kept in memory (`keep`), until `forget` or the end of the process.

A file
    one line of JSON (version, behaviour of the build, engine, processor, digest of the tokens, shape, type), the array,
    and the sha256 of both, 32 bytes. Its name is the digest of that line. A file that is truncated, changed or not
    what its name says is removed and never used. Files appear whole (edge.files), mode 0600 in a folder of mode 0700;
    the least recently used ones go first when they are more than `max_bytes` together.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.device.facts import local_facts
from edge.errors import EdgeError
from edge.files import atomic_file
from edge.runtime.engine import Engine, PrefixEngine

SCHEMA_VERSION: Final = 1
MAX_BYTES: Final = 256 << 20
_DIGEST_BYTES = 32
_STALE_PART_S = 600.0


def default_folder() -> Path:
    """`EDGE_CACHE`, or the user's cache folder of edge, `prefixes` below it."""
    if cache := os.environ.get("EDGE_CACHE"):
        return Path(cache).expanduser() / "prefixes"
    import platformdirs

    return Path(platformdirs.user_cache_dir("edge")) / "prefixes"


class PrefixCache:
    """Prefixes of any number of builds. It never fails: what cannot be read or written is a prefix that is not there.

    folder: None takes default_folder(). max_bytes: of all files. memory_bytes: of what `keep` keeps. half: write
    float16, half the size, with logits that differ in the third digit from those of a prompt that was read.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        memory_bytes: int = MAX_BYTES,
        half: bool = False,
    ) -> None:
        self.folder = folder or default_folder()
        self._max_bytes, self._memory_bytes = max_bytes, memory_bytes
        self._dtype = np.dtype("<f2" if half else "<f4")
        self._kept: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()

    def restore(self, engine: Engine, behaviour: str, token_ids: Sequence[int]) -> bool:
        """Make `engine` hold exactly `token_ids`, if they are known; the engine is untouched otherwise.

        behaviour: the build's behaviour digest.
        """
        if not isinstance(engine, PrefixEngine) or not 0 < len(token_ids) <= engine.context_tokens:
            return False
        header = self._header(engine, behaviour, token_ids)
        name = _name(header)
        state: npt.NDArray[np.floating] | None = self._kept.get(name)
        if state is not None:
            self._kept.move_to_end(name)
        elif (state := self._read(self.folder / name, header)) is None:
            return False
        engine.load_prefix(token_ids, state)
        return True

    def store(self, engine: Engine, behaviour: str, *, public_prefix_tokens: Sequence[int]) -> bool:
        """Write the state after `public_prefix_tokens`, which the engine must hold at its beginning, to the disk.

        Returns whether it is there now. The tokens are public by the caller's word: no word of a patient is in them.
        """
        if not isinstance(engine, PrefixEngine) or not self._holds(engine, public_prefix_tokens):
            return False
        header = self._header(engine, behaviour, public_prefix_tokens)
        path = self.folder / _name(header)
        count = int(np.prod(header["shape"])) * self._dtype.itemsize
        try:
            if path.is_file():
                return True
            if count > self._max_bytes or not self._private_folder():
                return False
            with np.errstate(over="ignore"):
                state = engine.save_prefix(len(public_prefix_tokens)).astype(self._dtype, copy=False)
            if not np.isfinite(state).all():  # beyond float16: such a model is kept whole or not at all
                return False
            head = _line(header)
            digest = hashlib.sha256(head)
            digest.update(state.data)
            with atomic_file(path) as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(head)
                file.write(state.data)
                file.write(digest.digest())
            self._evict(path)
        except (OSError, EdgeError):  # no space, no permission: the answer does not depend on it
            return False
        return True

    def keep(self, engine: Engine, behaviour: str, length: int) -> bool:
        """Keep the state after the first `length` tokens in memory only; for prompts with a patient's words."""
        if not isinstance(engine, PrefixEngine) or not 0 < length <= engine.length:
            return False
        header = self._header(engine, behaviour, engine.held_ids[:length].tolist())
        if int(np.prod(header["shape"])) * 4 > self._memory_bytes:
            return False
        self._kept[_name(header)] = engine.save_prefix(length)
        while sum(state.nbytes for state in self._kept.values()) > self._memory_bytes:
            self._kept.popitem(last=False)
        return True

    def forget(self) -> None:
        """Drop what is kept in memory."""
        self._kept.clear()

    def _header(self, engine: PrefixEngine, behaviour: str, token_ids: Sequence[int]) -> dict[str, Any]:
        ids = np.asarray(token_ids, dtype="<i8")
        return {
            "schema_version": SCHEMA_VERSION,
            "behaviour": behaviour,
            "engine": engine.state_version,
            "device": _device_class(),
            "tokens_sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
            "shape": list(engine.prefix_shape(len(ids))),
            "dtype": self._dtype.str,
        }

    @staticmethod
    def _holds(engine: PrefixEngine, token_ids: Sequence[int]) -> bool:
        held = engine.held_ids[: len(token_ids)]
        return len(token_ids) > 0 and np.array_equal(held, np.asarray(token_ids, dtype=np.int64))

    def _read(self, path: Path, header: dict[str, Any]) -> npt.NDArray[np.floating] | None:
        head = _line(header)
        whole = len(head) + int(np.prod(header["shape"])) * self._dtype.itemsize + _DIGEST_BYTES
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size != whole:
                    return self._remove(path)
                with open(descriptor, "rb", buffering=0, closefd=False) as file:
                    data = memoryview(file.read())
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except OSError:  # a link, a folder, a disk that fails
            return self._remove(path)
        if len(data) != whole or bytes(data[: len(head)]) != head:
            return self._remove(path)
        if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            return self._remove(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        return np.frombuffer(data[len(head) : -_DIGEST_BYTES], dtype=self._dtype).reshape(header["shape"])

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    def _private_folder(self) -> bool:
        """Make the folder; whether it is this user's alone."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.folder.chmod(0o700)
        return True

    def _evict(self, newest: Path) -> None:
        """Remove what a killed run left, and the least recently used files beyond the size."""
        found: list[tuple[int, str, Path, int]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                facts = path.lstat()
                if path.suffix == ".part":
                    if time.time() - facts.st_mtime > _STALE_PART_S:
                        path.unlink()
                elif path.suffix == ".kv":
                    found.append((facts.st_mtime_ns, path.name, path, facts.st_size))
        total = sum(size for *_, size in found)
        for _, _, path, size in sorted(found):
            if total <= self._max_bytes:
                break
            if path != newest:
                self._remove(path)
                total -= size


class PublicPrefix:
    """Implements edge.runtime.generate.Prefix: so many tokens at the beginning of a prompt, public by the caller's
    word, of one build."""

    def __init__(self, cache: PrefixCache, behaviour: str, tokens: int) -> None:
        self.tokens = tokens
        self._cache, self._behaviour = cache, behaviour
        self.restored = False

    def restore(self, engine: Engine, token_ids: Sequence[int]) -> bool:
        """See Prefix.restore."""
        self.restored = self._cache.restore(engine, self._behaviour, token_ids)
        return self.restored

    def store(self, engine: Engine, prompt_ids: Sequence[int]) -> None:
        """Write what had to be read, as long as the engine still holds it."""
        if not self.restored:
            public = prompt_ids[: min(self.tokens, len(prompt_ids) - 1)]
            self._cache.store(engine, self._behaviour, public_prefix_tokens=public)


@functools.cache
def _device_class() -> str:
    return local_facts().device_class  # another kind of processor rounds otherwise; the folder may be shared


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _name(header: dict[str, Any]) -> str:
    return hashlib.sha256(_line(header)).hexdigest()[:40] + ".kv"
