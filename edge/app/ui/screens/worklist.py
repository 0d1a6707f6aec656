"""The worklist: rows left; right the visit that is looked at, the patient form or the delete card."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp

from edge.app.i18n import tr
from edge.app.presenters.worklist import WorklistPresenter, WorklistView
from edge.app.ui.kit import EdgeBanner, EdgeDialog, EdgeScreen, EdgeSegment, load_kv
from edge.app.ui.kit.base import text_width
from edge.app.ui.kit.let_go import let_go
from edge.app.ui.screens.patient_form import PatientForm
from edge.app.ui.screens.worklist_parts import ONE_LINE_DP, DeleteCard, VisitPreview, row_data
from edge.app.ui.theme import MEDIUM, theme
from edge.app.ui.tokens import TYPE


class WorklistScreen(EdgeScreen):
    """See the module's docstring."""

    name = "worklist"

    def __init__(self, presenter: WorklistPresenter, workspace: Any, **kwargs: Any) -> None:
        self._dialog: EdgeDialog | None = None
        self._warning: EdgeBanner | None = None
        self._asked: Any = None
        self._compact = True
        super().__init__(presenter, workspace, **kwargs)
        presenter.go = lambda place: self.go(place)
        self._preview, self._form, self._delete = VisitPreview(presenter=presenter), PatientForm(), DeleteCard()
        self._delete.presenter = presenter
        # `ids` holds its widgets weakly: what is taken off the screen must be kept by somebody.
        self._empty, self._rows, self._none = (self.ids[name].__self__ for name in ("nobody", "rows", "none_holder"))
        self._parts_by_pane = {
            "empty": self._empty,
            "preview": self._preview,
            "form": self._form,
            "delete": self._delete,
        }
        self._fit_soon = Clock.create_trigger(self._fit, -1)
        self._rows.bind(width=self._fit_soon)
        theme.bind(tiny=self._resized)

    # ---- what a finger does ---------------------------------------------------------------------------------

    def tapped(self, visit: str) -> None:
        """A row was tapped. In one pane the tap always leads to the visit first."""
        view: WorklistView = self.presenter.view
        if self.wide or view.pane != "preview" or view.selected != visit:
            self.presenter.select(visit)
        self.pane = 1

    def new_patient(self) -> None:
        """Begin a visit."""
        self.presenter.new_patient()
        self.pane = 1

    def searched(self, text: str) -> None:
        """A letter of the search."""
        if text != self.presenter.view.query:
            self.presenter.search(text)
            self._rows.scroll_y = 1

    def choose_order(self) -> None:
        """Ask in which order."""
        view: WorklistView = self.presenter.view
        dialog = EdgeDialog(
            title=tr("worklist.sort"), icon="filter", actions=[("cancel", tr("patient.cancel"), "plain")]
        )
        segment = EdgeSegment(options=list(view.sorts), selected=view.sort, stacked=True)

        def chosen(_segment: EdgeSegment, key: str) -> None:
            dialog.close()
            self.presenter.sort(key)
            self._rows.scroll_y = 1

        segment.bind(on_select=chosen)
        dialog.add_widget(segment)
        dialog.open()

    # ---- drawing --------------------------------------------------------------------------------------------

    def on_show(self) -> None:
        """See EdgeScreen."""
        self.presenter.shown()

    def render(self, view: WorklistView) -> None:
        """See EdgeScreen."""
        ids = self.ids
        ids.count.text = view.message or view.count_words
        if not ids.search.typing and ids.search.text != view.query:
            ids.search.text = view.query
        ids.filters.show(view.filters, view.state)
        ids.order.text = dict(view.sorts)[view.sort]
        self._warn(view.damaged)
        self._fit()
        self._rows.set_data([row_data(row, view.selected, self._compact, self) for row in view.rows])
        self._list(view)
        self._side(view)
        self._ask(view)

    def _warn(self, words: str) -> None:
        """What is wrong with the store stands below the title."""
        top = self.ids.top
        if words and self._warning is None:
            self._warning = EdgeBanner(tone="danger", kind_of_text="small")
            self._warning.takes_focus = False
            top.add_widget(self._warning)
        elif not words and self._warning is not None:
            top.remove_widget(self._warning)
            self._warning = None
        if self._warning is not None:
            self._warning.text = words

    def _list(self, view: WorklistView) -> None:
        """The rows, or what to do where there is none."""
        wanted = self._rows if view.rows else self._none
        if self.ids.list_host.children != [wanted]:
            self.ids.list_host.clear_widgets()
            self.ids.list_host.add_widget(wanted)
        none = self._none.children[0]
        none.title, none.text = view.empty_title, view.empty_text
        none.command = tr("worklist.show_all") if view.total else ""

    def _side(self, view: WorklistView) -> None:
        wanted = self._parts_by_pane[view.pane]
        if self.ids.side.children != [wanted]:
            self.ids.side.clear_widgets()
            self.ids.side.add_widget(wanted)
            self.ids.side_scroll.scroll_y = 1
            if view.pane != "form":
                self._form.clear_text()
        if view.pane == "preview" and view.preview is not None:
            self._preview.show(view.preview)
        elif view.pane == "form" and view.form is not None:
            self._form.show(self.presenter.form, view.form)
        elif view.pane == "delete" and view.deletion is not None:
            self._delete.show(view.deletion)
        first = view.total == 0
        self._empty.icon = "account-plus" if first else "hand"
        self._empty.title = tr("worklist.first_title" if first else "worklist.nobody_title")
        self._empty.text = tr("worklist.first_text" if first else "worklist.nobody_text")
        if view.pane == "empty" and not self.wide:
            self.pane = 0

    def _ask(self, view: WorklistView) -> None:
        """A question of the list or of the form: one dialog for each, until it is answered."""
        asked: tuple[Any, ...] | None = None
        if view.question is not None:
            question = view.question
            asked = (question.title, question.body, question.yes, question.no, self.presenter.answer)
        elif view.form is not None and view.form.question and self.presenter.form is not None:
            names = ("patient.same_mrn_title", "patient.same_mrn_yes", "patient.same_mrn_no")
            title, yes, no = (tr(name) for name in names)
            asked = (title, view.form.question, yes, no, self._same_number)
        if asked == self._asked:
            return
        self._asked = asked
        if self._dialog is not None:
            self._dialog.close()
            self._dialog = None
        if asked is not None:
            title, body, yes, no, answer = asked
            dialog = EdgeDialog(
                title=title, body=body, icon="help-circle", actions=[("yes", yes, "primary"), ("cancel", no, "plain")]
            )
            dialog.bind(on_action=lambda _dialog, key: answer(key == "yes"))
            self._dialog = dialog
            dialog.open()

    def _same_number(self, yes: bool) -> None:
        form = self.presenter.form
        if form is not None:
            if yes:
                form.save(again=True)
            else:
                form.answer_no()

    @staticmethod
    def title_width(text: str, room: float, button: float, _after: float) -> float:
        """What the button leaves of a line; the whole line where the title needs more than that."""
        left = room - button - dp(12)
        return left if left >= text_width(text, MEDIUM, theme.title) + 1 else room

    def _resized(self, *_: object) -> None:
        self._fit_soon()

    def _fit(self, *_: object) -> None:
        """Rows of one height each, for the width and the text size that there are."""
        scale = theme.scale
        compact = self._rows.width >= dp(ONE_LINE_DP) * scale
        line = 1.2 * scale
        tag = max(24.0, line * TYPE["tiny"] + 8)
        second = max(line * TYPE["small"], tag) if compact else line * TYPE["small"] + tag
        height = dp(line * TYPE["heading"] + second + 30)
        rows = self._rows.ids.rows
        rows.default_size = (None, height)
        rows.padding = (0, 0, dp(8), dp(8))
        if self._compact != compact:
            self._compact = compact
            self._rows.set_data([{**data, "compact": compact} for data in self._rows.data])

    def clear_text(self) -> None:
        """Empty all parts, also those that are off the screen."""
        self._asked, self._dialog = None, None
        for part in self._parts_by_pane.values():
            if part.parent is None:
                self.ids.side.add_widget(part)
        for part in (self._rows, self._none):
            if part.parent is None:
                self.ids.list_host.add_widget(part)
        super().clear_text()
        self.presenter.clear()
        let_go(self, *self._parts_by_pane.values())


load_kv(__file__)
