"""The Jetson's `tegrastats`, where /sys does not show the power rails: a line parser and a reader process."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.device.sensors.base import Absent, Host, Reading, Sensor, celsius, number, watts
from edge.device.sensors.commands import KILL_S, REST_S
from edge.device.sensors.jetson import module_power, rail_readings

PROGRAM = "tegrastats"
INTERVAL_MS = 1000
FIRST_LINE_S = 3.0
# A line older than this says nothing of now.
STALE_S = 3.0
MOST_LINE_BYTES = 1 << 16

_RAM = re.compile(r"\bRAM (\d{1,9})/(\d{1,9})MB\b", re.ASCII)
_CPUS = re.compile(r"\bCPU \[([^\]]{1,2000})\]", re.ASCII)
_CPU = re.compile(r"(\d{1,3})%@(\d{1,6})", re.ASCII)
_GPU = re.compile(r"\bGR3D_FREQ (\d{1,3})%", re.ASCII)
_ZONE = re.compile(r"(?<!\S)([A-Za-z]\w{0,30})@(-?\d{1,4}(?:\.\d{1,6})?)C(?!\S)", re.ASCII)
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]{1,40}) (\d{1,7})(?:mW)?/(\d{1,7})(?:mW)?(?!\S)", re.ASCII)


@dataclass(frozen=True)
class Tegrastats:
    """One line. cpus: load in % and clock in MHz of each processor, None where it is off. zones_celsius: by name.
    rails_w: power now (the line's second number is an average since the program began). Memory in bytes, 0: not told.
    """

    ram_used_bytes: int = 0
    ram_total_bytes: int = 0
    cpus: tuple[tuple[int, int] | None, ...] = ()
    gpu_percent: int | None = None
    zones_celsius: dict[str, float] = field(default_factory=dict)
    rails_w: dict[str, float] = field(default_factory=dict)

    def readings(self) -> tuple[Reading, ...]:
        """The module's power, the rails and the zones."""
        zones = tuple(Reading(f"tegrastats.{name}", "degC", value) for name, value in self.zones_celsius.items())
        return (*rail_readings(self.rails_w), *zones)


def parse_line(line: str) -> Tegrastats | None:
    """A line of tegrastats; None when it holds neither memory nor a rail nor a zone."""
    line = line[:MOST_LINE_BYTES]
    ram, cpus, gpu = _RAM.search(line), _CPUS.search(line), _GPU.search(line)
    zones = {match[1]: value for match in _ZONE.finditer(line) if (value := number(match[2])) is not None}
    rails = {match[1]: int(match[2]) / 1e3 for match in _RAIL.finditer(line)}
    found = Tegrastats(
        ram_used_bytes=int(ram[1]) << 20 if ram else 0,
        ram_total_bytes=int(ram[2]) << 20 if ram else 0,
        cpus=tuple(
            (int(match[1]), int(match[2])) if (match := _CPU.fullmatch(part.strip())) else None
            for part in (cpus[1].split(",") if cpus else ())
        ),
        gpu_percent=int(gpu[1]) if gpu else None,
        zones_celsius={name: value for name, value in zones.items() if celsius(value)},
        rails_w={name: value for name, value in rails.items() if watts(value)},
    )
    return found if ram or found.rails_w or found.zones_celsius else None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_S)


class LineProcess:
    """A program that writes a line now and then; the newest line counts. It ends with `close`, or with this process.

    Errors: OSError when it cannot be started.
    """

    def __init__(self, argv: Sequence[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._newest: tuple[str, float] | None = None
        self._came = threading.Event()
        self._process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._finalizer = weakref.finalize(self, _end, self._process)
        # The thread holds no reference to self by method, so that a forgotten reader is still collected.
        reference = weakref.ref(self)
        self._thread = threading.Thread(target=_pump, args=(self._process, reference), name="edge-lines", daemon=True)
        self._thread.start()

    def take(self, line: bytes) -> None:
        """Keep a line as the newest; an empty one says that there is no more."""
        if line:
            self._newest = (line.decode("utf-8", errors="replace"), self._clock())
        self._came.set()

    def first(self, timeout_s: float) -> str | None:
        """The newest line, waited for; None when none came in time."""
        self._came.wait(timeout_s)
        return self._newest[0] if self._newest else None

    def newest(self) -> tuple[str, float] | None:
        """The newest line and when it came; None before the first."""
        return self._newest

    def alive(self) -> bool:
        """Whether the program runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the program."""
        self._finalizer()
        self._thread.join(STALE_S)
        if self._process.stdout is not None:
            with contextlib.suppress(OSError):
                self._process.stdout.close()


def _pump(process: subprocess.Popen[bytes], reference: weakref.ref[LineProcess]) -> None:
    while process.stdout is not None:
        try:
            line = process.stdout.readline(MOST_LINE_BYTES)
        except (OSError, ValueError):
            return
        owner = reference()
        if owner is None:
            return
        owner.take(line)
        if not line:
            return
        del owner  # while it waits for a line, the thread must not keep it alive


class TegrastatsSensor:
    """Each line once. A program that ended is started again after REST_S; `close` ends it."""

    def __init__(self, argv: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._argv, self._clock = tuple(argv), clock
        self._process: LineProcess | None = LineProcess(self._argv, clock)
        self._taken_s: float | None = None
        self._not_before_s = 0.0

    def first(self, timeout_s: float = FIRST_LINE_S) -> Tegrastats | None:
        """The first line, waited for."""
        line = self._process.first(timeout_s) if self._process else None
        return parse_line(line) if line is not None else None

    def read(self) -> tuple[Reading, ...]:
        process = self._running()
        newest = process.newest() if process else None
        if newest is None or newest[1] == self._taken_s or self._clock() - newest[1] > STALE_S:
            return ()
        self._taken_s = newest[1]
        parsed = parse_line(newest[0])
        return parsed.readings() if parsed else ()

    def _running(self) -> LineProcess | None:
        if self._process is not None and not self._process.alive():
            self._process.close()
            self._process, self._not_before_s = None, self._clock() + REST_S
        elif self._process is None and self._clock() >= self._not_before_s:
            try:
                self._process = LineProcess(self._argv, self._clock)
            except OSError:
                self._not_before_s = self._clock() + REST_S
        return self._process

    def close(self) -> None:
        """End the program; the sensor gives nothing more until it is asked again after REST_S."""
        if self._process is not None:
            self._process.close()
            self._process, self._not_before_s = None, self._clock() + REST_S


def open_tegrastats(host: Host) -> Sensor | Absent:
    """Absent where the program is not installed or its lines hold no module power."""
    program = host.program(PROGRAM)
    if program is None:
        return Absent("no tegrastats")
    try:
        sensor = TegrastatsSensor((program, "--interval", str(INTERVAL_MS)))
    except OSError:
        return Absent("tegrastats cannot be started", denied=True)
    line = sensor.first()
    if line is not None and module_power(line.rails_w) is not None:
        return sensor
    sensor.close()
    return Absent("tegrastats shows no power", denied=True)
