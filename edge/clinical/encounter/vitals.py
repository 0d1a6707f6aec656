"""Vital signs of adults: units, steps of the buttons, and the ranges that colour them.

The ranges are for adults only and say nothing of a child; `grade` takes an age so that no adult range judges one.
Sources: NEWS2 (Royal College of Physicians, National Early Warning Score 2, 2017): a value is critical where NEWS2
gives 3 points and ordinary where it gives none; other sources are named with their value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

NEWS2 = "NEWS2, Royal College of Physicians 2017"
ADULT_FROM_YEARS = 16  # NEWS2 is for people from 16 years on


@dataclass(frozen=True)
class VitalSpec:
    """One vital sign.

    least, most: what can be entered. step, big_step: of a tap and of a long press. start: where the first tap begins.
    normal_low, normal_high: ordinary, both included. critical_low, critical_high: critical at or beyond; None: no such
    threshold. source: where the ranges come from.
    """

    name: str
    unit: str
    least: float
    most: float
    step: float
    big_step: float
    decimals: int
    start: float
    normal_low: float
    normal_high: float
    critical_low: float | None
    critical_high: float | None
    source: str

    def stepped(self, value: float | None, direction: int, big: bool = False) -> float:
        """One step up (1) or down (-1), kept inside what can be entered; the first tap gives `start`."""
        if value is None:
            return self.start
        moved = value + direction * (self.big_step if big else self.step)
        return round(min(self.most, max(self.least, moved)), self.decimals)

    @property
    def kept_decimals(self) -> int:
        """Of the number that is kept. Celsius keep one more than is shown: 99.4 F must not come back as 99.3."""
        return self.decimals + (self.name == "temperature_c")

    def text(self, value: float) -> str:
        """The number as it is written, without its unit."""
        return f"{value:.{self.decimals}f}"


_ROWS = (
    VitalSpec("heart_rate", "/min", 20, 250, 1, 10, 0, 80, 51, 90, 40, 131, NEWS2),
    VitalSpec("spo2", "%", 50, 100, 1, 5, 0, 98, 96, 100, 91, None, f"{NEWS2}, scale 1"),
    VitalSpec(
        "bp_systolic",
        "mmHg",
        50,
        280,
        1,
        10,
        0,
        120,
        111,
        139,
        90,
        220,
        f"{NEWS2}; hypertension from 140 mmHg: ESH guideline 2023",
    ),
    VitalSpec(
        "bp_diastolic",
        "mmHg",
        20,
        180,
        1,
        10,
        0,
        80,
        60,
        89,
        None,
        120,
        "hypertension from 90 mmHg: ESH guideline 2023; crisis at 120 mmHg: ACC/AHA guideline 2017",
    ),
    VitalSpec(
        "temperature_c",
        "°C",
        30,
        45,
        0.1,
        1,
        1,
        37.0,
        36.1,
        38.0,
        35.0,
        40.0,
        f"{NEWS2}; heat stroke from 40 °C: Epstein and Yanovich, N Engl J Med 2019;380:2449",
    ),
    VitalSpec("respiratory_rate", "/min", 4, 80, 1, 5, 0, 16, 12, 20, 8, 25, NEWS2),
    VitalSpec("pain", "/10", 0, 10, 1, 2, 0, 0, 0, 4, None, 7, "severe from 7: Serlin et al., Pain 1995;61:277"),
    VitalSpec(
        "glucose",
        "mg/dL",
        15,
        1500,
        1,
        10,
        0,
        100,
        70,
        139,
        53,
        250,
        "below 70 and below 54 mg/dL: ADA Standards of Care; from 250 mg/dL: Kitabchi, Diabetes Care 2009;32:1335",
    ),
)
VITALS: Mapping[str, VitalSpec] = MappingProxyType({spec.name: spec for spec in _ROWS})


def grade(name: str, value: float, age_years: int | None = None) -> str:
    """'normal', 'low', 'high' or 'critical' for an adult; 'normal' for a known child, whom these ranges do not judge.

    Raises KeyError for a name that is not in VITALS.
    """
    spec = VITALS[name]
    if age_years is not None and age_years < ADULT_FROM_YEARS:
        return "normal"
    if spec.critical_low is not None and value <= spec.critical_low:
        return "critical"
    if spec.critical_high is not None and value >= spec.critical_high:
        return "critical"
    if value < spec.normal_low:
        return "low"
    return "high" if value > spec.normal_high else "normal"
