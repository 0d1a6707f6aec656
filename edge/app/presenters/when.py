"""Points in time as a person reads them on a list: local time, short, the day in words where it is near."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from edge.app.i18n import tr


def local(at: str, zone: tzinfo | None = None) -> datetime | None:
    """A UTC ISO 8601 string in local time (or in `zone`); None when it is none."""
    try:
        return datetime.fromisoformat(at).astimezone(zone)
    except ValueError:
        return None


def when_words(at: str, now: datetime, zone: tzinfo | None = None) -> str:
    """Today the time, yesterday that word and the time, before that the date and the time; '' for no time."""
    moment = local(at, zone)
    if moment is None:
        return ""
    today = now.astimezone(zone).date()
    clock = f"{moment:%H:%M}"
    if moment.date() == today:
        return clock
    if moment.date() == today - timedelta(days=1):
        return tr("worklist.yesterday", time=clock)
    return tr("worklist.on_day", year=f"{moment:%Y}", month=f"{moment:%m}", day=f"{moment:%d}", time=clock)
