"""A print of an encounter as PDF: A4 or Letter, the patient on each page, page x of y, drafts marked on each page.

The same encounter gives the same bytes (no date of making, no random ids). The document's own properties name no
patient: they are shown by file managers and stay in printers' queues.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

from edge.app.export.glyphs import BOLD, ITALIC, MISSING, REGULAR, Glyphs, covered
from edge.app.export.sheet import Block, FlagRow, Line, Sheet, Table, Words, sheet, words_in
from edge.app.i18n import DEFAULT
from edge.clinical.encounter.model import Encounter
from edge.errors import MissingToolError

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

Paper = Literal["a4", "letter"]
MARGIN_MM, HEAD_MM, FOOT_MM = 16.0, 24.0, 20.0
BODY, SMALL, TITLE = 9.5, 7.5, 12.0  # points
DARK, GREY, RED, RULE = "#12211f", "#4a5957", "#9c1c1c", "#9aa8a6"


def pdf(
    enc: Encounter,
    flags: Sequence[FlagRow] = (),
    *,
    paper: Paper = "a4",
    evidence: bool = False,
    language: str = DEFAULT,
    audit_head: str = "",
) -> bytes:
    """The print. evidence: each drafted line says where in the transcript it comes from. audit_head: see `sheet`.

    Errors: MissingToolError without reportlab.
    """
    try:
        from reportlab.lib.pagesizes import A4, LETTER
        from reportlab.lib.units import mm
        from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate
    except ImportError as error:
        raise MissingToolError(
            "PDF export needs the package reportlab", mend="install it with pip install 'edge-kit[app]'"
        ) from error
    covered()
    glyphs = Glyphs()
    tr = words_in(language)
    content = sheet(enc, flags, language=language, evidence=evidence, audit_head=audit_head)
    width, height = A4 if paper == "a4" else LETTER
    # Two passes: the footer says how many pages there are, and whether anything could not be printed.
    pages, data = 0, b""
    for _ in range(2):
        target = io.BytesIO()
        frame = Frame(
            MARGIN_MM * mm,
            FOOT_MM * mm,
            width - 2 * MARGIN_MM * mm,
            height - (HEAD_MM + FOOT_MM) * mm,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )
        making = BaseDocTemplate(
            target,
            pagesize=(width, height),
            title=tr("print.title"),
            author="",
            subject="",
            creator="edge",
            producer="edge",
            invariant=1,
        )
        drawn = _Page(content, glyphs, pages, tr)
        making.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=drawn.draw)])
        making.build(_story(content, glyphs, width - 2 * MARGIN_MM * mm))
        pages, data = making.page, target.getvalue()
    return data


class _Page:
    """Head and foot of every page."""

    def __init__(self, content: Sheet, glyphs: Glyphs, pages: int, tr: Words) -> None:
        self.content, self.glyphs, self.pages, self.tr = content, glyphs, pages, tr

    def draw(self, canvas: Any, making: Any) -> None:
        """Called by reportlab before a page is filled."""
        from reportlab.lib.units import mm
        from reportlab.lib.utils import simpleSplit

        width, height = making.pagesize
        left, right = MARGIN_MM * mm, width - MARGIN_MM * mm
        canvas.saveState()
        canvas.setFillColor(DARK)
        canvas.setFont(BOLD, BODY)
        # Two lines hold a patient; what is longer is in the file, and cut with a mark here.
        lines = simpleSplit(self.glyphs.text(self.content.header), BOLD, BODY, right - left)
        if len(lines) > 2:
            lines = [lines[0], lines[1][:-3] + "..."]
        for index, line in enumerate(lines):
            canvas.drawString(left, height - (10 + 4.4 * index) * mm, line)
        if self.content.banner:
            canvas.setFillColor(RED)
            canvas.drawString(left, height - 19.4 * mm, self.glyphs.text(self.content.banner))
        canvas.setStrokeColor(RULE)
        canvas.line(left, height - 21 * mm, right, height - 21 * mm)
        canvas.line(left, 17 * mm, right, 17 * mm)
        canvas.setFillColor(GREY)
        canvas.setFont(REGULAR, SMALL)
        canvas.drawString(left, 13 * mm, self.glyphs.text(self.content.footer))
        if self.pages:
            count = self.tr("print.page", page=making.page, pages=self.pages)
            canvas.drawRightString(right, 13 * mm, self.glyphs.text(count))
        canvas.drawString(left, 9.5 * mm, self.glyphs.text(self.tr("print.decides")))
        if self.glyphs.lost:
            canvas.setFillColor(RED)
            canvas.drawString(left, 6 * mm, self.glyphs.text(self.tr("print.lost", mark=MISSING)))
        canvas.restoreState()


def _styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle

    # splitLongWords: a word without a space must wrap, not run off the page.
    body = ParagraphStyle(
        "body", fontName=REGULAR, fontSize=BODY, leading=BODY * 1.35, textColor=DARK, splitLongWords=1, spaceAfter=1.5
    )
    return {
        "body": body,
        "head": ParagraphStyle("head", body, fontName=BOLD, fontSize=TITLE, leading=16, spaceBefore=9, spaceAfter=3),
        "sub": ParagraphStyle("sub", body, fontName=BOLD, spaceBefore=4),
        "small": ParagraphStyle("small", body, fontName=ITALIC, fontSize=SMALL, leading=10, textColor=GREY),
        "cell": ParagraphStyle("cell", body, fontSize=8.5, leading=11, spaceAfter=0),
    }


def _story(content: Sheet, glyphs: Glyphs, width: float) -> list[Flowable]:
    from reportlab.platypus import Paragraph

    styles = _styles()
    story: list[Flowable] = []
    for block in content.blocks:
        if block.title:
            head = Paragraph(escape(glyphs.text(block.title)), styles["head"])
            head.keepWithNext = True
            story.append(head)
        story += _body(block, glyphs, styles, width)
    return story


def _body(block: Block, glyphs: Glyphs, styles: dict[str, Any], width: float) -> list[Flowable]:
    from reportlab.platypus import Paragraph

    made: list[Flowable] = []
    for part in block.body:
        if isinstance(part, Table):
            made += _table(part, glyphs, styles, width)
        elif part.heading:
            sub = Paragraph(escape(glyphs.text(part.text)), styles["sub"])
            sub.keepWithNext = True
            made.append(sub)
        else:
            made.append(Paragraph(_marked(part, glyphs), styles["body"]))
    return made


def _marked(line: Line, glyphs: Glyphs) -> str:
    """A line with its marks, as reportlab's mark-up."""
    words = escape(glyphs.text(line.text))
    told = [one for one in (line.mark, line.places) if one]
    note = f' <font size="{SMALL}" color="{GREY}">[{escape(glyphs.text(", ".join(told)))}]</font>' if told else ""
    return words + note


def _table(table: Table, glyphs: Glyphs, styles: dict[str, Any], width: float) -> list[Flowable]:
    from reportlab.platypus import Paragraph
    from reportlab.platypus import Table as Drawn

    def cell(text: str, bold: bool = False) -> Paragraph:
        words = escape(glyphs.text(text))
        return Paragraph(f"<b>{words}</b>" if bold else words, styles["cell"])

    rows = [[cell(text, True) for text in table.head]]
    rows += [[cell(text, index == 0) for index, text in enumerate(row)] for row in table.rows]
    made: list[Flowable] = []
    if table.caption:
        made.append(Paragraph(escape(glyphs.text(table.caption)), styles["small"]))
        made[-1].keepWithNext = True
    rules: list[tuple[Any, ...]] = [
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, DARK),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    drawn = Drawn(rows, colWidths=[width * share for share in table.widths], repeatRows=1, style=rules, splitInRow=1)
    return [*made, drawn]
