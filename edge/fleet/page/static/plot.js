// The page's own charts: SVG with classes, coloured by the style sheet, so that they follow light and dark.

import { address, s } from "./dom.js";
import { digits, quantity, step as change } from "./words.js";

/** A step of 1, 2 or 5 times a power of ten that divides `span` into about `ticks` parts. */
export function niceStep(span, ticks) {
  const raw = span / ticks;
  if (!(raw > 0) || !Number.isFinite(raw)) return 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((times) => times * power).find((one) => one >= raw * 0.999);
}

/** Ends and tick values of an axis around `values`. fromZero: keep 0 where it costs little. */
export function axis(values, ticks, fromZero = true) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  if (fromZero && low > 0 && low < 0.45 * high) low = 0;
  const size = niceStep(high - low, ticks);
  low = Math.floor(low / size + 1e-9) * size;
  high = Math.ceil(high / size - 1e-9) * size;
  const found = [];
  for (let at = 0; low + at * size <= high + size * 1e-6; at += 1) found.push(low + at * size);
  return { low, high, ticks: found };
}

function scale(from, to, start, end) {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

export function tickText(value, unit) {
  if (unit === "share") return `${Math.round(100 * value)} %`;
  if (unit === "bytes") return digits(value / 1e6);
  if (Math.abs(value) >= 1000) return value.toLocaleString("en-GB", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(6)));
}

export function axisUnit(unit) {
  return unit === "share" ? "" : unit === "bytes" ? "MB" : unit;
}

/** Where a dot stands across its strip: the same for a device every time, without a pattern. */
function scatter(name) {
  let hash = 2166136261;
  for (let index = 0; index < name.length; index += 1) hash = Math.imul(hash ^ name.charCodeAt(index), 16777619);
  return ((hash >>> 8) % 1000) / 999 - 0.5;
}

/** The values with those limits that lie near enough: a budget far away would press all dots into one line. */
function withLimits(values, limits) {
  const span = Math.max(...values) - Math.min(...values) || Math.abs(values[0]) * 0.1;
  const near = limits.filter((limit) => limit !== null && limit > Math.min(...values) - 2.5 * span && limit < Math.max(...values) + 2.5 * span);
  return [...values, ...near];
}

const STRIP = { width: 410, label: 116, right: 16, row: 42, top: 20, bottom: 24 };

/** One strip for each build: every device a dot, the middle half a box, the median a bar, the budget a dashed line.
 *  rows: {label, note, points: [[device, value]], summary, limit}. least: whether the limit is a lower one. */
export function strips(label, unit, rows, least) {
  const measured = rows.flatMap((row) => row.points.map((point) => point[1]));
  if (measured.length === 0) return null;
  const values = withLimits(measured, rows.map((row) => row.limit));
  const { width, right, top, bottom } = STRIP;
  const height = top + rows.length * STRIP.row + bottom;
  const { low, high, ticks } = axis(values, 4);
  const x = scale(low, high, STRIP.label, width - right);
  const floor = height - bottom;
  const parts = ticks.map((tick) => [
    s("line", { x1: x(tick), x2: x(tick), y1: top, y2: floor, class: "grid" }),
    s("text", { x: x(tick), y: floor + 16, class: "tick", "text-anchor": "middle" }, tickText(tick, unit)),
  ]);
  rows.forEach((row, index) => parts.push(strip(row, index, x, unit, least)));
  parts.push(limits(rows, x, unit, least, low, high));
  if (axisUnit(unit)) parts.push(s("text", { x: 0, y: floor + 16, class: "tick" }, axisUnit(unit)));
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, parts);
}

