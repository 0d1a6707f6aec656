"""The overview of `edge plan --all` as text for a terminal and as Markdown for docs/targets.md."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.build.anchors import Anchor
from edge.build.plan import Plan
from edge.build.plan_all import ARITHMETIC_ONLY, DEFAULT_CONTEXT_TOKENS, STATEMENT, Cell, Model, Overview
from edge.build.plan_text import megabytes, millions
from edge.errors import SpecError
from edge.files import write_atomic

BEGIN = "<!-- made by `edge plan --all --markdown`: begin -->"
END = "<!-- made by `edge plan --all --markdown`: end -->"
DEFAULT = "default"
TEXT_WIDTH = 120
LEGEND = (
    f"planned as: the profile, or the {DEFAULT}: int4 in blocks of 32, symmetric, head int8, a context of "
    f"{DEFAULT_CONTEXT_TOKENS:,} tokens or the model's own.",
    "mlc is its engine tvm, planned as the profile of backend onnx says where there is none of its own, without the "
    "budgets: the same weights with no packed copy of scales, a float32 cache, 55 MB of runtime before weights and "
    "tokenizer, activations as those of onnx.",
    "weights: with scales, and in a browser with the downloaded file that the page holds. runtime: with the tokenizer. "
    "app: the budget of the bedside app, where the target has a screen. mixed: the largest build that it may give.",
    "ceiling: memory bandwidth over the bytes that a token reads, at an empty context and at half of it. A bound, not "
    "a promise: no compute is in it, bandwidths of Jetson are data sheets (the CPU alone reaches less), that of "
    "Android is an estimate, and x86_64-linux and browser stand for the slowest machine of their class.",
    f"{ARITHMETIC_ONLY}: the kit's own engines do not build it, the note below says why; a yes is about memory alone.",
    "published: other engines with other forms of the weights, often on a GPU, numbered as in the list of published "
    "speeds. A speed may be above the ceiling of a row, which reads more bytes; it is never above the ceiling of its "
    "own bytes. ~ is a near match only.",
)


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head. right: columns set flush right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]

    def markdown(self) -> str:
        """As a Markdown table."""
        rule = ["--:" if column in self.right else "---" for column in range(len(self.head))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.head, rule, *self.rows)) + "\n"

    def text(self) -> str:
        """In columns of equal width."""
        widths = [max(len(row[column]) for row in (self.head, *self.rows)) for column in range(len(self.head))]
        rule = tuple("-" * width for width in widths)
        lines = []
        for row in (self.head, rule, *self.rows):
            cells = [
                cell.rjust(width) if column in self.right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines) + "\n"


def _span(low: float, high: float) -> str:
    low_text, high_text = f"{low:,.1f}", f"{high:,.1f}"
    return high_text if low_text == high_text else f"{low_text} to {high_text}"


def weight_bytes(plan: Plan) -> int:
    """Weights, scales and, where they cannot be dropped, the pages of the file."""
    pages = plan.item("file_pages")
    held = 0 if pages.reclaimable else pages.size_bytes
    return plan.item("weights").size_bytes + plan.item("scales").size_bytes + held


def _fits(plan: Plan, arithmetic_only: bool) -> str:
    verdict = "yes" if plan.fits else f"no: {plan.reason.removeprefix('No: ')}"
    return f"{verdict} ({ARITHMETIC_ONLY})" if arithmetic_only else verdict


def _speed(anchor: Anchor) -> str:
    low, high = anchor.decode_tokens_per_s
    speed = f"{high:g}" if low == high else f"{low:g} to {high:g}"
    return speed if anchor.basis == "measured" else f"{speed} (derived)"


def _published(overview: Overview, cell: Cell) -> str:
    if cell.backend != "onnx":
        return ""  # said once for a target
    found = overview.published(cell.model, cell.target)
    return ", ".join(f"{'~' if anchor.near else ''}{_speed(anchor)} [{number}]" for number, anchor in found)


def model_table(overview: Overview, model: Model) -> Table:
    """One model: a row for each target and backend."""
    head = (
        "target",
        "backend",
        "planned as",
        "context",
        "weights",
        "KV cache",
        "activations",
        "runtime",
        "app",
        "needed",
        "free",
        "fits",
        "ceiling tok/s, empty",
        "half full",
        "published tok/s",
    )
    rows = []
    for cell in overview.of(model.key):
        plan = cell.plan
        parts = [plan.item(name).size_bytes for name in ("kv_cache", "activations", "runtime", "ui")]
        rows.append(
            (
                cell.target,
                cell.backend,
                cell.profile or DEFAULT,
                f"{plan.context_tokens:,}",
                megabytes(weight_bytes(plan)),
                *(megabytes(part) if part else "-" for part in parts),
                megabytes(plan.needed_bytes),
                megabytes(plan.available_bytes),
                _fits(plan, cell.arithmetic_only),
                _span(cell.low_empty_ceiling_tokens_per_s, cell.empty_ceiling_tokens_per_s),
                _span(plan.decode_ceiling_low_tokens_per_s, plan.decode_ceiling_tokens_per_s),
                _published(overview, cell),
            )
        )
    return Table(head, tuple(rows), frozenset({3, 4, 5, 6, 7, 8, 9, 10, 12, 13}))


def published_table(overview: Overview) -> Table:
    """What others published, each with the ceiling of its own bytes."""
    titles = {model.key: model.title for model in overview.models}
    head = (
        "no.",
        "beside target",
        "beside model",
        "device",
        "engine",
        "processor",
        "form",
        "tok/s",
        "ceiling of its own bytes",
        "share",
        "match",
        "source",
    )
    rows = []
    for number, anchor in enumerate(overview.anchors, 1):
        ceiling = anchor.ceiling_tokens_per_s(overview.targets[anchor.target])
        read_again = "" if anchor.rechecked else " (not read again)"
        rows.append(
            (
                f"[{number}]",
                anchor.target,
                titles[anchor.model],
                anchor.device,
                anchor.engine,
                anchor.processor,
                anchor.quantisation,
                _speed(anchor),
                f"{ceiling:,.2f}" if ceiling < 10 else f"{ceiling:,.1f}",
                f"{100 * anchor.decode_tokens_per_s[1] / ceiling:.0f} %",
                f"near: {anchor.differs}" if anchor.near else "device and model",
                f"{anchor.source}{read_again}",
            )
        )
    return Table(head, tuple(rows), frozenset({7, 8, 9}))


def profile_table(overview: Overview) -> Table:
    """Every profile as it is written."""
    rows = tuple(
        (
            plan.profile,
            plan.target,
            f"{plan.context_tokens:,}",
            megabytes(plan.needed_bytes),
            megabytes(plan.disk_bytes),
            _span(plan.decode_ceiling_low_tokens_per_s, plan.decode_ceiling_tokens_per_s),
            plan.reason,
        )
        for plan in overview.profiles
    )
    head = ("profile", "target", "context", "memory", "disk", "ceiling tok/s, half full", "fits")
    return Table(head, rows, frozenset({2, 3, 4, 5}))


def model_notes(overview: Overview, model: Model) -> list[str]:
    """Each note of the plans of a model once, with the rows that it is about."""
    cells = overview.of(model.key)
    about: dict[str, list[Cell]] = {}
    for cell in cells:
        for note in cell.plan.notes:
            about.setdefault(note, []).append(cell)
    return [f"{_rows_in_words(found, cells)}: {note}" for note, found in about.items()]


def _rows_in_words(found: Sequence[Cell], cells: Sequence[Cell]) -> str:
    if len(found) == len(cells):
        return "all"
    if len(found) > 1 and {cell.target for cell in found} == {cell.target for cell in cells}:
        return f"backend {found[0].backend}"
    backends = {target: [cell.backend for cell in found if cell.target == target] for target in _targets(found)}
    return ", ".join(f"{target} ({names[0]})" if len(names) == 1 else target for target, names in backends.items())


def _targets(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.target for cell in cells))


def _title(overview: Overview, model: Model) -> str:
    counts = overview.of(model.key)[0].plan.parameters
    active = "" if counts.active == counts.total else f", {millions(counts.active)} active for a token"
    return f"{model.title} ({millions(counts.total)} parameters{active})"


def _sections(
    overview: Overview,
    heading: Callable[[str], str],
    table: Callable[[Table], str],
    item: Callable[[str], str],
    published: Callable[[Table], str],
) -> str:
    parts = [f"{STATEMENT}\n", "".join(item(line) for line in LEGEND)]
    for model in overview.models:
        parts += [heading(_title(overview, model)), table(model_table(overview, model))]
        parts.append("".join(item(note) for note in model_notes(overview, model)))
    if overview.anchors:
        parts += [heading("Speeds that others published"), published(published_table(overview))]
    parts += [heading("Profiles as they are written"), table(profile_table(overview))]
    return "\n".join(part for part in parts if part)


def render_text(overview: Overview) -> str:
    """For a terminal: sentences wrapped, and of the published speeds the long columns below their table."""

    def item(line: str) -> str:
        return textwrap.fill(line, TEXT_WIDTH, initial_indent="  ", subsequent_indent="    ") + "\n"

    def published(table: Table) -> str:
        narrow = Table(table.head[:-2], tuple(row[:-2] for row in table.rows), table.right)
        return narrow.text() + "\n" + "".join(item(f"{row[0]} {row[-2]}; {row[-1]}") for row in table.rows)

    return _sections(overview, lambda title: f"{title}\n", Table.text, item, published)


def render_markdown(overview: Overview) -> str:
    """For docs/targets.md, what stands between the marker lines."""
    return _sections(
        overview, lambda title: f"### {title}\n", Table.markdown, lambda line: f"- {line}\n", Table.markdown
    )


def between_markers(path: Path) -> tuple[str, str, str]:
    """What a document holds before, between and after the marker lines.

    Errors: SpecError for a file that is missing, not UTF-8, or does not hold each marker once, in order.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("cannot be read as UTF-8 text", where=str(path), mend="name the Markdown file") from error
    if text.count(f"{BEGIN}\n") != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SpecError("does not hold the two marker lines", where=str(path), mend=f"put '{BEGIN}' and '{END}' in it")
    before, rest = text.split(f"{BEGIN}\n")
    inside, after = rest.split(END)
    return before, inside, after


def write_document(overview: Overview, path: Path) -> None:
    """Replace what stands between the markers of `path`. Errors: SpecError as above; ResourceError."""
    before, _, after = between_markers(path)
    text = f"{before}{BEGIN}\n{render_markdown(overview)}{END}{after}"
    write_atomic(path, text.encode("utf-8"))
