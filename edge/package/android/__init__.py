"""`edge package` for Android: a complete buildozer project that carries the app, its services and the bundle."""

from __future__ import annotations

from edge.package.android.project import AndroidOptions, write_project

__all__ = ["AndroidOptions", "write_project"]
