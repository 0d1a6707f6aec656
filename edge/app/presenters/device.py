"""The device: models with their digests and device test, this session's speed, memory, heat, storage, the device test.

Rules
- The test needs the whole device: it is refused, with the reason, while a patient is open or an engine works.
- A result leaves only by a person's tap, into the folder that they choose; it holds no word of a patient.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.engine.messages import BENCHMARK
from edge.app.engine.state import status_key
from edge.app.i18n import tr, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.device_view import (
    BenchmarkCard,
    DeviceView,
    Fact,
    ModelCard,
    bundle_facts,
    heat_facts,
    heat_graph,
    memory_facts,
    read_result,
    result_facts,
    size,
    speed_facts,
)
from edge.app.presenters.errors import words as said
from edge.app.presenters.follow import follow
from edge.errors import EdgeError
from edge.files import write_atomic

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

# What a second start may mend.
RESTARTABLE = ("died", "low_memory", "missing", "failed")
BAD = ("missing", "mismatch", "untrusted", "unsupported", "died", "failed")
# The app's own disk numbers need not be read sixty times a second.
STORAGE_EVERY_S = 10.0


def disk_of(folder: Path) -> tuple[int, int]:
    """Free and all bytes of the disk that a folder lies on. Errors: OSError."""
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


class DevicePresenter(Presenter[DeviceView]):
    """See the module's docstring. disk: free and all bytes where patients' data lies; None: asks the disk."""

    def __init__(self, workspace: Workspace, disk: Callable[[], tuple[int, int]] | None = None) -> None:
        super().__init__(DeviceView())
        self.workspace = workspace
        folder = workspace.services.data_folder
        self._disk = disk or partial(disk_of, folder or Path.home())
        self._disk_at_s: float | None = None
        self._storage: tuple[int, int] | None = None
        self._task = ""
        self._asking = False
        self._message = ""
        self._exported: tuple[str, ...] = ()
        self._export_error = ""
        self._result: tuple[str, tuple[Fact, ...] | None] = ("", None)
        follow(workspace, self.update)
        self.update()

    # ---- what a finger does ---------------------------------------------------------------------------------

    def restart(self, task: str) -> None:
        """Start a task's engine again."""
        self._try(self.workspace.runs.restart, task)

    def ask_benchmark(self, task: str) -> None:
        """Ask whether the test shall run; does nothing while a reason stands against it."""
        self._task, self._export_error, self._exported = task, "", ()
        self._asking = not self._reason(task)
        self.refresh()

    def cancel_benchmark(self) -> None:
        """Leave it."""
        self._asking = False
        self.refresh()

    def run_benchmark(self) -> None:
        """Run it."""
        self._asking = False
        self._try(self.workspace.runs.start_benchmark, self._task)

    def stop_benchmark(self) -> None:
        """Stop it, in this frame."""
        self.workspace.runs.stop()
        self.update()

    def close_patient(self) -> None:
        """Save and close the open patient, so that the test can run."""
        self._try(self.workspace.close)

    def export_result(self, folder: Path) -> None:
        """Copy the last result into a folder that a person chose."""
        done = self.workspace.runs.benchmark
        self._exported, self._export_error = (), ""
        if done is None:
            return
        try:
            data = Path(done.path).read_bytes()
        except OSError:
            self._export_error = tr("device.export_failed", why=tr("device.result_unreadable"))
            self.refresh()
            return
        digest = hashlib.sha256(data).hexdigest()
        stamp = self.workspace.services.clock().strftime("%Y%m%d-%H%M%S")
        path = folder / f"edge-device-test-{stamp}.json"
        try:
            write_atomic(path, data)
        except EdgeError as error:
            self._export_error = tr("device.export_failed", why=said(error))
        else:
            self._exported = (tr("device.exported", name=str(path)), tr("device.sha256", digest=digest))
        self.refresh()

    # ---- the snapshot ---------------------------------------------------------------------------------------

    def update(self) -> None:
        """Take over what the desk holds now."""
        if self._asking and self._reason(self._task):
            self._asking = False
        self.refresh()

    def make_view(self) -> DeviceView:
        """See Presenter."""
        runs, readings = self.workspace.runs, tuple(self.workspace.readings)
        graph, hot, words = heat_graph(readings)
        return DeviceView(
            models=self._models(),
            speed=speed_facts(runs.figures),
            memory=memory_facts(readings[-1] if readings else None, runs.peak_rss_bytes),
            temperature=heat_facts(readings),
            graph=graph,
            hot=hot,
            graph_words=words,
            storage=self._storage_facts(),
            benchmark=self._benchmark(),
        )

    def _models(self) -> tuple[ModelCard, ...]:
        cards, seen = [], set()
        for task, client in self.workspace.services.engines.items():
            if id(client) in seen:
                continue
            seen.add(id(client))
            view = self.workspace.runs.view(task)
            key, values = status_key(view)
            tone = "danger" if view.status in BAD else "warning" if view.status == "low_memory" else ""
            cards.append(
                ModelCard(
                    task=task,
                    title=view.facts.model_words if view.facts else tr(f"device.task_{task}"),
                    facts=bundle_facts(view.facts) if view.facts else (),
                    status=tr(key, **values),
                    tone=tone or ("busy" if view.status in ("loading", "streaming") else ""),
                    restart=not view.alive and view.status in RESTARTABLE,
                )
            )
        return tuple(cards)

    def _storage_facts(self) -> tuple[Fact, ...]:
        now_s = self.workspace.services.monotonic()
        if self._disk_at_s is None or now_s - self._disk_at_s >= STORAGE_EVERY_S:
            self._disk_at_s = now_s
            try:
                self._storage = self._disk()
            except OSError:
                self._storage = None
        if self._storage is None:
            return (Fact(tr("device.storage_free"), tr("device.not_measured")),)
        free, total = self._storage
        tone, icon = ("warning", "alert") if free < total / 20 else ("", "")
        return (
            Fact(tr("device.storage_free"), size(free), tone, icon),
            Fact(tr("device.storage_total"), size(total)),
        )

    def _reason(self, task: str) -> str:
        """Why the test cannot run now, in words."""
        if not self.workspace.services.engines:
            return tr("device.no_models")
        if self.workspace.encounter is not None:
            return tr("device.refused_open")
        if self.workspace.streaming is not None:
            return tr("device.refused_busy")
        view = self.workspace.runs.view(task)
        if view.status in ("missing", "mismatch", "untrusted", "unsupported"):
            key, values = status_key(view)
            return tr("device.refused_state", why=tr(key, **values))
        return ""

    def _benchmark(self) -> BenchmarkCard:
        runs = self.workspace.runs
        task = self._task or next(iter(self.workspace.services.engines), "")
        streaming, done = self.workspace.streaming, runs.benchmark
        running = streaming is not None and streaming.task == BENCHMARK
        fraction = None
        if running and streaming is not None:
            fraction = streaming.done / streaming.total if streaming.total else 0.0
        facts = self._facts_of(done.path) if done is not None else ()
        return BenchmarkCard(
            task=task,
            reason=self._message or ("" if running else self._reason(task)),
            can_close_patient=self.workspace.encounter is not None,
            asking=self._asking,
            fraction=fraction,
            running_words=tr("device.benchmark_running", percent=round(100 * (fraction or 0.0))) if running else "",
            verdict="" if done is None else tr("device.passed" if done.passed else "device.not_passed"),
            passed=done is not None and done.passed,
            words=done.words if done is not None else "",
            facts=facts or (),
            can_export=done is not None and bool(done.path),
            exported=self._exported,
            export_error=self._export_error,
        )

    def _facts_of(self, path: str) -> tuple[Fact, ...] | None:
        """Figures of a result file, read once."""
        key = f"{translator.language}:{path}"
        if self._result[0] != key:
            result = read_result(Path(path))
            self._result = (key, result_facts(result) if result is not None else None)
        return self._result[1]

    def _try(self, function: Callable[..., object], *args: object) -> None:
        self._message = ""
        try:
            function(*args)
        except EdgeError as error:
            self._message = said(error)
        self.update()