function strip(row, index, x, unit, least) {
  const middle = STRIP.top + index * STRIP.row + STRIP.row / 2;
  const parts = [
    s("text", { x: 0, y: middle - 2, class: "row" }, row.label),
    s("text", { x: 0, y: middle + 13, class: "tick" }, row.note),
    s("line", { x1: STRIP.label, x2: STRIP.width - STRIP.right, y1: middle, y2: middle, class: "base" }),
  ];
  if (row.summary && row.summary.count >= 4) {
    const { first, third, median } = row.summary;
    parts.push(s("rect", { x: x(first), width: Math.max(x(third) - x(first), 1), y: middle - 13, height: 26, rx: 3, class: "box" }));
    parts.push(dots(row, middle, x, unit, least));
    parts.push(s("line", { x1: x(median), x2: x(median), y1: middle - 15, y2: middle + 15, class: "median" }));
  } else {
    parts.push(dots(row, middle, x, unit, least));
  }
  return s("g", { class: index === 0 ? "strip newest" : "strip" }, parts);
}

function dots(row, middle, x, unit, least) {
  return row.points.map(([device, value]) => {
    const over = row.limit !== null && (least ? value < row.limit : value > row.limit);
    const at = [x(value), middle + scatter(device) * 18];
    const shape = over
      ? s("path", { d: `M${at[0] - 3.5} ${at[1] - 3.5}l7 7m0 -7l-7 7`, class: "dot over" })
      : s("circle", { cx: at[0], cy: at[1], r: 3, class: "dot" });
    // Reached by the keyboard through the list of devices: fifty stops in a picture help nobody.
    return s("a", { href: address(["devices", device]), tabindex: "-1" },
      s("title", {}, `${device}: ${quantity(value, unit)}${over ? ", outside its budget" : ""}`), shape);
  });
}

/** Budgets: one line through all strips where they agree, else one in each. */
function limits(rows, x, unit, least, low, high) {
  const told = rows.map((row) => row.limit).filter((limit) => limit !== null);
  if (told.length === 0) return [];
  const same = told.every((limit) => limit === told[0]) && told.length === rows.length;
  const floor = STRIP.top + rows.length * STRIP.row;
  const words = (limit) => `${least ? "at least" : "at most"} ${quantity(limit, unit)}`;
  const anchor = (limit) => (x(limit) > STRIP.width * 0.62 ? "end" : "start");
  const line = (limit, from, to, written) => (limit < low || limit > high ? written && s("text", {
    x: limit > high ? STRIP.width : STRIP.label, y: 12, class: "limit far", "text-anchor": limit > high ? "end" : "start",
  }, limit > high ? `${words(limit)} →` : `← ${words(limit)}`) : [
    s("line", { x1: x(limit), x2: x(limit), y1: from, y2: to, class: "limit" }),
    written && s("text", { x: x(limit) + (anchor(limit) === "end" ? 2 : -2), y: 12, class: "limit", "text-anchor": anchor(limit) }, words(limit)),
  ]);
  if (same) return line(told[0], STRIP.top - 3, floor, true);
  return rows.map((row, index) => (row.limit === null ? [] : line(row.limit, STRIP.top + index * STRIP.row + 2, STRIP.top + (index + 1) * STRIP.row - 2, index === rows.findIndex((one) => one.limit !== null))));
}

const FOREST = { width: 300, height: 30 };

/** The interval of one change around "no change". reach: how far the axis goes either way, as logarithm or in the unit. */
export function interval(line, reach) {
  const { change: found, ratio, unit } = line;
  const { width, height } = FOREST;
  const middle = height / 2;
  const at = (value) => (ratio ? Math.log(value) : value);
  const x = scale(-reach, reach, 8, width - 8);
  const inside = (value) => Math.min(Math.max(x(at(value)), 4), width - 4);
  const words = found.estimate === null ? "no interval" : `${change(found.estimate, ratio, unit)}, interval ${change(found.low, ratio, unit)} to ${change(found.high, ratio, unit)}`;
  const worseAt = line.higher_is_better ? [8, x(0)] : [x(0), width - 8];
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "forest", role: "img", "aria-label": words },
    s("rect", { x: worseAt[0], width: worseAt[1] - worseAt[0], y: 4, height: height - 8, class: "worse" }),
    s("line", { x1: x(0), x2: x(0), y1: 1, y2: height - 1, class: "zero" }),
    found.estimate === null ? null : [
      s("line", { x1: inside(found.low), x2: inside(found.high), y1: middle, y2: middle, class: `whisker ${found.verdict}` }),
      s("path", { d: diamond(inside(found.estimate), middle), class: `estimate ${found.verdict}` }),
    ]);
}

