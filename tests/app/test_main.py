"""The start of the app: what fails here shows a traceback, or nothing at all, in place of one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.app.console import app_command
from edge.app.main import need_screen, parse_size
from edge.errors import InputError, ResourceError


@pytest.mark.parametrize(
    "text", ["", "x", "1280", "1280x", "0x0", "-1280x800", "1e3x800", "²²²²x³³³", "99999x800", "٣٢٠x٣٢٠"]
)
def test_a_size_that_is_none_is_said_in_a_line(text: str) -> None:
    """Digits of other scripts must not end as a bug of ours."""
    with pytest.raises(InputError):
        parse_size(text)


def test_a_size_in_pixels() -> None:
    """A panel's own size must be taken."""
    assert parse_size("1280x800") == (1280, 800)
    assert parse_size(" 1920X1200 ") == (1920, 1200)


def test_a_density_that_is_no_number_is_said_in_a_line(tmp_path: Path) -> None:
    """A nan passes a range check and then breaks every size on the screen."""
    with pytest.raises(InputError):
        app_command([], data=tmp_path, density=float("nan"))


def test_no_screen_is_an_error_and_no_invisible_window(tmp_path: Path) -> None:
    """Without a screen SDL draws into memory: the app would run for ever where nobody sees it."""
    with pytest.raises(ResourceError):
        need_screen({}, tmp_path)
    (tmp_path / "proc" / "net").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "unix").write_text("0: 2 0 10 1 1 7 @/tmp/.X11-unix/X5\n")
    with pytest.raises(ResourceError):
        need_screen({"DISPLAY": ":4"}, tmp_path)


def test_every_kind_of_screen_is_one(tmp_path: Path) -> None:
    """A desktop, a panel without a desktop and a driver that was asked for must all be let in."""
    (tmp_path / "proc" / "net").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "unix").write_text("0: 2 0 10 1 1 7 @/tmp/.X11-unix/X5\n")
    (tmp_path / "tmp" / ".X11-unix").mkdir(parents=True)
    (tmp_path / "tmp" / ".X11-unix" / "X6").touch()
    for environment in (
        {"DISPLAY": ":5.0"},
        {"DISPLAY": ":6"},
        {"DISPLAY": "elsewhere:0"},
        {"WAYLAND_DISPLAY": "wayland-0"},
        {"SDL_VIDEODRIVER": "kmsdrm"},
    ):
        need_screen(environment, tmp_path)
    (tmp_path / "dev" / "dri").mkdir(parents=True)
    (tmp_path / "dev" / "dri" / "card0").touch()
    need_screen({}, tmp_path)
