"""The adapter folder: its bytes, its digest, and that the build's reader takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from edge.adapt.batches import TokenExample
from edge.adapt.folder import MAX_BYTES, check_size, write_adapter
from edge.adapt.journal import Journal, check_batches, loss_svg, read_journal, thinned
from edge.build.checkpoint.adapter import with_adapter
from edge.errors import ResourceError, SourceError
from edge.specs.recipe import load_recipe
from tests.adapt.recipes import write_recipe
from tests.tiny import BASE, tiny_source

RANK = 4


class Base:
    """A checkpoint in memory, as far as the merge asks."""

    def __init__(self) -> None:
        source = tiny_source(BASE)
        self.config, self.names, self.shape, self.read = BASE, source.names, source.shape, source.read
        self.digest, self.license, self.base_name = "0" * 64, "Apache-2.0", "edge/tiny"

    def close(self) -> None:
        """Nothing is open."""


def factors() -> dict[str, np.ndarray]:
    """Factors of q_proj as they lie in a run's state."""
    rng = np.random.default_rng(3)
    made = {}
    for layer in range(BASE.layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        made[f"{name}.lora_A.default.weight"] = rng.standard_normal((RANK, BASE.hidden_size)).astype(np.float32)
        made[f"{name}.lora_B.default.weight"] = rng.standard_normal((BASE.query_size, RANK)).astype(np.float32)
    return made


def test_written_and_merged(tmp_path: Path) -> None:
    """W + alpha/r B A in the build; the same factors give the same bytes, which the profile pins."""
    recipe = load_recipe(write_recipe(tmp_path))
    digest, size = write_adapter(recipe, factors(), tmp_path / "one")
    assert write_adapter(recipe, dict(reversed(factors().items())), tmp_path / "two") == (digest, size)
    stored = load_file(tmp_path / "one" / "adapter_model.safetensors")
    assert len(stored) == 2 * BASE.layers and all(value.dtype == np.float16 for value in stored.values())
    base = Base()
    merged = with_adapter(base, tmp_path / "one", digest)  # type: ignore[arg-type]
    name = "model.layers.1.self_attn.q_proj"
    a, b = (stored[f"base_model.model.{name}.lora_{part}.weight"].astype(np.float64) for part in "AB")
    wanted = base.read(f"{name}.weight") + 2.0 * b @ a
    np.testing.assert_allclose(merged.read(f"{name}.weight"), wanted, rtol=1e-5, atol=1e-5)
    merged.close()


def test_what_cannot_be_shipped(tmp_path: Path) -> None:
    """A diverged run, an empty one and one that is too large are refused."""
    recipe = load_recipe(write_recipe(tmp_path))
    broken = factors()
    next(iter(broken.values()))[0, 0] = np.inf
    with pytest.raises(SourceError, match="not finite"):
        write_adapter(recipe, broken, tmp_path / "x")
    with pytest.raises(SourceError, match="no LoRA factors"):
        write_adapter(recipe, {}, tmp_path / "x")
    with pytest.raises(ResourceError, match=r"lower adapter\.rank"):
        check_size(MAX_BYTES + 1, tmp_path)


def journal(steps: int) -> Journal:
    """A log whose loss falls, with held-out losses at each quarter."""
    entries = [{"step": n, "loss": 3.0 - 2.0 * n / steps, "answer_tokens": 2, "rate": 1e-3} for n in range(steps)]
    for number in range(steps // 4 - 1, steps, max(1, steps // 4)):
        entries[number]["held_out_loss"] = 2.5 - number / steps
    return Journal(tuple(entries))


def test_log_fits_and_keeps_what_counts() -> None:
    """At most 60 KB, the last step and all held-out losses are there."""
    long = journal(20_000)
    content = thinned(long)
    assert len(content) <= 60_000
    assert content.count(b"held_out_loss") == len(long.held_out)
    assert b'"step": 19999' in content
    assert len(thinned(journal(40)).splitlines()) == 40


def test_log_must_be_of_these_batches(tmp_path: Path) -> None:
    """A card must not speak of data that the run did not see."""
    batches = [(TokenExample((1,), (2, 3)),)] * 12
    check_batches(journal(12), batches, "log")
    with pytest.raises(SourceError, match="8 of 12 steps"):
        check_batches(journal(8), batches, "log")
    with pytest.raises(SourceError, match="other data"):
        check_batches(journal(12), [(TokenExample((1,), (2,)),)] * 12, "log")
    (tmp_path / "log.jsonl").write_bytes(thinned(journal(12)) + b'{"step": 12, "lo')
    with pytest.raises(SourceError, match="whole log"):
        read_journal(tmp_path / "log.jsonl")


def test_plot_is_well_formed() -> None:
    """A picture that opens by itself, with a point a held-out loss."""
    import xml.etree.ElementTree as ElementTree

    log = journal(40)
    root = ElementTree.fromstring(loss_svg(log, "Training loss of x < y").decode())  # noqa: S314 - our own
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == len(log.held_out)


def test_rank_of_the_recipe_counts(tmp_path: Path) -> None:
    """A recipe that was changed after the run does not describe its factors; the merge says so."""
    recipe = load_recipe(write_recipe(tmp_path))
    other = recipe.model_copy(update={"adapter": recipe.adapter.model_copy(update={"rank": 8})})
    digest, _ = write_adapter(other, factors(), tmp_path / "x")
    with pytest.raises(SourceError, match="rank 8"):
        with_adapter(Base(), tmp_path / "x", digest)  # type: ignore[arg-type]
