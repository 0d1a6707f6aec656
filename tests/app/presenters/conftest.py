"""Folders of the presenters' tests are in memory."""

from tests.app.quick import tmp_path  # noqa: F401  (a fixture)
