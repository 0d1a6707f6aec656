"""The page in a real Chromium. When these fail, an engineer cannot read, reach or trust it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete, insert, update

from benchmarks.synthetic_fleet import NOW, PI_OLD
from edge.fleet.page.server import make_app
from edge.fleet.store import tables
from edge.fleet.store.store import Store, time_text
from tests.fleet.page.conftest import serving
from tests.fleet.page.test_devices import HOUR, Desk

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
]
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
SHOWN_MS = 15_000


@dataclass
class Tab:
    """A page that is watched: what it asks for and what it complains about."""

    page: Any
    base: str
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Go there and wait until it is drawn."""
        before = self.page.get_attribute("#main", "data-shown") if self.page.url.startswith(self.base) else None
        self.page.goto(f"{self.base}/{address}")
        wanted = "#main[data-shown]" if before is None else f'#main[data-shown]:not([data-shown="{before}"])'
        self.page.wait_for_selector(wanted, state="attached", timeout=SHOWN_MS)

    def after(self, act: Callable[[], Any]) -> None:
        """Do something that draws anew, and wait for it."""
        before = self.page.get_attribute("#main", "data-shown")
        act()
        selector = f'#main[data-shown]:not([data-shown="{before}"])'
        self.page.wait_for_selector(selector, state="attached", timeout=SHOWN_MS)

    def focused(self) -> str:
        """Tag and words of what has the focus."""
        script = "[document.activeElement.tagName, document.activeElement.textContent.trim().slice(0, 40)].join(' ')"
        return str(self.page.evaluate(script))

    def check(self) -> None:
        """Nothing left the host, nothing went wrong."""
        host = urlsplit(self.base).netloc
        assert {urlsplit(url).netloc for url in self.asked} == {host}
        assert self.said == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a display. No name but the loopback's resolves in it."""
    from playwright.sync_api import sync_playwright

    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        yield found
        found.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens watched tabs; each is checked at the end."""
    opened: list[tuple[Tab, bool, Any]] = []

    def make(base: str, *, quiet: bool = True, **options: Any) -> Tab:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        watched = Tab(context.new_page(), base)
        watched.page.on("request", lambda request: watched.asked.append(request.url))
        watched.page.on("pageerror", lambda error: watched.said.append(str(error)))
        watched.page.on("console", lambda line: line.type in ("error", "warning") and watched.said.append(line.text))
        opened.append((watched, quiet, context))
        return watched

    yield make
    for watched, quiet, context in opened:
        context.close()
        if quiet:
            watched.check()


VIEWS = (
    "#/", "#/devices", "#/devices?flag=failing", "#/devices/east-01", "#/builds", "#/rollouts",
    "#/rollouts/notes-pi5-1.1.0", "#/quarantine", "#/nothing", "#/devices/nobody",
)  # fmt: skip


@pytest.mark.parametrize(("size", "scheme"), [((1280, 800), "light"), ((390, 844), "dark")], ids=["desk", "phone"])
def test_every_view(tab: Callable[..., Tab], fleet_page: str, size: tuple[int, int], scheme: str) -> None:
    """Fails when a view throws, breaks the policy, asks another host, or is wider than the screen."""
    missing = {"#/nothing", "#/devices/nobody"}
    watched = tab(fleet_page, quiet=False, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    for address in VIEWS:
        watched.said.clear()
        watched.open(address)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= size[0], address
        assert watched.page.locator("h1").count() == 1
        # A browser notes each answer of 404 by itself.
        assert [text for text in watched.said if "404" not in text or address not in missing] == [], address
    assert {urlsplit(url).netloc for url in watched.asked} == {urlsplit(fleet_page).netloc}


def test_overview_leads_to_what_it_counts(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when a number and the list behind it differ."""
    watched = tab(fleet_page)
    watched.open("#/")
    tile = watched.page.locator(".tile", has_text="stale")
    number = int(tile.locator("b").inner_text())
    watched.after(tile.click)
    assert number > 0 and watched.page.locator("tbody tr").count() == number
    assert "flag=stale" in watched.page.url and watched.page.title() == "Devices · edge fleet"
    assert watched.page.locator("tbody tr").first.get_by_text("stale").count() == 1


