// Builds side by side: distributions by target, and the change from one to another with its interval.

import { h } from "./dom.js";
import { badge, choice, empty, section, table, time } from "./parts.js";
import { interval, reachOf, strips } from "./plot.js";
import { build, CHANGE_WORDS, count, digest, quantity, step } from "./words.js";

export const title = "Builds";

export async function load(fetchJson, parts, query) {
  const asked = new URLSearchParams({ old: query.old ?? "", new: query.new ?? "" });
  return fetchJson(`/api/v1/speeds?${asked}`);
}

export function draw(data, parts, query, go) {
  if (data.targets.length === 0) return [h("h1", {}, "Builds"), empty("No result has arrived yet, so there is nothing to compare.")];
  return [h("h1", {}, "Builds"), data.targets.map((target) => {
    const change = data.changes.find((one) => one.target === target.target && one.profile === target.profile);
    return section(`${target.profile} on ${target.target}`,
      buildTable(target),
      change ? [comparison(target, change, go), changeTable(change, `Change of ${target.profile} on ${target.target}`), method()]
        : empty("Only one build was measured here: there is nothing to compare it with."),
      h("div", { class: "charts" }, target.metrics.map((metric) => distribution(target, metric.metric, true))));
  })];
}

function buildTable(target) {
  const columns = [{ title: "Build" }, { title: "Bundle" }, { title: "Devices", number: true }, { title: "Results", number: true }, { title: "First heard of" }, { title: "Last heard of" }];
  const devices = (bundle) => Math.max(...target.metrics.map((metric) => metric.builds.find((one) => one.bundle_digest === bundle)?.summary?.count ?? 0));
  const rows = target.builds.map((one) => [
    one.release ?? h("span", { class: "soft" }, "no release"), h("code", { title: one.bundle_digest }, digest(one.bundle_digest)),
    devices(one.bundle_digest), one.results.toLocaleString("en-GB"), time(one.first_at), time(one.last_at)]);
  const more = [];
  if (target.older_builds > 0) more.push(`${count(target.older_builds, "older build")} not shown`);
  if (target.emulated_left_out > 0) more.push("results of emulated devices are left out of every speed");
  return [table(`Builds of ${target.profile} on ${target.target}`, columns, rows), more.length > 0 && h("p", { class: "soft" }, `${more.join("; ")}.`)];
}

function comparison(target, change, go) {
  const options = change.choices.map((bundle) => [bundle, build(target.builds.find((one) => one.bundle_digest === bundle)?.release, bundle)]);
  const key = `${target.target}:${target.profile}`;
  return h("div", { class: "controls" },
    choice("From", `old:${key}`, change.old, options.filter(([bundle]) => bundle !== change.new), (old) => go(["builds"], { old, new: change.new })),
    choice("to", `new:${key}`, change.new, options.filter(([bundle]) => bundle !== change.old), (fresh) => go(["builds"], { old: change.old, new: fresh })));
}

/** A line for each measure: medians, the interval drawn, its ends in words, the verdict. */
export function changeTable(change, caption) {
  const ratios = reachOf(change.lines.filter((line) => line.ratio), Math.log(1.1));
  const steps = reachOf(change.lines.filter((line) => !line.ratio), 2);
  const columns = [{ title: "Measure" }, { title: "Median, old", number: true }, { title: "new", number: true }, { title: "Change, 95 % interval", number: true },
    { title: "Worse is shaded", wide: true }, { title: "Verdict" }, { title: "Devices", wide: true, wrap: true }];
  const rows = change.lines.map((line) => {
    const { change: found, ratio, unit } = line;
    const [words, kind] = CHANGE_WORDS[found.verdict];
    const told = found.estimate === null ? "–" : [h("b", {}, step(found.estimate, ratio, unit)), h("span", { class: "soft" }, `  ${step(found.low, ratio, unit)} … ${step(found.high, ratio, unit)}`)];
    return [
      [line.title, line.at ? h("span", { class: "soft" }, ` ${line.at}`) : null],
      quantity(line.old_median, unit), quantity(line.new_median, unit), told,
      found.estimate === null ? "" : interval(line, ratio ? ratios : steps), badge(words, kind), h("span", { class: "soft" }, sample(found)),
    ];
  });
  return h("div", { class: "changes" }, table(caption, columns, rows));
}

function sample(found) {
  if (found.verdict === "too_little_data") {
    return found.paired ? `${count(found.old_devices, "device")} on both, 6 are needed` : `${found.old_devices} old, ${found.new_devices} new`;
  }
  return found.paired ? `${found.old_devices} on both builds` : `${found.old_devices} old, ${found.new_devices} other new`;
}

function method() {
  return h("p", { class: "soft note" },
    "Each device counts once, with the median of its newest results; the medians shown are of all devices on the build. Devices that measured both builds are compared with themselves; ",
    "the interval is of ranks (Hodges–Lehmann, 95 % each, not adjusted for the number of lines). It is called worse or better only when the whole interval is.");
}

/** The strips of one metric on one target; null where nobody measured it. */
export function distribution(target, name, withTable = false) {
  const metric = target.metrics.find((one) => one.metric === name);
  const rows = metric.builds.filter((one) => one.summary !== null || metric.builds.length === 1).map((one) => {
    const own = target.builds.find((entry) => entry.bundle_digest === one.bundle_digest);
    const number = one.summary?.count ?? 0;
    return { ...one, label: shortened(build(own.release, own.bundle_digest)), name: build(own.release, own.bundle_digest), note: count(number, "device") };
  });
  const least = metric.higher_is_better;
  const said = rows.map((row) => `${row.name}: ${row.summary ? `median ${quantity(row.summary.median, metric.unit)} of ${row.note}` : "not measured"}`).join("; ");
  const picture = strips(`${metric.title} of ${target.profile} on ${target.target}. ${said}.`, metric.unit, rows, least);
  if (picture === null) return null;
  const notes = [];
  if (metric.left_out > 0) notes.push(`${count(metric.left_out, "result")} at other lengths left out`);
  if (target.emulated_left_out > 0) notes.push("emulated devices left out");
  return h("figure", {},
    h("figcaption", {}, h("b", {}, withTable ? metric.title : target.target), " ", h("span", { class: "soft" }, [withTable ? "" : target.profile, metric.at].filter(Boolean).join(", "))),
    picture,
    notes.length > 0 && h("p", { class: "soft" }, `${notes.join("; ")}.`),
    h("details", { "data-key": `numbers:${target.target}:${target.profile}:${name}` }, h("summary", {}, "Numbers"), numbers(target, metric, rows)));
}

function numbers(target, metric, rows) {
  const columns = [{ title: "Build" }, ...["Devices", "Lowest", "Quarter", "Median", "Three quarters", "Highest", "Budget"].map((words) => ({ title: words, number: true }))];
  return table(`${metric.title} on ${target.target} in numbers`, columns, rows.map((row) => [
    row.name, row.summary?.count ?? 0,
    ...["lowest", "first", "median", "third", "highest"].map((one) => quantity(row.summary?.[one], metric.unit)), quantity(row.limit, metric.unit)]));
}

/** A label that fits beside its strip. */
function shortened(text) {
  return text.length > 19 ? `…${text.slice(-18)}` : text;
}
