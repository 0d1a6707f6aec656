"""The device: models left with digest and device test; speed, memory, heat, storage and the test's result right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kivy.properties import ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.device_view import BenchmarkCard, DeviceView, Fact, ModelCard
from edge.app.presenters.folders import FolderBrowser
from edge.app.ui.kit import EdgeButton, EdgeCard, EdgeDialog, EdgeScreen, load_kv
from edge.app.ui.screens.folder_dialog import FolderDialog
from edge.app.ui.screens.note_parts import EmptyBox, ShownWide  # noqa: F401  (known to kv)
from edge.app.ui.theme import theme

INKS = {"good": "support", "warning": "against", "danger": "danger"}
STATE_TONES = {"": ("check-circle", "support"), "busy": ("sync", "info"), "warning": ("alert", "warning")}


class DeviceFact(BoxLayout):
    """A name with its value; an icon beside a value that has a tone."""

    name = StringProperty("")
    value = StringProperty("")
    icon = StringProperty("")
    tone = StringProperty("ink")
    long = StringProperty("")

    def show(self, fact: Fact) -> None:
        """Draw it."""
        self.name, self.value, self.icon, self.long = fact.name, fact.value, fact.icon, fact.long
        self.tone = INKS.get(fact.tone, "ink")


class DeviceFacts(EdgeCard):
    """A title and facts."""

    title = StringProperty("")
    icon = StringProperty("information")
    empty = StringProperty("")

    def show(self, facts: tuple[Fact, ...]) -> None:
        """Draw them."""
        self.ids.facts.set_items(list(enumerate(facts)), DeviceFact, lambda row, fact: row.show(fact))
        self.empty_words = self.empty if not facts else ""

    empty_words = StringProperty("")


class ModelBox(EdgeCard):
    """One engine with its bundle."""

    title = StringProperty("")
    state = StringProperty("")
    state_icon = StringProperty("check-circle")
    state_tone = StringProperty("support")
    task = StringProperty("")

    def __init__(self, owner: Any, **kwargs: Any) -> None:
        self.owner = owner
        super().__init__(**kwargs)
        self._test = self._button("speedometer", self._ask)
        self._restart = self._button("refresh", self._again)

    @staticmethod
    def _button(icon: str, action: Any) -> EdgeButton:
        button = EdgeButton(icon=icon)
        button.bind(on_release=lambda *_: action())
        return button

    def _ask(self) -> None:
        self.owner.presenter.ask_benchmark(self.task)

    def _again(self) -> None:
        self.owner.presenter.restart(self.task)

    def show(self, data: tuple[ModelCard, bool, Any]) -> None:
        """Draw a snapshot. The second value: whether the device test can be asked for."""
        card, can_test, _look = data
        self.title, self.task, self.state = card.title, card.task, card.status
        self.state_icon, self.state_tone = STATE_TONES.get(card.tone, ("alert-octagon", "soft_danger"))
        self.ids.facts.set_items(list(enumerate(card.facts)), DeviceFact, lambda row, fact: row.show(fact))
        self._test.text, self._test.disabled = tr("device.benchmark_run"), not can_test
        self._restart.text = tr("device.restart")
        wanted = [self._restart] if card.restart else ([self._test] if card.facts else [])
        flow = self.ids.commands
        if list(reversed(flow.children)) != wanted:
            flow.clear_widgets()
            for button in wanted:
                flow.add_widget(button)


class TestCard(EdgeCard):
    """The device test: why it cannot run, how far it is, what it found."""

    owner = ObjectProperty(None, allownone=True)
    reason = StringProperty("")
    running = StringProperty("")
    verdict = StringProperty("")
    verdict_tone = StringProperty("support")
    verdict_icon = StringProperty("check-circle")
    words = StringProperty("")
    told = StringProperty("")
    told_tone = StringProperty("ink")

    def show(self, card: BenchmarkCard) -> None:
        """Draw it."""
        running = card.fraction is not None
        self.reason, self.running, self.words = card.reason, card.running_words, card.words
        self.ids.progress_box.show(running)
        self.ids.bar.fraction = card.fraction or 0.0
        self.ids.close_box.show(card.can_close_patient and not running)
        self.ids.verdict_box.show(bool(card.verdict))
        self.verdict = card.verdict
        self.verdict_tone, self.verdict_icon = (
            ("support", "check-circle") if card.passed else ("soft_danger", "alert-octagon")
        )
        self.ids.facts.set_items(list(enumerate(card.facts)), DeviceFact, lambda row, fact: row.show(fact))
        self.ids.export_box.show(card.can_export)
        self.told = "\n".join(card.exported) or card.export_error
        self.told_tone = "danger" if card.export_error else "support"


class DeviceScreen(EdgeScreen):
    """See the module's docstring. start_folder: where the folder browser begins; injected by tests."""

    start_folder = ObjectProperty(None, allownone=True)

    def __init__(self, presenter: Any, workspace: Any, **kwargs: Any) -> None:
        self._question: EdgeDialog | None = None
        super().__init__(presenter, workspace, **kwargs)
        test = self.ids.test.ids
        # What is not shown hangs on no parent, and ids are weak.
        self._held = [test[name] for name in ("progress", "bar", "stop", "close", "verdict", "export")]
        self._held += [self.ids.test, self.ids.graph]
        theme.bind(overlay=self._redraw)

    def render(self, view: DeviceView) -> None:
        """See EdgeScreen."""
        ids, look = self.ids, (theme.night, theme.tr)
        can_test = not view.benchmark.reason and view.benchmark.fraction is None
        ids.models.set_items(
            [(card.task, (card, can_test, look)) for card in view.models],
            lambda: ModelBox(self),
            lambda box, data: box.show(data),
        )
        ids.no_models.show(not view.models, "chip", tr("device.no_models"), tr("device.no_models_hint"))
        ids.test_box.show(bool(view.models))
        ids.test.show(view.benchmark)
        ids.speed.show(view.speed)
        ids.memory.show(view.memory)
        ids.storage.show(view.storage)
        ids.heat.set_items(list(enumerate(view.temperature)), DeviceFact, lambda row, fact: row.show(fact))
        ids.graph_box.show(bool(view.graph))
        ids.graph.points = list(enumerate(view.graph))
        ids.graph_words.text = view.graph_words
        self._ask(view.benchmark.asking)

    def _ask(self, asking: bool) -> None:
        if not asking:
            if self._question is not None:
                question, self._question = self._question, None
                question.close()
            return
        if self._question is not None:
            return
        self._question = EdgeDialog(
            title=tr("device.benchmark_ask_title"),
            body=tr("device.benchmark_ask_body"),
            icon="speedometer",
            actions=[("go", tr("device.benchmark_go"), "primary"), ("cancel", tr("device.cancel"), "plain")],
        )
        self._question.bind(on_action=lambda _dialog, key: self._answered(key))
        self._question.open()

    def _answered(self, key: str) -> None:
        self._question = None
        if key == "go":
            self.presenter.run_benchmark()
        else:
            self.presenter.cancel_benchmark()

    def choose_folder(self) -> None:
        """Ask where to put the result."""
        browser = FolderBrowser(Path(self.start_folder or Path.home()))
        FolderDialog(browser, self.presenter.export_result, tr("folder.save_title")).open()


load_kv(__file__)
