"""`edge plan --all` as a person calls it: text, JSON, Markdown, or the document brought up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edge.build.plan_all import plan_everything
from edge.build.plan_all_text import render_markdown, render_text, write_document


def run_plan_all(extra: Sequence[Path], *, as_json: bool, markdown: bool, into: Path | None) -> None:
    """Plan all of profiles/ and `extra`, and print it, or replace what stands between the markers of `into`.

    Errors: SpecError for a wrong profile or target, or a document without markers; ResourceError.
    """
    overview = plan_everything(extra=extra)
    if into is not None:
        write_document(overview, into)
    elif markdown:
        print(render_markdown(overview), end="")
    elif as_json:
        print(json.dumps(overview.to_json(), indent=1))
    else:
        print(render_text(overview), end="")
