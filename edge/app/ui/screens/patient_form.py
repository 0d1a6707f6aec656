"""The form of a patient's data (edge.app.presenters.patient_form), shown beside the worklist."""

from __future__ import annotations

from kivy.metrics import dp
from kivy.properties import NumericProperty, ObjectProperty

from edge.app.i18n import tr
from edge.app.presenters.patient_form import BIRTH_MODES, SEXES, PatientFormPresenter, PatientFormView
from edge.app.ui.kit import EdgeColumn, fold, load_kv
from edge.app.ui.screens import pin_panel  # noqa: F401  (IconWords in the kv file)

TEXT_FIELDS = ("name", "birth", "age", "mrn", "bed", "allergies")
TWO_COLUMNS_DP = 480


class PatientForm(EdgeColumn):
    """Draws a PatientFormView. Each letter goes to the presenter; what is wrong is said when a field is left."""

    form = ObjectProperty(None, allownone=True)
    columns = NumericProperty(2)

    def show(self, form: PatientFormPresenter, view: PatientFormView) -> None:
        """Draw a snapshot of a form; another form than the last one empties the fields first."""
        if form is not self.form:
            self.clear_text()
            self.form = form
        ids, draft = self.ids, view.draft
        ids.title.text = view.title
        for name in TEXT_FIELDS:
            ids[name].show(getattr(draft, name))
            ids[name].error = view.error(name)
        ids.birth_mode.options = [(mode, tr(f"patient.mode_{mode}")) for mode in BIRTH_MODES]
        ids.birth_mode.selected = draft.birth_mode
        fold(ids.birth, draft.birth_mode == "date")
        fold(ids.age, draft.birth_mode == "age")
        ids.birth.help = view.birth_words
        ids.sex.options = [(sex or "none", tr(f"patient.sex_{sex or 'none'}")) for sex in SEXES]
        ids.sex.selected = draft.sex or "none"
        ids.allergy_mode.options = [
            ("not_asked", tr("patient.allergy_not_asked"), "help-circle"),
            ("none", tr("patient.allergy_none"), "check"),
            ("list", tr("patient.allergy_list"), "alert"),
        ]
        ids.allergy_mode.selected = draft.allergy_mode
        fold(ids.allergies, draft.allergy_mode == "list")
        ids.name.help = view.note
        ids.message.say(view.message, "alert-circle", "danger")
        ids.save.text = tr("patient.save_new" if view.is_new else "patient.save")

    @staticmethod
    def column_count(width: float, scale: float) -> int:
        """Two short fields side by side where they fit."""
        return 2 if width >= dp(TWO_COLUMNS_DP) * max(scale, 1.0) else 1

    def typed(self, name: str, text: str) -> None:
        """A letter was typed."""
        if self.form is not None and getattr(self.form.view.draft, name) != text:
            self.form.set(name, text, left=False)

    def left(self, name: str, text: str) -> None:
        """The cursor left a field."""
        if self.form is not None:
            self.form.set(name, text)

    def save(self) -> None:
        """Take what is in the fields and save it."""
        for name in TEXT_FIELDS:
            self.left(name, self.ids[name].text)
        self.form.save()

    def clear_text(self) -> None:
        """Nothing typed stays."""
        self.form = None
        for name in TEXT_FIELDS:
            self.ids[name].clear_text()
            self.ids[name].error = ""
        self.ids.message.clear_text()


load_kv(__file__)
