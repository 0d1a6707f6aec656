"""Panels of the settings that only tell: the audit log, and what the app is made of."""

from __future__ import annotations

from typing import Any

from kivy.metrics import dp
from kivy.properties import NumericProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.about import AboutView, AuditView, BundleRow
from edge.app.ui.kit import EdgeColumn, EdgeRecycleRow, EdgeRow, load_kv
from edge.app.ui.screens.pin_panel import IconWords
from edge.app.ui.screens.settings_parts import Panel
from edge.app.ui.theme import theme
from edge.app.ui.tokens import TYPE

TONE_ICONS = {"support": "shield-check", "danger": "shield-alert", "missing": "shield-off"}
WIDE_ROW_DP = 520


class LabelledRow(EdgeRow):
    """A label and what it says."""

    label = StringProperty("")
    text = StringProperty("")
    label_width = NumericProperty(dp(180))


class AuditLine(EdgeRecycleRow, BoxLayout):
    """An entry of the log."""

    number = StringProperty("")
    at = StringProperty("")
    text = StringProperty("")
    visit = StringProperty("")


class AuditPanel(BoxLayout):
    """The newest entries, and whether the chain holds."""

    presenter = ObjectProperty(None, allownone=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        theme.bind(tiny=self._fit)
        self._fit()

    def show(self, view: AuditView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.state.text = tr("settings.audit_reading") if view.loading else view.state_words
        ids.state.tone = "plain" if view.loading else "support" if view.tone == "support" else "danger"
        ids.state.own_icon = "clock" if view.loading else TONE_ICONS[view.tone]
        ids.head.text = tr("settings.audit_head", head=view.head) if view.head else ""
        ids.shown.text = tr("settings.audit_shown", count=len(view.rows)) if view.rows else ""
        ids.rows.set_data(
            [
                {
                    "number": str(row.number),
                    "at": row.at,
                    "text": row.words,
                    "visit": tr("settings.audit_visit", id=row.visit) if row.visit else "",
                }
                for row in view.rows
            ]
        )

    def _fit(self, *_: object) -> None:
        rows = self.ids.rows.ids.rows
        rows.default_size = (None, dp(max(48.0, 1.2 * theme.scale * (TYPE["label"] + TYPE["tiny"]) + 22)))
        rows.spacing = 0
        rows.padding = (0, 0, dp(8), 0)

    def clear_text(self) -> None:
        """Take the log off the screen."""
        self.ids.rows.clear_text()
        self.ids.head.text = self.ids.shown.text = ""


class BundleCard(EdgeColumn):
    """A build in use with its digests."""

    def show(self, row: BundleRow) -> None:
        """Draw it."""
        ids = self.ids
        ids.name.text = row.model or row.name
        ids.state.text, ids.state.icon = row.verified_words, TONE_ICONS[row.tone]
        ids.state.tone = {"support": "support", "danger": "soft_danger", "missing": "missing"}[row.tone]
        lines = (
            ("about_tasks", row.tasks),
            ("about_target", row.target),
            ("about_behaviour", row.behaviour_digest),
            ("about_bundle", row.bundle_digest),
        )
        ids.lines.set_items([(key, (tr(f"settings.{key}"), words)) for key, words in lines], LabelledRow, _say_line)


class AboutPanel(Panel):
    """Versions, builds, limits, licences."""

    def show(self, view: AboutView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.versions.set_items([(label, (label, words)) for label, words in view.versions], LabelledRow, _say_line)
        ids.bundles.set_items([(row.bundle_digest, row) for row in view.bundles], BundleCard, BundleCard.show)
        ids.no_bundles.text = "" if view.bundles else tr("settings.about_no_builds")
        ids.limits.set_items(list(enumerate(view.limits)), IconWords, _say_limit)
        parts = [(part.name, (f"{part.name} {part.version}".strip(), part.licence)) for part in view.parts]
        ids.parts.set_items(parts, LabelledRow, _say_line)


def _say_line(row: LabelledRow, data: tuple[str, str]) -> None:
    row.label, row.text = data


def _say_limit(row: IconWords, words: str) -> None:
    row.say(words, "information", "ink")


load_kv(__file__)
