// The frame: which view the address names, when it is read again, and what is said when it cannot be.

import { h, replace, address } from "./dom.js";
import * as builds from "./builds.js";
import * as device from "./device.js";
import * as devices from "./devices.js";
import * as overview from "./overview.js";
import * as quarantine from "./quarantine.js";
import * as rollouts from "./rollouts.js";
import { empty, showAbsolute } from "./parts.js";
import { absolute, ago, heard, now, span } from "./words.js";

const EVERY_MS = 15_000;
const PATIENCE_MS = 30_000;
const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
const read = document.getElementById("read");

let shown = { hash: null, data: null, text: "", view: null, parts: [], query: {} };
let turn = 0;
let timer = 0;
let lastAt = null;

function route() {
  const [path, asked = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  const query = Object.fromEntries(new URLSearchParams(asked));
  const views = { "": overview, devices: parts[1] ? device : devices, builds, rollouts, quarantine };
  return { parts, query, view: views[parts[0] ?? ""] ?? null };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Go to another address. Filters replace the entry of the history, so that Back leaves the list. */
function go(parts, query) {
  const target = address(parts[0] === "" ? [] : parts, query);
  history.replaceState(null, "", target);
  show();
}

async function fetchJson(path) {
  let answer = null;
  try {
    answer = await fetch(path, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS), credentials: "same-origin" });
  } catch {
    throw new Problem("The collector does not answer; this page tries again.", 0);
  }
  let value = null;
  try {
    value = await answer.json();
  } catch {
    throw new Problem(`The collector answered with something else (${answer.status}).`, answer.status);
  }
  if (!answer.ok) throw new Problem(value?.error ?? `The collector refused (${answer.status}).`, answer.status);
  return value;
}

class Problem extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

/** Read what the address names and draw it. `again`: the same view anew, nothing is drawn when nothing changed. */
async function show(again = false) {
  clearTimeout(timer);
  const mine = ++turn;
  const { parts, query, view } = route();
  const moved = shown.view !== view || shown.parts.join("/") !== parts.join("/");
  marked(parts[0] ?? "overview");
  if (!again) main.setAttribute("aria-busy", "true");
  try {
    if (view === null) throw new Problem("There is no such page.", 404);
    const data = await view.load(fetchJson, parts, query);
    if (mine !== turn) return;
    heard(data.at);
    lastAt = data.at;
    trouble.hidden = true;
    const text = JSON.stringify(data, (key, value) => (key === "at" && value === data.at ? undefined : value));
    if (!again || text !== shown.text) paint(view, data, parts, query);
    shown = { data, text, view, parts, query };
    if (moved) arrived(view, parts);
    else if (!again) said(document.getElementById("shown")?.textContent ?? "");
  } catch (error) {
    if (mine !== turn) return;
    failed(error, view, moved);
    if (moved) shown = { data: null, text: "", view, parts, query };
  }
  main.removeAttribute("aria-busy");
  main.setAttribute("data-shown", `${location.hash}|${mine}`);
  times();
  timer = setTimeout(() => show(true), EVERY_MS);
}

function paint(view, data, parts, query) {
  replace(main, h("div", { class: "view" }, view.draw(data, parts, query, go)));
}

/** A new view: its title is the document's, and reading begins at its heading. */
function arrived(view, parts) {
  const name = view.titleOf ? view.titleOf(parts) : view.title;
  const first = document.title === "edge fleet";
  document.title = `${name} · edge fleet`;
  window.scrollTo(0, 0);
  if (first) return;
  const heading = main.querySelector("h1");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

function failed(error, view, moved) {
  const known = error instanceof Problem;
  const words = known ? error.message : "This page could not draw what it has read.";
  if (known && (error.status === 404 || error.status === 400)) {
    trouble.hidden = true;
    replace(main, h("div", { class: "view" }, h("h1", {}, "Not found"), empty(`${words} `, h("a", { href: "#/" }, "To the overview"))));
    return;
  }
  if (!known) console.error(error);
  trouble.textContent = lastAt && !moved ? `${words} What is shown is of ${absolute(lastAt)}.` : words;
  trouble.hidden = false;
  if (moved) replace(main, h("div", { class: "view" }, empty("Nothing could be read yet.")));
}

function marked(name) {
  for (const one of document.querySelectorAll("nav a[data-view]")) {
    if (one.dataset.view === (name || "overview")) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
}

function said(text) {
  document.getElementById("said").textContent = text;
}

/** Keep "5 min ago" true without reading anything again. */
function times() {
  if (lastAt !== null) read.textContent = `read ${span(Math.max((now() - Date.parse(lastAt)) / 1000, 0))} ago`;
  if (document.getElementById("times").getAttribute("aria-pressed") === "true") return;
  for (const one of main.querySelectorAll("time[data-at]")) {
    const words = ago(one.dataset.at);
    if (one.textContent !== words) one.textContent = words;
  }
}

document.getElementById("refresh").addEventListener("click", () => show(true));
document.getElementById("times").addEventListener("click", (event) => {
  const pressed = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(pressed));
  showAbsolute(pressed);
  if (shown.data !== null) paint(shown.view, shown.data, shown.parts, shown.query);
});
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault(); // the address belongs to the views
  main.focus();
});
window.addEventListener("hashchange", () => show());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else show(true);
});
setInterval(times, 1000);
show();
