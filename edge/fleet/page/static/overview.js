// The first view: how the fleet stands, what asks for a look, what a new build changed.

import { h, link } from "./dom.js";
import { changeTable, distribution } from "./builds.js";
import { badge, choice, emptyFleet, mark, phase, section, table, time } from "./parts.js";
import { build, count, FLAG_WORDS } from "./words.js";
import { ringSteps } from "./rollouts.js";

export const title = "Overview";

export async function load(fetchJson, parts, query) {
  const asked = query.stale_days ? `?stale_days=${encodeURIComponent(query.stale_days)}` : "";
  const [overview, speeds] = await Promise.all([fetchJson(`/api/v1/overview${asked}`), fetchJson(`/api/v1/speeds${asked}`)]);
  return { at: overview.at, overview, speeds };
}

export function draw({ overview, speeds }, parts, query, go) {
  const counts = overview.counts;
  if (counts.devices === 0 && counts.flags.revoked === 0) return [h("h1", {}, "Fleet"), emptyFleet()];
  return [
    h("div", { class: "title" },
      h("h1", {}, "Fleet"),
      choice("Stale after", "stale", String(overview.stale_days), [1, 3, 7, 14, 30].map((days) => [String(days), count(days, "day")]),
        (days) => go(["", {}], { ...query, stale_days: days === "7" ? "" : days }))),
    headline(counts, overview),
    section("What asks for a look", attention(counts, query)),
    h("div", { class: "two" },
      section("Devices by profile and ring", groups(counts.groups, overview.rollouts)),
      section("Rollouts", rollouts(overview.rollouts))),
    speeds.changes.length > 0 && section("What the newest build changed", speeds.changes.map((one) => changeBlock(one, speeds.targets))),
    distributions(speeds.targets),
  ];
}

function headline(counts, overview) {
  const { passed, failed, none } = counts.verdicts;
  const parts = [
    [passed, "good", passed === 1 ? "passes its newest check" : "pass their newest check", { verdict: "passed" }],
    [failed, "bad", failed === 1 ? "fails" : "fail", { verdict: "failed" }],
    [none, "open", none === 1 ? "has no result" : "have no result", { verdict: "none" }],
  ];
  return h("p", { class: "headline" },
    h("span", {}, h("b", {}, count(counts.devices, "device")), `, ${counts.online} online`),
    parts.filter(([number]) => number > 0).map(([number, kind, words, asked]) =>
      link(["devices"], asked, { class: `part ${kind}` }, mark(kind), h("b", {}, number.toLocaleString("en-GB")), ` ${words}`)),
    h("span", { class: "soft" }, `${count(overview.results, "result")} kept`,
      counts.emulated > 0 ? `, ${count(counts.emulated, "device")} emulated and left out of every speed` : ""));
}

function attention(counts, query) {
  const kept = query.stale_days ? { stale_days: query.stale_days } : {};
  return h("ul", { class: "tiles" }, Object.entries(FLAG_WORDS).map(([name, [words, kind, why]]) => {
    const number = counts.flags[name] ?? 0;
    return h("li", {}, link(["devices"], { flag: name, ...kept }, { class: `tile ${number > 0 ? kind : "none"}`, title: why },
      h("b", {}, number.toLocaleString("en-GB"), number > 0 ? mark(kind) : null), h("span", {}, words)));
  }));
}

function groups(found, rollouts) {
  // In the order of the newest rollout that has them; others by size, a canary is smaller than what follows it.
  const planned = rollouts.flatMap((one) => one.rings.map((ring) => ring.ring));
  const place = (ring) => (planned.includes(ring) ? planned.indexOf(ring) : Infinity);
  const size = (ring) => found.filter((group) => group.ring === ring).reduce((sum, group) => sum + group.passed + group.failed + group.none, 0);
  const rings = [...new Set(found.map((group) => group.ring))].sort((a, b) => (place(a) === place(b) ? size(a) - size(b) : place(a) - place(b)));
  const profiles = [...new Set(found.map((group) => group.profile))];
  const columns = [{ title: "Profile" }, ...rings.map((ring) => ({ title: ring === "-" ? "no ring" : ring })), { title: "All", number: true }];
  const rows = profiles.map((profile) => {
    const own = found.filter((group) => group.profile === profile);
    const all = own.reduce((sum, group) => sum + group.passed + group.failed + group.none, 0);
    return [
      link(["devices"], { profile }, {}, profile === "-" ? "no profile" : profile),
      ...rings.map((ring) => cell(own.find((group) => group.ring === ring), profile, ring)),
      all.toLocaleString("en-GB"),
    ];
  });
  return table("Devices by profile and ring", columns, rows);
}

function cell(group, profile, ring) {
  if (!group) return h("span", { class: "soft" }, "–");
  const parts = [["passed", "good", "pass"], ["failed", "bad", "fail"], ["none", "open", "without a result"]].filter(([name]) => group[name] > 0);
  const words = parts.map(([name, , told]) => `${group[name]} ${told}`).join(", ");
  return link(["devices"], { profile, ring }, { class: "group", title: words, "aria-label": `${profile}, ${ring}: ${words}` },
    parts.map(([name, kind]) => h("span", { class: kind }, mark(kind), group[name].toLocaleString("en-GB"))));
}

function rollouts(found) {
  if (found.length === 0) return h("p", { class: "empty" }, "None yet. A rollout moves a build out ring by ring: ", h("code", {}, "edge rollout start PLAN"), ".");
  return h("ul", { class: "list" }, found.slice(0, 4).map((one) => h("li", {},
    h("div", { class: "line" }, link(["rollouts", one.rollout], {}, {}, one.rollout), phase(one.phase), h("span", { class: "soft end" }, time(one.updated_at))),
    h("div", { class: "soft" }, `${one.release}`, one.previous_release ? ` after ${one.previous_release}` : ""),
    ringSteps(one.rings))),
    found.length > 4 && h("li", {}, link(["rollouts"], {}, {}, `all ${found.length} rollouts`)));
}

function changeBlock(one, targets) {
  const group = targets.find((target) => target.target === one.target && target.profile === one.profile);
  const name = (digest) => build(group.builds.find((entry) => entry.bundle_digest === digest)?.release, digest);
  const worse = one.lines.filter((line) => line.change.verdict === "worse").length;
  return h("div", { class: "block" },
    h("h3", {}, `${one.profile} on ${one.target}`, h("span", { class: "soft" }, ` ${name(one.old)} → ${name(one.new)}`),
      worse > 0 ? badge(count(worse, "measure is worse", "measures are worse"), "bad") : null,
      link(["builds"], {}, { class: "end" }, "compare other builds")),
    changeTable(one, `Change of ${one.profile} on ${one.target}`));
}

function distributions(targets) {
  const shown = [["ttft_ms", "Time to first token"], ["decode_tokens_per_s", "Decode speed"], ["floor_ratio", "Sustained floor"], ["temperature_highest_celsius", "Highest temperature"]];
  return shown.map(([metric, words]) => {
    const charts = targets.map((target) => distribution(target, metric)).filter(Boolean);
    return charts.length === 0 ? null : section(words, h("div", { class: "charts" }, charts));
  });
}

