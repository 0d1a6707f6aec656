"""The page's web application: static files, a read-only JSON API, exports, the update repository, metrics.

    /                               the page (edge/fleet/page/static)
    /api/v1/overview                counts, releases, rollouts
    /api/v1/devices                 the list; text, profile, ring, target, verdict, flag, build choose, sort and order
                                    sort, offset and limit cut
    /api/v1/devices/DEVICE          one device with its history
    /api/v1/speeds                  distributions and changes between builds; old, new: digests
    /api/v1/rollouts[/ROLLOUT]      rollouts; one with every decision and its evidence
    /api/v1/quarantine              the newest messages that were not believed, without their content
    /export/NAME.csv, .json         devices, results, installs, decisions; device: only of this one
    /repo/PATH                      the update repository, with Range
    /metrics                        Prometheus text
Every answer is read from the database (never written), and no later than a few seconds ago.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edge.fleet.page import export, rollouts
from edge.fleet.page.cache import FleetCache, Reading
from edge.fleet.page.checks import check_lines, parsed
from edge.fleet.page.devices import FLAGS, SORTS, Filter, counts, ordered
from edge.fleet.page.guard import Guard
from edge.fleet.page.queries import Row, read_history, read_quarantine, read_rollout
from edge.fleet.page.repository import repository_file
from edge.fleet.page.speeds import changes
from edge.fleet.store.store import Store, time_text

STALE_DAYS, STALE_DAYS_MAX = 7, 365
LIST_ROWS, LIST_ROWS_MAX = 100, 1_000
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def make_app(
    store: Store,
    *,
    repository: Path | None = None,
    clock: Callable[[], datetime],
    metrics: Callable[[], bytes] | None = None,
) -> Starlette:
    """The application over an open store. repository: folder served below /repo/; clock: aware UTC; metrics: gives
    Prometheus text. It writes nothing, to no place.
    """
    page = _Page(store, clock)
    files = static_files()

    async def static(request: Request) -> Response:
        return _static(files, request.path_params.get("name", "index.html"), request)

    routes = [
        Route("/", static),
        Route("/static/{name}", static),
        Route("/api/v1/overview", page.overview),
        Route("/api/v1/devices", page.devices),
        Route("/api/v1/devices/{device:path}", page.device),
        Route("/api/v1/speeds", page.speeds),
        Route("/api/v1/rollouts", page.rollouts),
        Route("/api/v1/rollouts/{rollout:path}", page.rollout),
        Route("/api/v1/quarantine", page.quarantine),
        Route("/export/{name}.{kind}", page.export),
    ]
    if repository is not None:
        folder = repository

        async def repo(request: Request) -> Response:
            return await repository_file(folder, request)

        routes.append(Route("/repo/{path:path}", repo))
    if metrics is not None:
        told = metrics

        def metrics_text(request: Request) -> Response:
            return Response(told(), media_type="text/plain; version=0.0.4; charset=utf-8")

        routes.append(Route("/metrics", metrics_text))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard)],
        exception_handlers={SQLAlchemyError: _no_store, HTTPException: _http_error},
    )


class _Page:
    """The API's answers. Methods are plain functions: Starlette runs them in threads, as the database needs."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._fleet = store, FleetCache(store, clock)

    def _reading(self, request: Request) -> Reading:
        return self._fleet.reading(_whole(request, "stale_days", STALE_DAYS, 1, STALE_DAYS_MAX))

    def overview(self, request: Request) -> Response:
        """Counts by profile and ring, flags, releases, rollouts."""
        reading = self._reading(request)
        return _answer(
            reading,
            stale_days=_whole(request, "stale_days", STALE_DAYS, 1, STALE_DAYS_MAX),
            counts=counts(reading.views),
            results=sum(build["results"] for build in reading.rows.builds),
            releases=reading.rows.releases,
            rollouts=[rollouts.listed(one) for one in reading.rows.rollouts],
            targets=sorted({view.target or "-" for view in reading.views}),
        )

    def devices(self, request: Request) -> Response:
        """The list, filtered, sorted and cut."""
        reading, asked = self._reading(request), request.query_params
        names = ("text", "profile", "ring", "target", "verdict", "flag", "build")
        wanted = Filter(**{name: asked.get(name, "")[:200] for name in names})
        sort = asked.get("sort", "device")
        if sort not in SORTS or (wanted.flag and wanted.flag not in FLAGS):
            raise HTTPException(400, f"sort is one of {', '.join(SORTS)}; flag one of {', '.join(FLAGS)}")
        taken = [view for view in reading.views if wanted.takes(view)]
        shown = ordered(taken, sort, descending=asked.get("order") == "desc")
        offset = _whole(request, "offset", 0, 0, 10_000_000)
        limit = _whole(request, "limit", LIST_ROWS, 1, LIST_ROWS_MAX)
        cut = [asdict(view) for view in shown[offset : offset + limit]]
        return _answer(reading, total=len(taken), offset=offset, all=len(reading.views), devices=cut)

    def device(self, request: Request) -> Response:
        """One device: its line of the list, newest verdict, results, installs, messages, rollouts, reported state."""
        device = request.path_params["device"]
        reading = self._reading(request)
        view = next((one for one in reading.views if one.device == device), None)
        if view is None:
            raise HTTPException(404, "no such device")
        history = read_history(self._store, device)
        row = next(one for one in reading.rows.devices if one["device"] == device)
        newest = next((one for one in reading.rows.latest if one["device"] == device), None)
        names = {one["bundle_digest"]: one["release"] for one in reading.rows.releases}
        return _answer(
            reading,
            device=asdict(view)
            | {name: row[name] for name in ("key_fingerprint", "certificate_serial", "clock_wrong_at")},
            reported=parsed(row["reported"]),
            last_command=parsed(row["last_command"]),
            checks=[asdict(line) for line in check_lines(newest["checks"])] if newest else [],
            releases=names,
            results=[_with_checks(one) for one in history["results"]],
            installs=history["installs"],
            quarantine=history["quarantine"],
            rollouts=history["rollouts"],
            telemetry=[one | {"data": parsed(one["data"])} for one in history["telemetry"]],
        )

    def speeds(self, request: Request) -> Response:
        """Distributions by target and build, and what changed between two builds."""
        reading, asked = self._reading(request), request.query_params
        old, new = asked.get("old", ""), asked.get("new", "")
        found = changes(reading.rows, old, new) if old or new else reading.changes
        return _answer(reading, targets=reading.targets, changes=found)

    def rollouts(self, request: Request) -> Response:
        """Every rollout with its rings."""
        reading = self._reading(request)
        return _answer(reading, rollouts=[rollouts.listed(one) for one in reading.rows.rollouts])

    def rollout(self, request: Request) -> Response:
        """One rollout with its plan, devices and decisions."""
        reading = self._reading(request)
        found = read_rollout(self._store, request.path_params["rollout"])
        if found is None:
            raise HTTPException(404, "no such rollout")
        return _answer(reading, rollout=rollouts.detailed(found))

    def quarantine(self, request: Request) -> Response:
        """The newest messages that were not believed."""
        reading = self._reading(request)
        known = {view.device for view in reading.views}
        found = [row | {"enrolled": row["device"] in known} for row in read_quarantine(self._store)]
        return _answer(reading, quarantine=found)

    def export(self, request: Request) -> Response:
        """A table as a file."""
        name, kind = request.path_params["name"], request.path_params["kind"]
        if name not in export.NAMES or kind not in export.FORMATS:
            raise HTTPException(404, "exports are devices, results, installs, decisions as .csv or .json")
        reading = self._reading(request)
        columns, rows = export.export_rows(name, self._store, reading.views, request.query_params.get("device"))
        body = export.as_csv(columns, rows) if kind == "csv" else export.as_json(columns, rows)
        file = f"edge-fleet-{name}-{reading.at:%Y%m%d-%H%M%S}.{kind}"
        headers = {"content-disposition": f'attachment; filename="{file}"'}
        if request.method == "HEAD":
            return Response(media_type=export.FORMATS[kind], headers=headers)
        return StreamingResponse(body, media_type=export.FORMATS[kind], headers=headers)


