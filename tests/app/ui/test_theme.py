"""The theme in use: palette, type and words change in place."""

from __future__ import annotations

from kivy.lang import Builder
from kivy.utils import get_color_from_hex

from edge.app.i18n import translator
from edge.app.ui.tokens import LIGHT, NIGHT, TYPE
from tests.app.ui.driver import Driver

RULE = """
#:import theme edge.app.ui.theme.theme
EdgeCard:
    EdgeLabel:
        text: theme.tr('kit.supports')
    EdgeButton:
        text: theme.tr('kit.close')
        kind: 'primary'
"""


def test_night_changes_every_colour_in_the_same_frame(ui: Driver) -> None:
    """Fails when the switch needs another frame, or rebuilds the widgets."""
    card = ui.mount(Builder.load_string(RULE))
    before = list(ui.walk(card))
    ui.theme.night = True
    for name, value in NIGHT.items():
        assert list(getattr(ui.theme, name)) == get_color_from_hex(value), name
    label, button = card.children[1], card.children[0]
    assert label.color == get_color_from_hex(NIGHT["ink"])
    assert button.words.color == get_color_from_hex(NIGHT["primary_ink"])
    assert card.fill == get_color_from_hex(NIGHT["surface"])
    ui.frame()
    assert list(ui.walk(card)) == before
    ui.theme.night = False
    assert card.fill == get_color_from_hex(LIGHT["surface"])


def test_every_token_has_its_property(ui: Driver) -> None:
    """Fails when a token exists only in the table, so that kv cannot bind to it."""
    assert all(ui.theme.property(name, True) is not None for name in (*LIGHT, *TYPE))


def test_the_scale_is_clamped_and_sets_the_sizes(ui: Driver) -> None:
    """Fails when a broken setting makes the words unreadable, or a size does not follow."""
    for wished, got in ((1.3, 1.3), (9.0, 2.0), (0.1, 0.85)):
        ui.theme.scale = wished
        assert ui.theme.scale == got
        assert ui.theme.body == TYPE["body"] * got
        assert ui.theme.tiny == TYPE["tiny"] * got


def test_words_follow_the_language(ui: Driver) -> None:
    """Fails when a kv text stays in the old language."""
    card = ui.mount(Builder.load_string(RULE))
    translator.language = "de"
    ui.frame()
    assert card.children[1].text == "Dafür"
    assert card.children[0].words.text == "Schließen"


def test_a_label_grows_with_the_scale(ui: Driver) -> None:
    """Fails when a label's size is not bound to the theme."""
    card = ui.mount(Builder.load_string(RULE))
    small = card.children[1].height
    ui.theme.scale = 2.0
    ui.frame(2)
    assert card.children[1].height > 1.8 * small
