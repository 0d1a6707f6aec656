"""The window on a phone: taken away by the system at any moment."""

from __future__ import annotations

from types import SimpleNamespace

from edge.app.ui.phone import PhoneApp


def test_out_of_sight_is_locked() -> None:
    """Who picks up the tablet after a call sees the lock, and what was typed is saved (locking saves)."""
    called: list[str] = []
    app = SimpleNamespace(workspace=SimpleNamespace(lock=lambda: called.append("lock")))
    assert PhoneApp.on_pause(app) is True  # type: ignore[arg-type]
    assert called == ["lock"]
