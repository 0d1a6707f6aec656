"""`edge plan`: whether a profile fits its target, and how fast it can be at best, before anything is built.

Pure arithmetic on the model's config, the profile and the target. Sizes of weights are exact, memory follows
ledger.py. A speed here is a bound (bandwidth) or an expectation (compute), never a promise: `edge bench`
measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge.build import sizes
from edge.build.checkpoint.adapter import factor_shapes
from edge.build.ledger import (
    KV_DTYPE,
    KV_ELEMENT_BYTES,
    TVM_LIBRARY_BYTES,
    LedgerItem,
    load_pages_bytes,
    memory_ledger,
    peak_rss_bytes,
)
from edge.build.lora import AdapterShape, adapter_shape, factor_dtype
from edge.build.sizes import FLOAT_BITS, Storage
from edge.errors import SpecError
from edge.specs.decoder import NATIVE_FAMILIES, DecoderConfig
from edge.specs.profile import Profile, load_profile, load_profile_target, locate
from edge.specs.target import Target

PROMPT_TOKENS = 512  # of the TTFT figure
TOKENIZER_DISK_BYTES_PER_TOKEN = 100  # tokenizer.json
BUNDLE_BYTES = 1_000_000  # manifest, graph, golden cases, SBOM, model card
SCHEME_BITS = {"none": (FLOAT_BITS, FLOAT_BITS), "int8": (8, 8), "int4": (4, 4), "mixed": (4, 8)}


@dataclass(frozen=True)
class Plan:
    """What a profile needs on its target. Sizes in bytes; `low_...` is the smallest build that mixed may give.

    peak_rss_bytes: highest resident memory that a sampler can see, clean file pages included.
    load_pages_bytes: file pages of the one matrix that is being packed while loading.
    token_read_bytes: read to produce one token at half the context. The decode ceilings are the bandwidth over
    it, `decode_ceiling_low_...` for the largest build. ttft_ms_expected: None where the target's compute is not
    known; ttft_ms_bound: reading the weights once. quantisation: the scheme in words.
    """

    profile: str
    target: str
    family: str
    quantisation: str
    context_tokens: int
    prefill_chunk_tokens: int
    parameters: sizes.ParameterCount
    ledger: tuple[LedgerItem, ...]
    needed_bytes: int
    low_needed_bytes: int
    available_bytes: int
    peak_rss_bytes: int
    low_peak_rss_bytes: int
    load_pages_bytes: int
    download_bytes: int
    download_note: str
    disk_bytes: int
    low_disk_bytes: int
    kv_dtype: str
    token_read_bytes: int
    low_token_read_bytes: int
    decode_ceiling_tokens_per_s: float
    decode_ceiling_low_tokens_per_s: float
    ttft_prompt_tokens: int
    ttft_ms_expected: float | None
    ttft_ms_bound: float
    fits: bool
    reason: str
    notes: tuple[str, ...]

    @property
    def ranged(self) -> bool:
        """Whether the build still has to choose between sizes."""
        return self.low_needed_bytes != self.needed_bytes

    def item(self, name: str) -> LedgerItem:
        """A line of the ledger by its name. Errors: KeyError."""
        return {item.name: item for item in self.ledger}[name]

    def peak_rss_at_bytes(self, tokens: int) -> int:
        """The peak of a run that fills only `tokens` of the context: pages of the cache not written do not count.

        For a comparison with a measurement; of the largest build.
        """
        parts = {item.name: item.size_bytes for item in self.ledger}
        parts["kv_cache"] = parts["kv_cache"] * min(tokens, self.context_tokens) // self.context_tokens
        return peak_rss_bytes(parts, self.load_pages_bytes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"ledger": [asdict(item) for item in self.ledger], "notes": list(self.notes)}


def plan_file(profile_path: Path) -> Plan:
    """Plan the profile at `profile_path` from its inline architecture, and from the shapes of an unmerged adapter.

    Errors: SpecError when the profile or its target is wrong, or gives no architecture; SourceError for a broken
    adapter.
    """
    profile = load_profile(profile_path)
    target = load_profile_target(profile_path, profile)
    config = profile.model.decoder()
    if config is None:
        raise SpecError(
            "key 'model.architecture' is null, so there is nothing to plan from",
            where=str(profile_path),
            mend="copy the keys of the model's config.json there",
        )
    adapter = None
    if profile.adapter is not None and not profile.adapter.merged:
        shapes = factor_shapes(locate(profile_path, profile.adapter.path))
        adapter = adapter_shape(config, shapes, factor_dtype(profile.quantisation.scheme))
    return plan(profile, target, config, adapter=adapter)


def storage_range(
    profile: Profile, config: DecoderConfig, int8_layers: Sequence[int] | None = None
) -> tuple[Storage, Storage]:
    """The smallest and the largest way this profile may store the model; the same unless layers are open.

    int8_layers: the choice of a build that has measured; default: the profile's own.
    """
    quantisation = profile.quantisation
    chosen = quantisation.int8_layers if int8_layers is None else tuple(int8_layers)
    low, high = SCHEME_BITS[quantisation.scheme]
    kept: Sequence[int] = ()
    if quantisation.scheme == "mixed" and chosen is not None:
        high, kept = low, chosen
    head_bits = FLOAT_BITS if quantisation.scheme == "none" else quantisation.head_bits
    lowest, highest = (
        Storage(sizes.layer_bits(config, bits, kept), head_bits, quantisation.block_size, quantisation.symmetric)
        for bits in (low, high)
    )
    return lowest, highest


def plan(
    profile: Profile,
    target: Target,
    config: DecoderConfig,
    *,
    int8_layers: Sequence[int] | None = None,
    adapter: AdapterShape | None = None,
) -> Plan:
    """Plan `profile` on `target` for a model of shape `config`.

    int8_layers: what a mixed build has chosen. adapter: one that stays unmerged.
    """
    low, high = storage_range(profile, config, int8_layers)
    ledger = memory_ledger(profile, target, config, low, high, adapter)
    held = [item for item in ledger if not item.reclaimable]
    factors = sizes.FLOAT_BYTES * adapter.values if adapter else 0
    low_read, read = (_token_read_bytes(profile, config, storage) + factors for storage in (low, high))
    bandwidth = target.memory_bandwidth_bytes_per_s
    prompt = min(PROMPT_TOKENS, profile.context_tokens)
    expected_ms, bound_ms = _ttft_ms(profile, target, config, low, prompt)
    draft = Plan(
        profile=profile.name,
        target=target.name,
        family=config.family,
        quantisation=_quantisation_text(profile, low, high),
        context_tokens=profile.context_tokens,
        prefill_chunk_tokens=profile.prefill_chunk_tokens,
        parameters=sizes.count_parameters(config),
        ledger=ledger,
        needed_bytes=sum(item.size_bytes for item in held),
        low_needed_bytes=sum(item.low_bytes for item in held),
        available_bytes=target.available_bytes,
        peak_rss_bytes=peak_rss_bytes(
            {item.name: item.size_bytes for item in ledger}, load_pages_bytes(target, config, high)
        ),
        low_peak_rss_bytes=peak_rss_bytes(
            {item.name: item.low_bytes for item in ledger}, load_pages_bytes(target, config, low)
        ),
        load_pages_bytes=load_pages_bytes(target, config, high),
        download_bytes=profile.model.download_bytes or sizes.checkpoint_bytes(config),
        download_note=_download_note(profile, config),
        disk_bytes=_disk_bytes(profile, config, high) + (adapter.file_bytes if adapter else 0),
        low_disk_bytes=_disk_bytes(profile, config, low) + (adapter.file_bytes if adapter else 0),
        kv_dtype=KV_DTYPE[KV_ELEMENT_BYTES[profile.backend]],
        token_read_bytes=read,
        low_token_read_bytes=low_read,
        decode_ceiling_tokens_per_s=bandwidth / low_read,
        decode_ceiling_low_tokens_per_s=bandwidth / read,
        ttft_prompt_tokens=prompt,
        ttft_ms_expected=expected_ms,
        ttft_ms_bound=bound_ms,
        fits=False,
        reason="",
        notes=(),
    )
    refusals = [
        *_impossibilities(draft, config),
        *_broken_budgets(draft, profile, target, config, low),
    ]
    return replace(
        draft,
        fits=not refusals,
        reason=f"No: {'; '.join(refusals)}" if refusals else _acceptance(draft),
        notes=tuple(_notes(draft, profile, target, config)),
    )


def _disk_bytes(profile: Profile, config: DecoderConfig, storage: Storage) -> int:
    weights = sizes.model_bytes(config, storage, profile.context_tokens).total
    library = TVM_LIBRARY_BYTES if profile.backend == "mlc" else 0
    return weights + library + TOKENIZER_DISK_BYTES_PER_TOKEN * config.vocab_size + BUNDLE_BYTES


def _token_read_bytes(profile: Profile, config: DecoderConfig, storage: Storage) -> int:
    element = KV_ELEMENT_BYTES[profile.backend]
    cache = sizes.kv_cache_bytes(config, profile.context_tokens // 2, element, windowed=True)
    return sizes.active_weight_bytes(config, storage) + cache


def _ttft_ms(
    profile: Profile, target: Target, config: DecoderConfig, storage: Storage, prompt_tokens: int
) -> tuple[float | None, float]:
    """Expected (None: compute not known) and least possible time to the first token, in ms."""
    weights = sizes.model_bytes(config, storage, profile.context_tokens)
    # A short prompt meets only some of the experts.
    read = min(
        weights.codes + weights.scales + weights.zero_points + weights.matrices,
        prompt_tokens * sizes.active_weight_bytes(config, storage),
    )
    bound_ms = 1e3 * read / target.memory_bandwidth_bytes_per_s
    if target.compute_flops_per_s is None:
        return None, bound_ms
    compute_ms = 1e3 * sizes.prefill_operations(config, prompt_tokens) / target.compute_flops_per_s
    return max(compute_ms, bound_ms), bound_ms


def _quantisation_text(profile: Profile, low: Storage, high: Storage) -> str:
    quantisation = profile.quantisation
    if quantisation.scheme == "none":
        return "none (float32)"
    scheme: str = quantisation.scheme
    if low != high:
        scheme = "mixed, between all layers int4 and all int8"
    elif scheme == "mixed":
        scheme = f"mixed, {low.layer_bits.count(8)} of {len(low.layer_bits)} layers int8"
    head = f"head int{quantisation.head_bits}"
    return f"{scheme}, blocks of {quantisation.block_size}, {head}, {quantisation.rounding}"


def _download_note(profile: Profile, config: DecoderConfig) -> str:
    if profile.model.download_bytes:
        return "as the profile states"
    return "MXFP4 experts, bfloat16 else" if config.family == "gpt_oss" else "bfloat16 weights"


def gigabytes(size_bytes: int) -> str:
    """ "0.52" below 10 GB, "61.2" from there; GB are 10**9 bytes."""
    value = size_bytes / 1e9
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def _acceptance(draft: Plan) -> str:
    at_most = "at most " if draft.ranged else ""
    return f"Yes: needs {at_most}{gigabytes(draft.needed_bytes)} of {draft.available_bytes / 1e9:.1f} GB"


def _impossibilities(draft: Plan, config: DecoderConfig) -> list[str]:
    """Memory, by the largest build, and the context that the model was made for."""
    refusals = []
    if draft.needed_bytes > draft.available_bytes:
        needs = "may need" if draft.low_needed_bytes <= draft.available_bytes else "needs"
        free = f"{draft.available_bytes / 1e9:.1f} GB free"
        refusals.append(f"{needs} {gigabytes(draft.needed_bytes)} GB, the target has {free}")
    if draft.context_tokens > config.max_positions:
        refusals.append(
            f"the context of {draft.context_tokens} tokens is longer than the model's {config.max_positions}"
        )
    return refusals


def _broken_budgets(draft: Plan, profile: Profile, target: Target, config: DecoderConfig, low: Storage) -> list[str]:
    """Budgets that even the smallest build at the full bandwidth cannot hold."""
    budgets = profile.budgets
    broken = []
    for what, least, limit in (
        ("disk", draft.low_disk_bytes, budgets.disk_bytes_max),
        ("peak memory", draft.low_peak_rss_bytes, budgets.peak_rss_bytes_max),
    ):
        if limit is not None and least > limit:
            broken.append(f"{what} of {least / 1e6:.0f} MB is over the budget of {limit / 1e6:.0f}")
    wanted, ceiling = budgets.decode_tokens_per_s_min, draft.decode_ceiling_tokens_per_s
    if wanted is not None and wanted > ceiling:
        broken.append(f"the budget asks for {wanted:g} tok/s, memory bandwidth allows {ceiling:.1f}")
    ttft = budgets.ttft_ms_max
    if ttft is not None:
        bound_ms = _ttft_ms(profile, target, config, low, ttft.prompt_tokens)[1]
        if bound_ms > ttft.ms:
            broken.append(f"the budget asks for a first token in {ttft.ms:g} ms, reading takes {bound_ms:.0f}")
    return broken


def _notes(draft: Plan, profile: Profile, target: Target, config: DecoderConfig) -> list[str]:
    """What the reader should know beside the verdict."""
    notes = []
    scheme = profile.quantisation.scheme
    if profile.export == "native" and config.family not in NATIVE_FAMILIES:
        known = ", ".join(NATIVE_FAMILIES)
        notes.append(f"arithmetic only: the native export builds {known}, not {config.family}")
    if profile.model.sha256 is None:
        notes.append("plan only: model.sha256 is null, so `edge build` refuses until the content is pinned")
    for what, least, most, limit in (
        ("disk", draft.low_disk_bytes, draft.disk_bytes, profile.budgets.disk_bytes_max),
        ("memory", draft.low_peak_rss_bytes, draft.peak_rss_bytes, profile.budgets.peak_rss_bytes_max),
    ):
        if limit is not None and least <= limit < most:
            notes.append(f"the {what} budget holds only if enough layers stay int4")
    if draft.needed_bytes <= draft.available_bytes < draft.peak_rss_bytes:
        notes.append("memory is full while loading: pages of the weight file are dropped and read again")
    if target.arch == "aarch64" and "asimddp" not in target.isa.features and scheme != "none":
        notes.append("no dot product instructions: quantised kernels compute in float32, many times dearer")
    onnx = profile.backend == "onnx"
    if onnx and target.arch == "wasm32" and scheme in ("int4", "mixed"):
        notes.append("onnxruntime-web has no int4 kernel: int4 is far slower there than int8")
    if onnx and target.arch == "wasm32" and scheme == "int8":
        notes.append("sizes are those of MatMulNBits; the web export keeps int8 a channel, a little smaller")
    if target.accelerators:
        names = ", ".join(accelerator.name for accelerator in target.accelerators)
        notes.append(f"planned for the CPU provider; not used: {names}")
    if profile.backend == "mlc":
        notes += _mlc_notes(target, config)
    return notes


def _mlc_notes(target: Target, config: DecoderConfig) -> list[str]:
    notes = []
    if config.family == "gpt_oss":
        notes.append("arithmetic only: mlc has no gpt-oss model")
    if target.os == "browser":
        notes.append("arithmetic only for the tvm engine: it has no runtime for a page")
    if target.os == "android":
        notes.append("arithmetic only for the tvm engine: its runtime for Android has to be built with the NDK")
    return notes