def test_filters_and_sorting_live_in_the_address(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when a list cannot be sent to a colleague, or a header does not say how it is sorted."""
    watched = tab(fleet_page)
    watched.open("#/devices")
    page = watched.page
    watched.after(lambda: page.get_by_label("Ring").select_option("canary"))
    watched.after(lambda: page.get_by_role("button", name="Decode").click())
    head = page.get_by_role("columnheader", name="Decode")
    assert head.get_attribute("aria-sort") == "ascending"
    watched.after(lambda: page.get_by_role("button", name="Decode").click())
    assert head.get_attribute("aria-sort") == "descending"
    assert "BUTTON Decode" in watched.focused(), "focus stays where the hand is"
    first = page.locator("tbody th").first.inner_text()
    other = tab(fleet_page)
    other.open(page.url.split("/", 3)[3])
    assert other.page.locator("tbody th").first.inner_text() == first
    watched.after(lambda: page.get_by_label("Name has").fill("hill"))
    assert "INPUT" in watched.focused() and page.get_by_label("Name has").input_value() == "hill"
    assert all(name.startswith("hill") for name in page.locator("tbody th").all_inner_texts())
    watched.after(page.get_by_role("button", name="Clear").click)
    assert page.locator("#shown").inner_text() == "50 devices"


def test_keyboard_alone(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when somebody without a mouse cannot get to a device, or loses the place."""
    watched = tab(fleet_page)
    watched.open("#/devices")
    page = watched.page
    page.keyboard.press("Tab")
    assert watched.focused() == "A Skip to the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert watched.focused().startswith("MAIN") and "#/devices" in page.url
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(watched.focused())
        outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outlined != "none", f"{seen[-1]} has no visible focus"
        if seen[-1] == "A east-01":
            break
    assert seen[-1] == "A east-01" and any(one.startswith("SELECT") for one in seen)
    assert any(one.startswith("DIV") for one in seen), "the table's frame scrolls with the keyboard"
    watched.after(lambda: page.keyboard.press("Enter"))
    assert watched.focused() == "H1 east-01", "reading begins at the new heading"


ACCESS = """() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const wrong = [];
  const must = (held, what) => held || wrong.push(what);
  for (const t of all('table')) {
    must(t.caption?.textContent && all('th[scope="col"]', t).length > 1, 'table without caption or heads');
    must(all('tbody tr', t).every((r) => r.querySelector('th[scope="row"]')), 'row without a head');
  }
  for (const p of all('svg')) {
    if (p.getAttribute('role') === 'img') must(p.getAttribute('aria-label')?.length > 10, 'picture without words');
    else must(p.getAttribute('aria-hidden') === 'true', 'svg that is neither picture nor ornament');
  }
  for (const b of all('.badge, .status')) must(b.innerText.trim() && b.querySelector('svg'), 'sign of colour alone');
  for (const e of all('a,button,select,input')) {
    const named = e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length;
    must(named || e.closest('svg'), 'nameless control');
  }
  const levels = all('h1,h2,h3').map((h) => Number(h.tagName[1]));
  must(levels[0] === 1 && levels.every((l, i) => i === 0 || l - levels[i - 1] <= 1), `headings ${levels}`);
  must(all('nav a[aria-current="page"]').length === 1, 'no current view');
  return wrong;
}"""


def test_screen_reader_finds_landmarks_tables_and_pictures(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when a region, a table or a chart has no name, or a sign is colour alone."""
    watched = tab(fleet_page)
    for address in ("#/", "#/devices", "#/devices/east-01", "#/rollouts/notes-pi5-1.1.0", "#/builds"):
        watched.open(address)
        assert watched.page.evaluate(ACCESS) == [], address
    for role, name in (("banner", None), ("main", None), ("navigation", "Views"), ("status", None)):
        assert watched.page.get_by_role(role, name=name).count() == 1


CONTRAST = """() => {
  const light = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.data?.trim()) || e.closest('option,title,.unseen')) continue;
    const style = getComputedStyle(e);
    const color = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(color), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${e.tagName}.${e.getAttribute('class')} ${e.textContent}`);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(tab: Callable[..., Tab], fleet_page: str, scheme: str) -> None:
    """Fails when a text has less contrast than 4.5 to 1 (WCAG AA)."""
    watched = tab(fleet_page, color_scheme=scheme)
    for address in ("#/", "#/devices", "#/devices/east-01", "#/rollouts/notes-pi5-1.1.0"):
        watched.open(address)
        assert watched.page.evaluate(CONTRAST) == []


def test_rollout_shows_each_decision_with_its_evidence(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when a person cannot see why a rollout stopped."""
    watched = tab(fleet_page)
    watched.open("#/rollouts/notes-pi5-1.1.0")
    page = watched.page
    first = page.locator(".decisions > li").first
    text = first.inner_text()
    assert "stopped" in text and "too many devices failed" in text and "allowed" in text and "set back" in text
    first.locator("summary").click()
    assert first.get_by_text("failed messages").count() == 1
    device = first.locator(".messages a").first
    name = device.inner_text()
    watched.after(device.click)
    assert page.locator("h1").inner_text() == name


def test_device_history_and_both_kinds_of_time(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when a device's lines, budget or moments are missing."""
    watched = tab(fleet_page)
    watched.open("#/devices/east-01")
    page = watched.page
    assert page.locator(".lines svg").count() == 4 and page.locator(".lines text.limit").count() >= 3
    assert page.locator("text.switch", has_text="notes-pi5-1.0.0").count() >= 1
    cell = page.get_by_role("region", name="Results of this device").locator("tbody th").first.inner_text()
    assert cell.startswith("2026-11-2") and "UTC" in cell and "ago)" in cell
    watched.open("#/devices")
    seen = page.locator("time").first
    assert "ago" in seen.inner_text() and seen.get_attribute("title").endswith("UTC")
    page.get_by_role("button", name="UTC").click()
    assert page.locator("time").first.inner_text().endswith("UTC")


def test_emulated_results_are_marked_and_apart(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when an emulator's result passes for a device's."""
    watched = tab(fleet_page)
    watched.open("#/devices?profile=reference-notes-pi4")
    assert watched.page.locator("tbody .tag", has_text="emulated").count() == 2
    name = watched.page.locator("tbody th").first.inner_text()
    watched.open(f"#/devices/{name}")
    assert watched.page.locator(".lines svg").count() == 0
    assert "no speed to draw" in watched.page.locator("main").inner_text()


def test_builds_are_compared_as_chosen(tab: Callable[..., Tab], fleet_page: str) -> None:
    """Fails when the regression is not called one, or choosing builds does nothing."""
    watched = tab(fleet_page)
    watched.open("#/builds")
    page = watched.page
    lines = page.get_by_role("region", name="Change of reference-notes-pi5 on raspberry-pi-5").locator("tbody tr")
    assert lines.count() == 6 and lines.first.locator(".badge.bad").inner_text() == "worse"
    assert "interval" in lines.first.locator("svg.forest").get_attribute("aria-label")
    assert page.locator(".strip .dot").count() > 100


def test_empty_database_helps(tab: Callable[..., Tab], empty_store: Store) -> None:
    """Fails when a new collector shows blank tables."""
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        watched = tab(base)
        for address in ("#/", "#/devices"):
            watched.open(address)
            assert "edge fleet enrol" in watched.page.locator("main").inner_text()
        for address, words in (("#/builds", "No result"), ("#/rollouts", "None yet"), ("#/quarantine", "was believed")):
            watched.open(address)
            assert words in watched.page.locator("main").inner_text()


def test_hostile_names_are_text(tab: Callable[..., Tab], empty_store: Store) -> None:
    """Fails when a string of the database becomes an element, a script or an address."""
    desk = Desk(empty_store)
    desk.tablet.name = HOSTILE
    desk.enrol(device=HOSTILE, ring=HOSTILE, profile="javascript:alert(1)", said={"phase": HOSTILE, "release": HOSTILE})
    desk.measure(2, release=HOSTILE, profile=HOSTILE, target=HOSTILE,
                 checks=json.dumps([{"name": HOSTILE, "outcome": "failed", "measured": 1, "limit": 2}]))  # fmt: skip
    row = {"device": HOSTILE, "received_at": time_text(NOW - HOUR), "reason": HOSTILE, "data": b"x", "data_sha256": "a"}
    desk.write(tables.quarantine, row | {"type": HOSTILE, "epoch": HOSTILE})
    plan = f"rings: [{{name: \"{HOSTILE}\", open_next: '{HOSTILE}'}}]"
    times = {"created_at": time_text(NOW), "updated_at": time_text(NOW)}
    rollout = {"rollout": "r", "plan": plan, "release": HOSTILE, "phase": HOSTILE, "state": "{}"}
    desk.write(tables.rollouts, rollout | times)
    told = {"evidence": json.dumps({HOSTILE: [HOSTILE], "devices": [HOSTILE]}), "by": HOSTILE, "decision": HOSTILE}
    desk.write(tables.decisions, told | {"rollout": "r", "at": time_text(NOW), "ring": HOSTILE})
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        watched = tab(base)
        page = watched.page
        for address in ("#/", "#/devices", "#/builds", "#/rollouts", "#/rollouts/r", "#/quarantine"):
            watched.open(address)
            assert HOSTILE in page.locator("main").inner_text() and page.locator("main script, main img").count() == 0
            assert "owned" not in page.title()
        watched.open("#/devices")
        watched.after(page.locator("tbody th a").click)
        assert page.locator("h1").inner_text() == HOSTILE and page.title() == f"{HOSTILE} · edge fleet"
        targets = page.evaluate("[...document.querySelectorAll('a')].map(a => a.href)")
        assert all(target.startswith(base) for target in targets)


def test_refresh_keeps_the_place_and_shows_the_change(tab: Callable[..., Tab], empty_store: Store) -> None:
    """Fails when a refresh moves what somebody reads, or does not show what is new."""
    from edge.fleet.page import cache

    desk = Desk(empty_store)
    desk.enrol()
    desk.measure(2)
    with serving(make_app(empty_store, clock=lambda: NOW)) as base, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "KEPT_S", 0.0)
        watched = tab(base)
        page = watched.page
        watched.open("#/devices")
        page.locator("tbody th a").focus()
        desk.enrol(device="east-00")
        watched.after(lambda: page.locator("#refresh").dispatch_event("click"))  # the focus stays where it is
        page.wait_for_selector("tbody tr:nth-child(2)", timeout=SHOWN_MS)
        assert watched.focused() == "A east-01" and page.locator("tbody tr").count() == 2
        with empty_store.writing() as connection:
            connection.execute(delete(tables.devices).where(tables.devices.c.device == "east-00"))
        watched.after(page.get_by_role("button", name="Refresh").click)
        assert page.locator("tbody tr").count() == 1


def test_collector_that_went_away(tab: Callable[..., Tab], fleet_store: Store) -> None:
    """Fails when old numbers pass for new ones after the collector has gone."""
    with serving(make_app(fleet_store, clock=lambda: NOW)) as base:
        watched = tab(base, quiet=False)
        watched.open("#/devices")
    page = watched.page
    watched.after(page.get_by_role("button", name="Refresh").click)
    alert = page.get_by_role("alert")
    assert "does not answer" in alert.inner_text() and "2026-11-22 12:00:03 UTC" in alert.inner_text()
    assert page.locator("tbody tr").count() == 50


def test_many_devices_come_in_pages(tab: Callable[..., Tab], empty_store: Store) -> None:
    """Fails when a thousand devices are one endless table, or the second hundred cannot be reached."""
    desk = Desk(empty_store)
    known = {"public_key": b"k" * 32, "key_fingerprint": "f" * 16, "enrolled_at": time_text(NOW - HOUR)}
    names = [f"tablet-{number:03d}" for number in range(250)]
    desk.write(tables.devices, *({"device": name, "profile": PI_OLD.profile} | known for name in names))
    with empty_store.writing() as connection:
        connection.execute(update(tables.devices).values(online=True))
        connection.execute(insert(tables.desired), [{"device": names[0], "version": 1, "profile": "p"}])
    with serving(make_app(empty_store, clock=lambda: NOW)) as base:
        watched = tab(base)
        page = watched.page
        watched.open("#/devices")
        assert page.locator("tbody tr").count() == 100
        watched.after(page.get_by_role("link", name="Next 100").click)
        assert page.locator("tbody th").first.inner_text() == "tablet-100"
        watched.after(page.get_by_role("link", name="Next 100").click)
        assert page.locator("tbody tr").count() == 50
        assert page.locator("#shown").inner_text() == "201 to 250 of 250 devices"
