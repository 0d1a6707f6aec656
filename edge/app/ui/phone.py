"""The Kivy application where the system takes the window away at will (Android)."""

from __future__ import annotations

from edge.app.ui.app import BedsideApp


class PhoneApp(BedsideApp):
    """Out of sight nothing is unsaved and nobody's data is open."""

    def on_pause(self) -> bool:
        """Save and lock; True: the app may go on later."""
        self.workspace.lock()
        return True
