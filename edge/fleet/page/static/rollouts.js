// Rollouts: rings, phase, and every decision with what it rests on.

import { h, link } from "./dom.js";
import { badge, empty, facts, fullTime, mark, phase, section, table, time } from "./parts.js";
import { absolute, count, digest, plain, quantity } from "./words.js";

export const title = "Rollouts";

const STATUS = {
  passed: ["passed", "good"], failed: ["failed", "bad"], install_failed: ["install failed", "bad"], timed_out: ["timed out", "warn"],
  started: ["started", "run"], waiting: ["waiting", "open"], set_back: ["set back", "quiet"], left: ["left", "quiet"],
};
const DECISIONS = {
  stopped: "bad", aborted: "bad", devices_failed: "bad", devices_timed_out: "warn", devices_asked_again: "warn", paused: "warn", devices_left: "quiet",
  ring_opened: "good", done: "good", resumed: "run", started: "run", devices_started: "run",
};
const REASONS = { failures: "too many devices failed", not_enough_evidence: "not enough devices passed in time", by_operator: "by an operator" };

export async function load(fetchJson, parts) {
  return parts[1] ? fetchJson(`/api/v1/rollouts/${encodeURIComponent(parts[1])}`) : fetchJson("/api/v1/rollouts");
}

export function titleOf(parts) {
  return parts[1] ?? title;
}

export function draw(data, parts) {
  return parts[1] ? drawOne(data.rollout) : drawList(data.rollouts);
}

/** The rings of a rollout in a line, each with its devices by status. */
export function ringSteps(rings) {
  return h("ol", { class: "rings" }, rings.map((ring) => h("li", {}, h("span", { class: "name" }, ring.ring), statuses(ring.statuses))));
}

function statuses(found) {
  const known = Object.keys(STATUS).filter((name) => found[name] > 0);
  const others = Object.keys(found).filter((name) => !(name in STATUS));
  return [...known, ...others].map((name) => {
    const [words, kind] = STATUS[name] ?? [plain(name), "quiet"];
    return h("span", { class: `status ${kind}` }, mark(kind), `${found[name].toLocaleString("en-GB")} ${words}`);
  });
}

function drawList(found) {
  if (found.length === 0) {
    return [h("h1", {}, "Rollouts"), empty("None yet. Write a plan with its rings, then ", h("code", {}, "edge rollout start PLAN"), ": the next ring opens only when enough devices passed on the new build.")];
  }
  const columns = [{ title: "Rollout" }, { title: "Phase" }, { title: "Release" }, { title: "Before" }, { title: "Rings", wrap: true }, { title: "Created" }, { title: "Changed" }];
  return [h("div", { class: "title" }, h("h1", {}, "Rollouts"), exported()), table("Rollouts", columns, found.map((one) => [
    link(["rollouts", one.rollout], {}, {}, one.rollout), phase(one.phase), one.release, one.previous_release ?? "–", ringSteps(one.rings), time(one.created_at), time(one.updated_at)]))];
}

function exported() {
  return h("p", { class: "soft end" }, "Decisions as ", h("a", { href: "/export/decisions.csv" }, "CSV"), " or ", h("a", { href: "/export/decisions.json" }, "JSON"),
    "; installs as ", h("a", { href: "/export/installs.csv" }, "CSV"), " or ", h("a", { href: "/export/installs.json" }, "JSON"));
}

function drawOne(one) {
  return [
    h("p", { class: "crumb" }, link(["rollouts"], {}, {}, "Rollouts")),
    h("div", { class: "title" }, h("h1", {}, one.rollout), phase(one.phase), one.reason ? h("span", { class: "soft" }, REASONS[one.reason] ?? plain(one.reason)) : null),
    facts([["Release", one.release], ["Before", one.previous_release ?? "–"], ["Profile", one.plan.profile ?? "–"], ["Created", fullTime(one.created_at)], ["Changed", fullTime(one.updated_at)]]),
    section("Rings", ringTable(one)),
    section("Decisions", one.decisions.length > 0 ? h("ol", { class: "decisions", reversed: true }, one.decisions.map(decision)) : empty("None yet.")),
    section("Devices", table("Devices of this rollout", [{ title: "Device" }, { title: "Ring" }, { title: "Status" }, { title: "Since" }],
      one.devices.map((device) => [link(["devices", device.device], {}, {}, device.device), device.ring, statusBadge(device.status), time(device.updated_at)]))),
    h("details", { class: "plan", "data-key": "plan" }, h("summary", {}, "The plan as it was written"), h("pre", { tabindex: "0" }, one.plan_text)),
  ];
}

