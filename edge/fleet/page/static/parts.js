// Pieces that every view is made of: marks with words, times, tables, cards.

import { h, s } from "./dom.js";
import { absolute, ago, FLAG_WORDS, PHASE_WORDS, plain, VERDICT_WORDS } from "./words.js";

// Shapes beside the words: colour is never the only sign.
const SHAPES = {
  good: ["M3 7.5 6 10.5 11.5 4"],
  bad: ["M3.5 3.5 10.5 10.5M10.5 3.5 3.5 10.5"],
  warn: ["M7 2 12.6 12H1.4Z", "M7 5.6V8.4M7 10.2V10.4"],
  open: ["M7 3a4 4 0 1 1-.01 0Z"],
  quiet: ["M3.5 7H10.5"],
  run: ["M4.5 3 11 7 4.5 11Z"],
};

let absoluteTimes = false;

export function showAbsolute(value) {
  absoluteTimes = value;
}

export function mark(kind) {
  return s("svg", { viewBox: "0 0 14 14", class: `mark ${kind}`, "aria-hidden": "true" },
    SHAPES[kind].map((path) => s("path", { d: path })));
}

/** A word with its shape. */
export function badge(words, kind, title) {
  return h("span", { class: `badge ${kind}`, title }, mark(kind), words);
}

export function verdict(name) {
  const [words, kind] = VERDICT_WORDS[name ?? "none"] ?? [plain(name), "open"];
  return badge(words, kind);
}

export function flag(name) {
  const [words, kind, title] = FLAG_WORDS[name] ?? [plain(name), "quiet", ""];
  return badge(words, kind, title);
}

export function phase(name) {
  const [words, kind] = PHASE_WORDS[name] ?? [plain(name), "quiet"];
  return badge(words, kind);
}

export function emulatedMark() {
  return h("span", { class: "tag", title: "Measured on an emulated device: it has no clock, so no speed of it is shown or counted." }, "emulated");
}

/** A moment, as long ago or as it is; the other way in its title. */
export function time(text) {
  if (!text) return h("span", { class: "soft" }, "never");
  const told = absoluteTimes ? absolute(text) : ago(text);
  return h("time", { datetime: text, title: absoluteTimes ? ago(text) : absolute(text), "data-at": text }, told);
}

/** Both at once. */
export function fullTime(text) {
  if (!text) return h("span", { class: "soft" }, "never");
  return h("time", { datetime: text }, absolute(text), " ", h("span", { class: "soft" }, `(${ago(text)})`));
}

/** A section with its heading. */
export function section(title, ...children) {
  return h("section", { "aria-label": title }, h("h2", {}, title), children);
}

/** A table in a frame that scrolls sideways when it must, with the keyboard too.
 *  columns: {title, number, wide, sort}; rows: arrays of cells (node or text), or {cells, key}. The first cell heads its row.
 *  sorted: {by, descending, set(by)}. */
export function table(caption, columns, rows, sorted) {
  const heads = columns.map((column) => h("th", {
    scope: "col",
    class: classes(column),
    "aria-sort": sorted && column.sort ? (sorted.by === column.sort ? (sorted.descending ? "descending" : "ascending") : "none") : null,
  }, sorted && column.sort ? sortButton(column, sorted) : column.title));
  const body = rows.map((cells) => h("tr", {}, cells.map((cell, index) =>
    h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: classes(columns[index]) }, cell))));
  return h("div", { class: "frame", tabindex: "0", role: "region", "aria-label": caption, "data-scroll": caption, "data-key": `frame:${caption}` },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body)));
}

function classes(column) {
  return [column.number && "number", column.wide && "wide", column.wrap && "wrap"].filter(Boolean).join(" ") || null;
}

function sortButton(column, sorted) {
  const active = sorted.by === column.sort;
  return h("button", { type: "button", "data-key": `sort:${column.sort}`, on: { click: () => sorted.set(column.sort) } },
    column.title, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (sorted.descending ? "▾" : "▴") : "▴"));
}

/** Names and values. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"))));
}

/** A choice with its label. options: [value, words]. */
export function choice(label, key, value, options, set) {
  const select = h("select", { "data-key": key, on: { change: (event) => set(event.target.value) } },
    options.map(([one, words]) => h("option", { value: one, selected: one === value }, words)));
  return h("label", { class: "choice" }, h("span", {}, label), select);
}

export function empty(...words) {
  return h("p", { class: "empty" }, words);
}

/** What stands where nothing has been enrolled yet. */
export function emptyFleet() {
  return h("section", { class: "welcome", "aria-label": "Nothing here yet" },
    h("h2", {}, "No device has been enrolled yet"),
    h("p", {}, "This page shows what tablets measure and what they run, once they report. To see one here:"),
    h("ol", {},
      h("li", {}, "Give it a key and a certificate: ", h("code", {}, "edge fleet enrol DEVICE")),
      h("li", {}, "Start the agent on it: ", h("code", {}, "edge agent")),
      h("li", {}, "It measures the build that is installed and reports. A result is here within seconds of its arrival.")),
    h("p", { class: "soft" }, "To try all of it on this machine, with a broker of its own: ", h("code", {}, "edge fleet dev"), "."));
}