def static_files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> content, media type, entity tag of each file of the page; read once, so nothing is looked up by path."""
    found = {}
    for item in resources.files("edge.fleet.page").joinpath("static").iterdir():
        kind = MEDIA_TYPES.get(Path(item.name).suffix)
        if kind is not None:
            data = item.read_bytes()
            found[item.name] = (data, kind, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
    return found


def _static(files: dict[str, tuple[bytes, str, str]], name: str, request: Request) -> Response:
    if name not in files:
        raise HTTPException(404, "no such page")
    data, kind, tag = files[name]
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


def _answer(reading: Reading, **parts: Any) -> Response:
    """JSON with the time of the reading; text is left as it is, the page inserts it as text."""
    body = {"at": time_text(reading.at), **parts}
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return Response(data, media_type="application/json")


def _with_checks(result: Row) -> Row:
    """A result with its checks counted, and those that failed by name."""
    lines = check_lines(result["checks"])
    failed = [line.title for line in lines if line.outcome == "failed"]
    limits = {line.name: line.limit for line in lines if line.limit is not None}
    return {name: value for name, value in result.items() if name != "checks"} | {"failed": failed, "limits": limits}


def _whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query. Errors: HTTPException."""
    text = request.query_params.get(name, "")
    if text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise HTTPException(400, f"{name} is a whole number from {least} to {most}")
    return int(text)


def _no_store(request: Request, error: Exception) -> Response:
    """The database does not answer: said in one line, without its words, which may name hosts and values."""
    return JSONResponse({"error": "the database does not answer; this page tries again"}, status_code=503)


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith(("/api/", "/export/")) and isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, status_code=status)
    return PlainTextResponse(f"{error.detail if isinstance(error, HTTPException) else 'error'}\n", status_code=status)