function statusBadge(name) {
  const [words, kind] = STATUS[name] ?? [plain(name), "quiet"];
  return badge(words, kind);
}

function ringTable(one) {
  const columns = [{ title: "Ring" }, { title: "Devices", number: true }, { title: "How they stand", wrap: true }, { title: "Opens the next when", wrap: true }];
  return table("Rings of this rollout", columns, one.rings.map((ring) => {
    const rule = ring.open_next;
    const number = Object.values(ring.statuses).reduce((sum, devices) => sum + devices, 0);
    const needs = rule && typeof rule === "object"
      ? [`${quantity(rule.passed_share_min, "share")} passed, ${count(rule.devices_min ?? 0, "device")} or more, within ${rule.within_h} h`, rule.soak_h ? `, held for ${rule.soak_h} h` : ""] : "–";
    return [ring.ring, number, h("span", { class: "flags" }, statuses(ring.statuses)), needs];
  }));
}

function decision(one) {
  const kind = DECISIONS[one.decision] ?? "quiet";
  const found = one.evidence && typeof one.evidence === "object" ? one.evidence : {};
  // What the line says already, and what there is nothing of, is not told again.
  const more = Object.fromEntries(Object.entries(found).filter(([name, value]) => !(Array.isArray(value) && (value.length === 0 || name === "devices"))));
  return h("li", { class: kind },
    h("div", { class: "line" }, badge(plain(one.decision), kind), one.ring ? h("span", {}, `ring ${one.ring}`) : null,
      h("span", { class: "soft" }, `by ${one.by}`), h("span", { class: "end" }, fullTime(one.at))),
    summary(found),
    Object.keys(more).length > 0 && h("details", { "data-key": `decision:${one.id}` }, h("summary", {}, "Evidence"), evidence(more)));
}

/** The one line that a decision about a ring rests on; none where the evidence is of another kind. */
function summary(found) {
  const names = Array.isArray(found.devices) ? found.devices : null;
  if (names) return h("p", {}, listed(names.map(String)));
  if (typeof found.passed !== "number" || typeof found.devices !== "number") return null;
  const [low, high] = Array.isArray(found.interval) ? found.interval : [];
  const parts = [`${found.passed} of ${count(found.devices, "device")} passed`];
  if (typeof low === "number" && typeof high === "number") parts[0] += ` (${quantity(found.passed_share, "share")}, interval ${quantity(low, "share")} to ${quantity(high, "share")}; ${found.needed} needed)`;
  parts.push(`${found.failed} failed (${found.failures_allowed} allowed)`);
  if (found.without_result > 0) parts.push(`${found.without_result} without a result`);
  if (found.reason) parts.push(REASONS[found.reason] ?? plain(found.reason));
  if (Array.isArray(found.set_back) && found.set_back.length > 0) parts.push(`${count(found.set_back.length, "device")} set back`);
  return h("p", {}, `${parts.join("; ")}.`);
}

function listed(names) {
  const shown = names.slice(0, 12).map((name, index) => [index > 0 ? ", " : "", link(["devices", name], {}, {}, name)]);
  return [shown, names.length > 12 ? ` and ${names.length - 12} more` : ""];
}

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$/;

/** All of it, whatever it is: names and values, lists as they come. */
function evidence(found) {
  return facts(Object.entries(found).map(([name, value]) => [plain(name), shownValue(name, value)]));
}

function shownValue(name, value) {
  if (value === null) return "–";
  if (Array.isArray(value)) {
    if (value.length === 0) return "none";
    if (value.every((one) => typeof one === "number")) return value.map((one) => quantity(one, "share")).join(" to ");
    if (name.endsWith("messages")) return h("ul", { class: "messages" }, value.map((one) => h("li", {}, message(String(one)))));
    return name === "devices" || name === "set_back" ? listed(value.map(String)) : value.map(String).join(", ");
  }
  if (typeof value === "object") {
    const counted = Object.entries(value);
    return counted.every(([, one]) => typeof one === "number") ? counted.map(([one, number]) => `${one} ${number.toLocaleString("en-GB")}`).join(", ") : h("code", {}, JSON.stringify(value));
  }
  if (typeof value === "number") return name.includes("share") || name === "confidence" ? quantity(value, "share") : value.toLocaleString("en-GB");
  if (/^[0-9a-f]{64}$/.test(String(value))) return h("code", { title: value }, digest(value));
  return TIME.test(String(value)) ? absolute(value) : plain(String(value));
}

/** `device/epoch/seq` of a message, with the device a link. */
function message(id) {
  const [device, ...rest] = id.split("/");
  return [link(["devices", device], {}, {}, device), h("code", {}, `/${rest.join("/")}`)];
}
