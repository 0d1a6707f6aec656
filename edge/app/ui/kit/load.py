"""Kv files: each is loaded once, however often its module is imported."""

from __future__ import annotations

from pathlib import Path

from kivy.lang import Builder

_loaded: set[str] = set()


def load_kv(module_file: str) -> None:
    """Load the .kv beside a module (`load_kv(__file__)`); a second call does nothing. Twice would double children."""
    path = str(Path(module_file).with_suffix(".kv").resolve())
    if path not in _loaded:
        _loaded.add(path)
        Builder.load_file(path, rulesonly=True)
