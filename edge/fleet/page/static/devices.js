// The list of devices: filtered, sorted, a hundred at a time, all of it in the address.

import { h, link } from "./dom.js";
import { choice, emulatedMark, emptyFleet, flag, table, time, verdict } from "./parts.js";
import { build, count, FLAG_WORDS, quantity } from "./words.js";

export const title = "Devices";
const PAGE = 100;
const FILTERS = ["text", "profile", "ring", "target", "verdict", "flag", "build", "stale_days", "sort", "order", "offset"];

export async function load(fetchJson, parts, query) {
  const asked = new URLSearchParams({ limit: String(PAGE) });
  for (const name of FILTERS) if (query[name]) asked.set(name, query[name]);
  const kept = query.stale_days ? `?stale_days=${encodeURIComponent(query.stale_days)}` : "";
  const [list, overview] = await Promise.all([fetchJson(`/api/v1/devices?${asked}`), fetchJson(`/api/v1/overview${kept}`)]);
  return { at: list.at, list, overview };
}

export function draw({ list, overview }, parts, query, go) {
  if (list.all === 0) return [h("h1", {}, "Devices"), emptyFleet()];
  const set = (name, value) => go(["devices"], { ...query, [name]: value, offset: "" });
  const exported = query.stale_days ? `?stale_days=${encodeURIComponent(query.stale_days)}` : "";
  return [
    h("div", { class: "title" }, h("h1", {}, "Devices"),
      h("p", { class: "soft end" }, "All of them as ", h("a", { href: `/export/devices.csv${exported}` }, "CSV"), " or ", h("a", { href: `/export/devices.json${exported}` }, "JSON"),
        "; results as ", h("a", { href: "/export/results.csv" }, "CSV"), " or ", h("a", { href: "/export/results.json" }, "JSON"))),
    filters(overview.counts, overview.targets, query, set, go),
    h("p", { class: "soft", id: "shown" }, shown(list, query)),
    list.devices.length > 0 && table("Devices", COLUMNS, list.devices.map(row), {
      by: query.sort || "device", descending: query.order === "desc",
      set: (by) => go(["devices"], { ...query, sort: by, order: (query.sort || "device") === by && query.order !== "desc" ? "desc" : "", offset: "" }),
    }),
    pages(list, query),
  ];
}

function shown(list, query) {
  const filtered = FILTERS.slice(0, 7).some((name) => query[name]);
  const last = list.offset + list.devices.length;
  if (list.total === 0) return filtered ? "No device fits these filters." : "No device.";
  const span = list.total > list.devices.length ? `${list.offset + 1} to ${last} of ` : "";
  return `${span}${count(list.total, "device")}${filtered ? ` of ${list.all}` : ""}`;
}

function filters(counts, targets, query, set, go) {
  const names = (key) => [...new Set(counts.groups.map((group) => group[key]))].sort();
  const any = (words, values) => [["", words], ...values.map((one) => [one, one === "-" ? "none" : one])];
  let waiting = 0;
  const search = h("input", {
    type: "search", value: query.text ?? "", "data-key": "text", autocomplete: "off", spellcheck: "false", maxlength: 100,
    on: { input: (event) => { clearTimeout(waiting); waiting = setTimeout(() => set("text", event.target.value.trim()), 250); } },
  });
  const active = FILTERS.slice(0, 7).some((name) => query[name]);
  return h("search", { class: "controls" },
    h("label", { class: "choice" }, h("span", {}, "Name has"), search),
    choice("Profile", "profile", query.profile ?? "", any("all", names("profile")), (value) => set("profile", value)),
    choice("Ring", "ring", query.ring ?? "", any("all", names("ring")), (value) => set("ring", value)),
    choice("Target", "target", query.target ?? "", any("all", targets), (value) => set("target", value)),
    choice("Verdict", "verdict", query.verdict ?? "", [["", "all"], ["passed", "pass"], ["failed", "fail"], ["none", "no result"]], (value) => set("verdict", value)),
    choice("State", "flag", query.flag ?? "", [["", "all"], ...Object.entries(FLAG_WORDS).map(([name, [words]]) => [name, `${words} (${counts.flags[name] ?? 0})`])], (value) => set("flag", value)),
    active && h("button", { type: "button", "data-key": "clear", on: { click: () => go(["devices"], { stale_days: query.stale_days, sort: query.sort, order: query.order }) } }, "Clear"));
}

const COLUMNS = [
  { title: "Device", sort: "device" },
  { title: "Verdict", sort: "verdict" },
  { title: "State", sort: "flags", wrap: true },
  { title: "Profile", sort: "profile", wide: true },
  { title: "Ring", sort: "ring" },
  { title: "Build", sort: "release" },
  { title: "First token", number: true, sort: "ttft_ms" },
  { title: "Decode", number: true, sort: "decode_tokens_per_s" },
  { title: "Floor", number: true, sort: "floor_ratio" },
  { title: "Hottest", number: true, sort: "temperature_highest_celsius" },
  { title: "Result", sort: "last_result_at" },
  { title: "Seen", sort: "last_seen_at" },
];

function row(device) {
  return [
    link(["devices", device.device], {}, { "data-key": `device:${device.device}` }, device.device),
    [verdict(device.verdict), device.emulated ? emulatedMark() : null],
    h("span", { class: "flags" }, device.flags.filter((name) => name !== "failing").map(flag)),
    device.profile ?? "–",
    device.ring ?? "–",
    running(device),
    quantity(device.ttft_ms, "ms"),
    quantity(device.decode_tokens_per_s, "tok/s"),
    quantity(device.floor_ratio, "share"),
    quantity(device.temperature_highest_celsius, "°C"),
    time(device.last_result_at),
    time(device.last_seen_at),
  ];
}

/** What it runs, and what it is told to run where that is another build. */
export function running(device) {
  const told = device.flags.includes("old_build") && device.desired_digest ? h("span", { class: "soft" }, ` → ${build(device.desired_release, device.desired_digest)}`) : null;
  return h("span", { title: device.bundle_digest }, build(device.release, device.bundle_digest), told);
}

function pages(list, query) {
  if (list.total <= PAGE) return null;
  const turn = (offset, words) => link(["devices"], { ...query, offset: offset > 0 ? offset : "" }, { "data-key": words }, words);
  return h("nav", { class: "pages", "aria-label": "Pages of the list" },
    list.offset > 0 && turn(Math.max(list.offset - PAGE, 0), "Previous 100"),
    list.offset + list.devices.length < list.total && turn(list.offset + PAGE, "Next 100"));
}
