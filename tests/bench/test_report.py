"""The report: whole, offline, honest, and drawn from any result."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bench_dummies import make_result
from hypothesis import given
from hypothesis import strategies as st

from edge.bench import charts
from edge.bench.gates import check_all
from edge.bench.report import all_charts, render_report, write_report
from edge.bench.result import BenchResult, SensorSeries
from edge.bench.svg import nice_step, tick_text, tick_values
from edge.bench.words import headline, remarks

BUDGETS: dict[str, Any] = {
    "peak_rss_bytes_max": 420_000_000,
    "ttft_ms_max": {"prompt_tokens": 512, "ms": 3000},
    "decode_tokens_per_s_min": 30,
    "sustained": {"seconds": 600, "floor_ratio_min": 0.7},
    "disk_bytes_max": None,
}
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Balance(HTMLParser):
    """Checks that every element is closed, and collects attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parse(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def bare() -> BenchResult:
    """What a run without sensors, golden cases, long phases or kernel figures gives."""
    result = make_result(prefill=(), decode=(), sustained=None, prediction=None, bandwidth=None, golden=None)
    memory = replace(result.memory, series_times_s=(), series_rss_bytes=(), peak_pss_bytes=None, phases_s={})
    environment = replace(result.environment, load_average_before=None, versions={}, sensors={})
    return replace(result, memory=memory, environment=environment)


def test_it_says_the_verdict_and_the_figures(tmp_path: Path) -> None:
    """If it fails, the page looks fine and leaves out why a bundle failed."""
    result = make_result()
    checks = check_all(BUDGETS | {"decode_tokens_per_s_min": 99}, result)
    write_report(tmp_path / "r.html", result, checks, budgets=BUDGETS)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    text = " ".join(" ".join(parse(html).words).split())
    for words in ("Failed", "41.2 tok/s", "at least 99 tok/s", "298.0 MB", "no sensor", "a" * 64, "b" * 64):
        assert words in text
    assert result.sha256() in text


def test_nothing_is_loaded_from_anywhere() -> None:
    """If it fails, opening a report tells a server that it was opened, or it is blank offline."""
    html = render_report(make_result(), check_all(BUDGETS, make_result()), budgets=BUDGETS)
    page = parse(html)
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not {"src", "href", "action", "srcset"} & {name for name, _ in page.attributes}
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html


def test_light_dark_and_print() -> None:
    """If it fails, a variable of one scheme is missing in another and its text vanishes."""
    html = render_report(make_result())
    assert html.count("prefers-color-scheme: dark") == 1
    schemes = [set(re.findall(r"(--[a-z0-9]+):", block)) for block in re.findall(r":root \{([^}]*)\}", html)]
    assert len(schemes) == 3
    assert schemes[0] == schemes[1] == schemes[2]
    assert set(re.findall(r"var\((--[a-z0-9]+)\)", html)) <= schemes[0]


def test_a_bare_result_is_still_a_page() -> None:
    """If it fails, the device with the least to tell gets no report."""
    text = " ".join(parse(render_report(bare())).words)
    assert "Verdict" not in text
    assert "not told" in text
    assert all_charts(bare(), {}) == []


def test_names_are_escaped() -> None:
    """If it fails, the name of a board or profile can put markup into the page."""
    result = make_result()
    device = result.environment.device | {"board": "<b>Board & Co</b>"}
    bundle = replace(result.bundle, profile="<script>x</script>")
    zone = SensorSeries("thermal.<i>z</i>", "degC", (0.0, 1.0), (40.0, 41.0))
    odd = replace(
        result,
        environment=replace(result.environment, device=device),
        bundle=bundle,
        sensor_series=(zone,),
        skipped=("<u>left</u>",),
    )
    html = render_report(odd)
    for tag in ("<b>Board", "<script", "<i>z", "<u>"):
        assert tag not in html
    assert "&lt;b&gt;Board &amp; Co" in html


@pytest.mark.parametrize("budgets", [{}, BUDGETS])
def test_charts_are_sound_svg(budgets: dict[str, Any]) -> None:
    """If it fails, a browser shows a broken picture, or numbers that are none."""
    zone = SensorSeries("thermal.cpu", "degC", (0.0, 1.0), (40.0, 81.5))
    result = make_result(sensor_series=(zone,))
    drawn = all_charts(result, budgets)
    assert len(drawn) == 7
    for chart in drawn:
        root = ElementTree.fromstring(chart.svg)  # noqa: S314  # our own output
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "nan" not in chart.svg
        assert "inf" not in chart.svg
        _, _, width, height = (float(part) for part in str(root.get("viewBox")).split())
        for rect in root.iter("rect"):
            assert -1 <= float(rect.get("x", "")) <= width
            assert -1 <= float(rect.get("y", "")) <= height


def test_budgets_are_drawn() -> None:
    """If it fails, a chart hides how near the limit is."""
    result = make_result()
    assert "at most 420.0 MB" in str(charts.memory_chart(result, BUDGETS))
    assert "at most 3,000 ms" in str(charts.ttft_chart(result, BUDGETS))
    assert "needs 70%" in str(charts.sustained_chart(result, BUDGETS))
    far = {"peak_rss_bytes_max": 9_000_000_000}
    assert "at most" not in str(charts.memory_chart(result, far))


@given(st.floats(1e-6, 1e12))
def test_ticks_reach_the_top_with_few_lines(high: float) -> None:
    """If it fails, a plot has no grid or a thousand lines, or its peak is cut off."""
    ticks = tick_values(high, 4)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] >= high * 0.999
    assert all(tick_text(tick) for tick in ticks)


def test_odd_spans_have_a_step() -> None:
    """If it fails, a plot of zeros divides by zero."""
    assert nice_step(0) == nice_step(float("nan")) == nice_step(-5) == 1.0


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=80))
def test_histogram_counts_every_step(steps: list[float]) -> None:
    """If it fails, outliers vanish from the histogram."""
    assert sum(charts.bins_of(steps, 1.0, 100.0)) == len(steps)
    assert sum(charts.bins_of(steps, 5.0, 5.0)) == len(steps)


def test_remarks_warn_of_a_busy_device() -> None:
    """If it fails, speeds of a busy or throttled device are shown as its own."""
    result = make_result()
    assert not any("busy" in remark for remark in remarks(result))
    environment = replace(result.environment, load_average_before=(9.0, 9.0, 9.0), governor="powersave")
    told = " ".join(remarks(replace(result, environment=environment, skipped=("prompt of 2048 tokens",))))
    assert "busy" in told
    assert "powersave" in told
    assert "2048" in told


def test_headline_with_and_without_sensors() -> None:
    """If it fails, a missing sensor shows as a figure, or a present one does not."""
    result = make_result()
    plain = {name: value for name, value, _ in headline(result)}
    assert plain["Energy"] == plain["Temperature"] == "no sensor"
    energy = replace(result.energy, j_per_token=0.38, joules=266.0, source="rapl.package-0")
    heat = replace(result.temperature, start_celsius=40.0, highest_celsius=81.0, source="thermal.cpu")
    full = {name: value for name, value, _ in headline(replace(result, energy=energy, temperature=heat))}
    assert full["Energy"] == "0.38 J"
    assert full["Temperature"] == "81 °C"
