"""The fixture `ui`: a driver over one window a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.quick import collect_less, tmp_path  # noqa: F401  (a fixture)
from tests.app.ui.driver import Driver, prepare, shared

prepare()  # test modules import Kivy at their top


@pytest.fixture(scope="session", autouse=True)
def _collect_less() -> None:
    shared()
    collect_less()


@pytest.fixture()
def ui() -> Iterator[Driver]:
    """Mounts widgets without a screen; takes them off again."""
    driver = shared()
    yield driver
    driver.clear()
    driver.theme.night, driver.theme.scale = False, 1.0
    from edge.app.i18n import translator

    translator.language = "en"
