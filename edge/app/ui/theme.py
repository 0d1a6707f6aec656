"""The theme in use: one Kivy property per colour token, text sizes by the font scale, the language.

Kv files bind to it (`#:import theme edge.app.ui.theme.theme`): `color: theme.ink`, `font_size: theme.body`,
`text: theme.tr('note.sign')`. Setting `theme.night`, `theme.scale` or the language redraws in one frame and rebuilds
nothing. Import after `environment.prepare`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from inspect import ismethod
from pathlib import Path
from typing import Any
from weakref import WeakMethod

from kivy.core.text import LabelBase
from kivy.event import EventDispatcher
from kivy.metrics import sp
from kivy.properties import BooleanProperty, ColorProperty, NumericProperty, ObjectProperty

from edge.app.i18n import tr, translator
from edge.app.ui import icons
from edge.app.ui.tokens import LIGHT, NIGHT, SCALE_LEAST, SCALE_MOST, TONES, TYPE

MEDIUM = "EdgeMedium"
ICON_FONT = "EdgeIcons"
LabelBase.register(MEDIUM, fn_regular=str(Path(__file__).parent / "fonts" / "Edge-Medium.ttf"))
LabelBase.register(ICON_FONT, fn_regular=str(icons.FONT))


Key = tuple[str, int, str]  # property, id of the object, name of its method


class Theme(EventDispatcher):
    """`night`: dark palette. `scale`: font scale, 0.85 to 2.0. `tr`: the translation function, new at each language."""

    night = BooleanProperty(False)
    scale = NumericProperty(1.0)
    tr = ObjectProperty(None)

    background = ColorProperty(LIGHT["background"])
    surface = ColorProperty(LIGHT["surface"])
    surface_2 = ColorProperty(LIGHT["surface_2"])
    ink = ColorProperty(LIGHT["ink"])
    ink_2 = ColorProperty(LIGHT["ink_2"])
    line = ColorProperty(LIGHT["line"])
    outline = ColorProperty(LIGHT["outline"])
    track = ColorProperty(LIGHT["track"])
    primary = ColorProperty(LIGHT["primary"])
    primary_ink = ColorProperty(LIGHT["primary_ink"])
    primary_soft = ColorProperty(LIGHT["primary_soft"])
    primary_soft_ink = ColorProperty(LIGHT["primary_soft_ink"])
    bar = ColorProperty(LIGHT["bar"])
    support = ColorProperty(LIGHT["support"])
    support_soft = ColorProperty(LIGHT["support_soft"])
    against = ColorProperty(LIGHT["against"])
    against_soft = ColorProperty(LIGHT["against_soft"])
    missing = ColorProperty(LIGHT["missing"])
    missing_soft = ColorProperty(LIGHT["missing_soft"])
    danger = ColorProperty(LIGHT["danger"])
    danger_ink = ColorProperty(LIGHT["danger_ink"])
    danger_soft = ColorProperty(LIGHT["danger_soft"])
    danger_soft_ink = ColorProperty(LIGHT["danger_soft_ink"])
    focus = ColorProperty(LIGHT["focus"])
    overlay = ColorProperty(LIGHT["overlay"])

    display = NumericProperty(28.0)
    title = NumericProperty(20.0)
    heading = NumericProperty(18.0)
    body = NumericProperty(16.0)
    label = NumericProperty(15.0)
    small = NumericProperty(14.0)
    tiny = NumericProperty(13.0)

    def __init__(self) -> None:
        self._held: dict[Key, Any] = {}  # methods that listen
        super().__init__()
        self._translate()
        translator.listen(self._translate)
        self.on_scale()

    def bind(self, **listeners: Callable[..., object]) -> None:
        """Bind; a method is kept weakly: the theme lives as long as the app and must not keep a screen alive."""
        for name, func in listeners.items():
            if not ismethod(func):
                super().bind(**{name: func})
            elif (key := _key(name, func)) not in self._held:
                held = WeakMethod(func, partial(self._gone, key))
                self._held[key] = super().fbind(name, _tell, partial(_call, held))

    def unbind(self, **listeners: Callable[..., object]) -> None:
        """The other way."""
        for name, func in listeners.items():
            if ismethod(func):
                self._gone(_key(name, func))
            else:
                super().unbind(**{name: func})

    def fbind(self, name: str, func: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Bind; a method is kept weakly, too."""
        if ismethod(func) and not args and not kwargs:
            self.bind(**{name: func})
            return 0
        return super().fbind(name, _tell, func, *args, **kwargs)

    def funbind(self, name: str, func: Callable[..., object], *args: object, **kwargs: object) -> None:
        """The other way."""
        if ismethod(func) and not args and not kwargs:
            self.unbind(**{name: func})
        else:
            super().funbind(name, _tell, func, *args, **kwargs)

    def _gone(self, key: Key, _reference: object = None) -> None:
        number = self._held.pop(key, None)
        if number is not None:
            self.unbind_uid(key[0], number)

    def on_night(self, *_: object) -> None:
        """Take the other palette."""
        for name, colour in (NIGHT if self.night else LIGHT).items():
            setattr(self, name, colour)

    def on_scale(self, *_: object) -> None:
        """Make the text sizes anew, in pixels. A scale out of bounds becomes the nearest one."""
        clamped = min(max(self.scale, SCALE_LEAST), SCALE_MOST)
        if clamped != self.scale:
            self.scale = clamped  # comes back here
            return
        for name, size in TYPE.items():
            setattr(self, name, sp(size) * self.scale)

    def _translate(self) -> None:
        # A new function each time, so that every `theme.tr(...)` in kv is evaluated again.
        self.tr = _translation()

    def size_of(self, kind: str, _after: object = None) -> float:
        """Pixels of a text size by its name. Kv gives `theme.tiny`, the last one set, to be asked again at a change."""
        return float(getattr(self, kind))

    def colour(self, tone: str, _after: object = None) -> list[float]:
        """A colour by its token. Kv gives `theme.overlay`, the last one set, to be asked again at a change."""
        return list(getattr(self, tone))

    def ground(self, tone: str, _after: object = None) -> list[float]:
        """Fill colour of a tone (tokens.TONES)."""
        return list(getattr(self, TONES[tone][0]))

    def words(self, tone: str, _after: object = None) -> list[float]:
        """Text colour of a tone."""
        return list(getattr(self, TONES[tone][1]))


def _key(name: str, func: Callable[..., object]) -> Key:
    return name, id(func.__self__), func.__name__  # type: ignore[attr-defined]


def _call(held: WeakMethod[Any], *args: object) -> None:
    func = held()
    if func is not None:
        func(*args)


def _tell(func: Callable[..., object], *args: object, **kwargs: object) -> None:
    """Call a listener. What is left of a screen that was taken apart asks for parts that are gone: it hears no more."""
    with contextlib.suppress(ReferenceError):
        func(*args, **kwargs)


def _translation() -> Callable[..., str]:
    def translate(key: str, **values: object) -> str:
        return tr(key, **values)

    return translate


def mix(one: list[float], other: list[float], share: float) -> list[float]:
    """`one` with `share` (0 to 1) of `other`: pressed and disabled colours."""
    return [a + (b - a) * share for a, b in zip(one, other, strict=True)]


theme = Theme()
