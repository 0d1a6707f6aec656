"""Visual acuity: Snellen 20/x and 6/x, decimal, logMAR, and what is below any chart (CF, HM, LP, NLP).

logMAR is minus the base 10 logarithm of the decimal acuity; one letter of a chart line counts 0.02 (ETDRS). Counting
fingers and less have no logMAR here: numbers for them are conventions of studies, not measurements.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edge.errors import InputError

BELOW_CHART = ("CF", "HM", "LP", "NLP")
LETTER_LOGMAR = 0.02
BEST_LOGMAR, WORST_LOGMAR = -0.6, 3.0
# From worst to best, as a stepper goes through them: usual lines of a 20-foot chart.
STEPS = (
    *("NLP", "LP", "HM", "CF", "20/800", "20/400", "20/200", "20/150", "20/125", "20/100", "20/80", "20/70", "20/60"),
    *("20/50", "20/40", "20/30", "20/25", "20/20", "20/15", "20/10"),
)
NOTATIONS = ("snellen20", "snellen6", "decimal", "logmar")
_BELOW = {
    "CF": r"cf|fc|count(?:ing)? fingers|finger count(?:ing)?|fz",
    "HM": r"hm|hand (?:motions?|movements?)|hbw",
    "NLP": r"nlp|no light perception|nl|nulla lux",
    "LP": r"lp|light perception|ls",
}
_BELOW_PATTERNS = tuple((name, re.compile(rf"(?:{words})(?:\W.*)?", re.IGNORECASE)) for name, words in _BELOW.items())
_FRACTION = re.compile(r"(?P<above>\d{1,2}(?:[.,]\d)?)\s*/\s*(?P<below>\d{1,4}(?:[.,]\d)?)\s*(?P<letters>[+-]\s*\d)?")
_LOGMAR = re.compile(r"(?:logmar\s*(?P<behind>[+-]?\d[.,]?\d{0,3})|(?P<before>[+-]?\d[.,]?\d{0,3})\s*logmar)", re.I)
_DECIMAL = re.compile(r"\d?[.,]\d{1,3}|[12]")


@dataclass(frozen=True)
class Acuity:
    """text: as it is written down. logmar: None for CF and below. below_chart: CF, HM, LP, NLP or ''."""

    text: str
    logmar: float | None
    below_chart: str = ""


def parse_va(text: str) -> Acuity:
    """Read an acuity: 20/40, 20/40-2, 6/12, 0.5 (decimal), logMAR 0.3, CF, HM, LP, NLP.

    Errors: InputError for anything else and for what no chart shows.
    """
    words = " ".join(text.split())
    for name, pattern in _BELOW_PATTERNS:
        if pattern.fullmatch(words):
            rest = re.sub(r"^[A-Za-z ]+", "", words)  # "CF 1 m": how far away stays
            return Acuity(f"{name} {rest}".strip(), None, name)
    if match := _FRACTION.fullmatch(words):
        above, below = _float(match["above"]), _float(match["below"])
        if above > 0 and below > 0:
            letters = int(match["letters"].replace(" ", "")) if match["letters"] else 0
            return _acuity(
                re.sub(r"\s", "", words).replace(",", "."), math.log10(below / above) - letters * LETTER_LOGMAR
            )
    elif match := _LOGMAR.fullmatch(words):
        value = _float(match["behind"] or match["before"])
        return _acuity(f"logMAR {value:.2f}", value)
    elif _DECIMAL.fullmatch(words) and _float(words) > 0:
        return _acuity(words.replace(",", "."), -math.log10(_float(words)))
    raise InputError("this is no visual acuity", mend="write 20/40, 6/12, 0.5, logMAR 0.3, CF, HM, LP or NLP")


def from_logmar(logmar: float, notation: str = "snellen20") -> str:
    """A logMAR value in a notation of NOTATIONS. Errors: InputError for another notation or an impossible value."""
    _acuity("", logmar)
    if notation == "snellen20":
        return f"20/{max(1, round(20 * 10**logmar))}"
    if notation == "snellen6":
        return f"6/{_short(6 * 10**logmar)}"
    if notation == "decimal":
        decimal = 10**-logmar
        return f"{decimal:.2f}" if decimal >= 0.1 else f"{decimal:.3f}"
    if notation == "logmar":
        return f"{logmar + 0.0:.2f}"
    raise InputError("not a notation of visual acuity", mend=f"use one of: {', '.join(NOTATIONS)}")


def show_va(text: str, logmar: float | None, notation: str) -> str:
    """An acuity of an encounter in a notation; what is below any chart, and '', stay as they are.

    So does what was written in that notation: 20/40-2 is no 20/44 to who measured it.
    """
    if logmar is None or not text or _WRITTEN_IN[notation].match(text):
        return text
    return from_logmar(logmar, notation)


_WRITTEN_IN = {
    "snellen20": re.compile(r"20/"),
    "snellen6": re.compile(r"6/"),
    "decimal": re.compile(r"\d[.,]\d|\d$"),
    "logmar": re.compile(r"(?!)"),  # is shown as a bare number
}


def step_va(text: str, direction: int) -> str:
    """The next better (1) or worse (-1) line of STEPS; from nothing the first tap gives 20/20."""
    if not text:
        return "20/20"
    now = parse_va(text)
    rank = BELOW_CHART[::-1].index(now.below_chart) if now.below_chart else _rank(now.logmar or 0.0, direction)
    return STEPS[min(len(STEPS) - 1, max(0, rank + direction))]


def _rank(logmar: float, direction: int) -> int:
    """Place among STEPS of the nearest line that a step in `direction` does not skip."""
    lines = [(index, parse_va(step).logmar or 0.0) for index, step in enumerate(STEPS) if step not in BELOW_CHART]
    if direction > 0:
        return max((index for index, line in lines if line >= logmar - 1e-6), default=lines[0][0] - 1)
    return min((index for index, line in lines if line <= logmar + 1e-6), default=lines[-1][0] + 1)


def _acuity(text: str, logmar: float) -> Acuity:
    # Four decimals: enough that every whole denominator to 20/2000 comes back from its logMAR.
    value = round(logmar, 4) + 0.0
    if not BEST_LOGMAR <= value <= WORST_LOGMAR:
        raise InputError("no chart shows this visual acuity", mend="check the numbers, or write CF, HM, LP or NLP")
    return Acuity(text, value)


def _float(text: str) -> float:
    return float(text.replace(",", "."))


def _short(value: float) -> str:
    """Without decimals from 10 on, else with one where it is not zero."""
    rounded = round(value) if value >= 10 else round(value, 1)
    return f"{rounded:g}"