function diamond(x, y) {
  return `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z`;
}

/** How far the axis of some changes must go: the widest end, at least `least`. */
export function reachOf(lines, least) {
  const ends = lines.flatMap(({ change: found, ratio }) => (found.low === null ? [] : [found.low, found.high].map((end) => Math.abs(ratio ? Math.log(end) : end))));
  return Math.max(least, ...ends) * 1.12;
}

const LINE = { width: 560, height: 170, left: 58, right: 14, top: 22, bottom: 26 };

/** One device's values over time. points: {at (ms), value, failed, words}; marks: {at, label}; limit may change: [{at, value}]. */
export function history(label, unit, points, marks, limit, least, span) {
  const { width, height, left, right, top, bottom } = LINE;
  if (points.length === 0) return null;
  const { low, high, ticks } = axis(withLimits(points.map((point) => point.value), [limit]), 3);
  const floor = height - bottom;
  const x = scale(span[0], span[1], left + 6, width - right - 6);
  const y = scale(low, high, floor, top);
  const parts = ticks.map((tick) => [
    s("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
    s("text", { x: left - 8, y: y(tick) + 4, class: "tick", "text-anchor": "end" }, tickText(tick, unit)),
  ]);
  for (const { at, text } of timeTicks(span)) parts.push(s("text", { x: x(at), y: floor + 17, class: "tick", "text-anchor": "middle" }, text));
  let ends = -Infinity;
  for (const { at, label: words } of marks) {
    parts.push(s("line", { x1: x(at), x2: x(at), y1: top - 4, y2: floor, class: "switch" }));
    if (x(at) - ends > 84) { // a label that would lie on the one before is in the table below
      const back = x(at) > width - 110;
      parts.push(s("text", { x: x(at) + (back ? -4 : 4), y: 12, class: "switch", "text-anchor": back ? "end" : "start" }, words));
      ends = x(at);
    }
  }
  const words = `${least ? "at least" : "at most"} ${quantity(limit, unit)}`;
  if (limit !== null && (limit < low || limit > high)) {
    parts.push(s("text", { x: width - right, y: limit > high ? 12 : floor - 6, class: "limit far", "text-anchor": "end" }, `${words} ${limit > high ? "↑" : "↓"}`));
  } else if (limit !== null) {
    parts.push(s("line", { x1: left, x2: width - right, y1: y(limit), y2: y(limit), class: "limit" }));
    const above = y(limit) - 5 > top + 4;
    parts.push(s("text", { x: width - right, y: y(limit) + (above ? -5 : 13), class: "limit", "text-anchor": "end" }, words));
  }
  parts.push(s("path", { d: `M${points.map((point) => `${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`).join("L")}`, class: "curve" }));
  for (const point of points) {
    const at = [x(point.at), y(point.value)];
    const shape = point.failed
      ? s("path", { d: `M${at[0] - 4} ${at[1] - 4}l8 8m0 -8l-8 8`, class: "dot over" })
      : s("circle", { cx: at[0], cy: at[1], r: 3, class: "dot" });
    parts.push(s("g", {}, s("title", {}, point.words), shape));
  }
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, parts);
}

const HOUR = 3600e3;
const TIME_STEPS = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688, 5376, 10752].map((hours) => hours * HOUR);

function timeTicks([from, to]) {
  const size = TIME_STEPS.find((one) => (to - from) / one <= 6) ?? TIME_STEPS.at(-1);
  const found = [];
  for (let at = Math.ceil(from / size) * size; at <= to; at += size) {
    const text = new Date(at).toISOString();
    found.push({ at, text: size < 24 * HOUR ? `${text.slice(8, 10)}. ${text.slice(11, 16)}` : text.slice(5, 10) });
  }
  return found;
}
