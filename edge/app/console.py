"""`edge app` on a command line: from options to a window, or to a kiosk's files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import click

from edge.app.main import DEFAULT_SIZE, AppOptions, parse_size, run_app
from edge.errors import InputError

BASE_DPI = 160.0  # a dp is a pixel at this density


def panel_of(bundles: Sequence[Path]) -> tuple[float, tuple[int, int]]:
    """(pixels per dp, size) of the panel that the first bundle's target names; (1, 1280x800) where none does.

    Only looks: the engine checks signature and digests before anything of a bundle is used.
    """
    for folder in bundles:
        try:
            panel = json.loads((folder / "manifest.json").read_bytes())["target"]["panel"]
            width, height = panel["size_px"]
            return max(0.5, min(4.0, float(panel["dpi"]) / BASE_DPI)), parse_size(f"{width}x{height}")
        except (OSError, ValueError, KeyError, TypeError, InputError):
            continue
    return 1.0, DEFAULT_SIZE


def app_command(
    bundles: Sequence[Path],
    *,
    data: Path | None = None,
    samples: bool = False,
    size: str | None = None,
    density: float | None = None,
    fullscreen: bool = False,
    keyboard: bool | None = None,
    speech_model: Path | None = None,
    kiosk_install: Path | None = None,
) -> int:
    """Open the app, or write the kiosk's files below a root folder. Returns the exit code. Errors: EdgeError."""
    if density is not None and not math.isfinite(density):
        raise InputError("not a density", mend="give pixels per dp, as 1.5")
    panel_density, panel_size = panel_of(bundles)
    if kiosk_install is not None:
        from edge.app.kiosk.install import install

        made = install(
            kiosk_install,
            bundles=tuple(bundles),
            density=density or panel_density,
            size_px=parse_size(size) if size else panel_size,
            speech_model=speech_model,
        )
        for path in made:
            click.echo(str(path))
        return 0
    return run_app(
        AppOptions(
            bundles=tuple(bundles),
            data=data,
            samples=samples,
            density=density or panel_density,
            size=parse_size(size) if size else panel_size,
            fullscreen=fullscreen,
            keyboard=fullscreen if keyboard is None else keyboard,
            speech_model=speech_model,
            slots=Path(slots) if (slots := os.environ.get("EDGE_SLOTS")) else None,
        )
    )
