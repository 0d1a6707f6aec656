"""Choosing a backup file: the folder dialog in the words of a backup."""

from __future__ import annotations

from edge.app.i18n import tr
from edge.app.presenters.device_view import size
from edge.app.ui.screens.folder_dialog import FolderDialog


class BackupDialog(FolderDialog):
    """See FolderDialog. Files are backups here, not texts."""

    def draw(self, *_: object) -> None:
        """Draw the folder that is shown now."""
        super().draw()
        view, ids = self.browser.view, self.parts.ids
        files = [entry for entry in view.entries if not entry.folder]
        if not files and not view.error:
            ids.told.text = tr("lock.no_backup_here")
        for entry in files:
            ids.entries.row((entry.name, False)).word = f"{tr('settings.backup')}, {size(entry.size_bytes)}"
