"""What the comparison asks of an engine, and the list of engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Peer(Protocol):
    """One loaded model with one sequence. A token that is chosen is the greedy one."""

    def prefill(self, token_ids: Sequence[int]) -> int:
        """Forget everything, read the prompt as this engine does by default, return the next token."""
        ...

    def decode_step(self, token_id: int) -> int:
        """Append one token and return the next one."""
        ...

    def rewind(self, length: int) -> None:
        """Forget all tokens after the first `length` ones (at least one remains)."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@dataclass(frozen=True)
class PeerKind:
    """module: has `load(path: Path, *, threads: int, context_tokens: int) -> Peer` and imports its engine at the
    top, so that a missing one shows at once; it may take options of its own. package: what must be installed.
    """

    module: str
    package: str


PEERS: dict[str, PeerKind] = {
    "edge": PeerKind("benchmarks.peers.edge_onnx", "onnxruntime"),
    "llama.cpp": PeerKind("benchmarks.peers.llamacpp", "llama-cpp-python"),
    "onnxruntime-genai": PeerKind("benchmarks.peers.genai", "onnxruntime-genai"),
    "transformers": PeerKind("benchmarks.peers.torch_transformers", "torch and transformers"),
}
