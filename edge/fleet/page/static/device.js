// One device: what it says of itself, its newest verdict line by line, and everything it has sent.

import { h, link } from "./dom.js";
import { badge, emulatedMark, empty, facts, flag, fullTime, section, table, time, verdict } from "./parts.js";
import { history } from "./plot.js";
import { build, count, digest, plain, quantity, span, VERDICT_WORDS } from "./words.js";

export async function load(fetchJson, parts) {
  return fetchJson(`/api/v1/devices/${encodeURIComponent(parts[1])}`);
}

export function titleOf(parts) {
  return parts[1];
}

export function draw(data) {
  const { device } = data;
  return [
    h("p", { class: "crumb" }, link(["devices"], {}, {}, "Devices")),
    h("div", { class: "title" }, h("h1", {}, device.device), verdict(device.verdict), device.emulated ? emulatedMark() : null,
      h("span", { class: "flags" }, device.flags.filter((name) => name !== "failing").map(flag))),
    reported(data),
    section("Newest verdict", checks(data)),
    section("History", charts(data)),
    section("Results", results(data)),
    section("Installs", installs(data)),
    data.rollouts.length > 0 && section("Rollouts", table("Rollouts of this device", [{ title: "Rollout" }, { title: "Ring" }, { title: "Status" }, { title: "Since" }],
      data.rollouts.map((one) => [link(["rollouts", one.rollout], {}, {}, one.rollout), one.ring, plain(one.status), time(one.updated_at)]))),
    data.quarantine.length > 0 && section("Quarantined messages", quarantineTable(data.quarantine)),
  ];
}

function reported(data) {
  const { device, reported: state, telemetry, last_command: command } = data;
  const wanted = device.desired_digest === null ? h("span", { class: "soft" }, "nothing is asked of it")
    : [build(device.desired_release, device.desired_digest), " ", h("code", {}, digest(device.desired_digest)),
      device.rollout ? [" by ", link(["rollouts", device.rollout], {}, {}, device.rollout)] : null];
  const held = telemetry[0]?.data;
  const pairs = [
    ["Profile", device.profile], ["Target", device.target], ["Ring", device.ring ?? "none"],
    ["Runs", device.bundle_digest ? [build(device.release, device.bundle_digest), " ", h("code", { title: device.bundle_digest }, digest(device.bundle_digest)), device.slot ? ` in slot ${device.slot}` : ""] : h("span", { class: "soft" }, "has not said")],
    ["Shall run", wanted],
    ["Phase", state ? [plain(device.phase), device.paused_reason ? `, paused: ${plain(device.paused_reason)}` : ""] : h("span", { class: "soft" }, "has not reported")],
    ["Before that", state?.previous_digest ? h("code", { title: state.previous_digest }, digest(state.previous_digest)) : "–"],
    ["Agent", device.agent_version ?? "–"],
    ["Connection", [device.online ? badge("online", "good") : badge("offline", "quiet"), " seen ", fullTime(device.last_seen_at)]],
    ["Newest result", fullTime(device.last_result_at)],
    ["Enrolled", fullTime(device.enrolled_at)],
    ["Key", h("code", {}, device.key_fingerprint)],
  ];
  if (device.revoked_at) pairs.push(["Revoked", fullTime(device.revoked_at)]);
  if (device.clock_wrong_at) pairs.push(["Clock wrong", fullTime(device.clock_wrong_at)]);
  if (command) pairs.push(["Newest command", [command.op, command.status, command.reason === "none" ? null : command.reason].filter(Boolean).map(plain).join(", ")]);
  if (held) {
    pairs.push(["Battery", held.battery_percent === null ? "not measured" : `${Math.round(held.battery_percent)} %${held.charging ? ", charging" : ""}`]);
    pairs.push(["Free", `${quantity(held.memory_available_bytes, "bytes")} memory, ${quantity(held.disk_free_bytes, "bytes")} disk`]);
    pairs.push(["Outbox", [`${count(held.outbox_rows, "message")} waiting`, held.dropped > 0 ? `, ${held.dropped} telemetry dropped` : ""]]);
  }
  return facts(pairs);
}

function checks(data) {
  const { device, results: sent } = data;
  if (sent.length === 0) return empty("It has not sent a result yet.");
  const other = device.bundle_digest && device.result_digest !== device.bundle_digest;
  const columns = [{ title: "Check" }, { title: "Measured", number: true }, { title: "Needed", number: true }, { title: "Outcome" }];
  const rows = data.checks.map((check) => {
    const [words, kind] = VERDICT_WORDS[check.outcome];
    const bound = check.least === null ? "" : check.least ? "at least " : "at most ";
    return [check.title, quantity(check.measured, check.unit), check.limit === null ? "–" : `${bound}${quantity(check.limit, check.unit)}`, badge(words, kind)];
  });
  return [
    h("p", {}, `Of ${build(data.releases[device.result_digest], device.result_digest)} `, h("code", { title: device.result_digest }, digest(device.result_digest)), ", received ", fullTime(device.last_result_at), "."),
    other && h("p", { class: "warning" }, badge("another build", "warn"), ` It reports ${build(device.release, device.bundle_digest)} now: this verdict is not of what it runs.`),
    table("Checks of the newest result", columns, rows),
  ];
}

const CHARTS = [
  ["ttft_ms", "Time to first token", "ms", "ttft_ms_max", false],
  ["decode_tokens_per_s", "Decode", "tok/s", "decode_tokens_per_s_min", true],
  ["floor_ratio", "Sustained floor", "share", "sustained", true],
  ["temperature_highest_celsius", "Highest temperature", "°C", null, false],
];

function charts(data) {
  const real = data.results.filter((one) => !one.emulated).reverse(); // oldest first
  if (real.length === 0) return empty(data.results.length > 0 ? "Only emulated results: an emulator has no clock, so there is no speed to draw." : "Nothing to draw yet.");
  const times = real.map((one) => Date.parse(one.received_at));
  const width = [Math.min(...times), Math.max(...times)];
  if (width[0] === width[1]) width[0] -= 3600e3;
  const switches = real.filter((one, index) => index === 0 || one.bundle_digest !== real[index - 1].bundle_digest)
    .map((one) => ({ at: Date.parse(one.received_at), label: build(one.release ?? data.releases[one.bundle_digest], one.bundle_digest) }));
  const drawn = CHARTS.map(([name, words, unit, budget, least]) => {
    const own = real.filter((one) => one[name] !== null);
    if (own.length === 0) return null;
    const limit = budget ? (own.at(-1).limits[budget] ?? null) : null;
    const points = own.map((one) => {
      const bound = budget ? one.limits[budget] : undefined;
      const failed = bound !== undefined && (least ? one[name] < bound : one[name] > bound);
      return { at: Date.parse(one.received_at), value: one[name], failed, words: `${quantity(one[name], unit)}, ${one.received_at.slice(0, 16).replace("T", " ")}${failed ? ", outside its budget" : ""}` };
    });
    const newest = quantity(own.at(-1)[name], unit);
    const picture = history(`${words} of ${data.device.device}: ${count(own.length, "result")}, newest ${newest}.`, unit, points, switches, limit, least, width);
    return h("figure", {}, h("figcaption", {}, h("b", {}, words), " ", h("span", { class: "soft" }, `newest ${newest}`)), picture);
  });
  const left = data.results.length - real.length;
  return [h("div", { class: "charts lines" }, drawn), left > 0 && h("p", { class: "soft" }, `${count(left, "emulated result")} left out.`)];
}

function results(data) {
  if (data.results.length === 0) return empty("None yet.");
  const columns = [{ title: "Received" }, { title: "Verdict" }, { title: "Build" }, { title: "First token", number: true }, { title: "Decode", number: true },
    { title: "p95 a token", number: true }, { title: "Floor", number: true }, { title: "Hottest", number: true }, { title: "Memory", number: true }, { title: "Message", wide: true }];
  const rows = data.results.slice(0, 60).map((one) => [
    fullTime(one.received_at),
    [verdict(one.passed ? "passed" : "failed"), one.emulated ? emulatedMark() : null, one.failed.length > 0 ? h("span", { class: "soft" }, ` ${one.failed.join(", ")}`) : null],
    h("span", { title: one.bundle_digest }, build(one.release ?? data.releases[one.bundle_digest], one.bundle_digest)),
    quantity(one.ttft_ms, "ms"), quantity(one.decode_tokens_per_s, "tok/s"), quantity(one.tpot_p95_ms, "ms"), quantity(one.floor_ratio, "share"),
    quantity(one.temperature_highest_celsius, "°C"), quantity(one.peak_rss_bytes, "bytes"), h("code", {}, `${one.epoch}/${one.seq}`)]);
  const name = encodeURIComponent(data.device.device);
  return [table("Results of this device", columns, rows),
    h("p", { class: "soft" }, data.results.length > 60 ? "The newest 60. " : "", "All of them as ",
      h("a", { href: `/export/results.csv?device=${name}` }, "CSV"), " or ", h("a", { href: `/export/results.json?device=${name}` }, "JSON"), ".")];
}

const OUTCOMES = { committed: "good", rolled_back: "bad", refused: "warn", failed: "bad" };

function installs(data) {
  if (data.installs.length === 0) return empty("None reported.");
  const columns = [{ title: "Received" }, { title: "Outcome" }, { title: "Reason" }, { title: "From" }, { title: "To" }, { title: "Moved", number: true }, { title: "Kept", number: true }, { title: "Took", number: true }, { title: "Rollout" }];
  const bundle = (one) => (one ? h("span", { title: one }, build(data.releases[one], one)) : "–");
  return table("Installs of this device", columns, data.installs.map((one) => [
    fullTime(one.received_at), badge(plain(one.outcome), OUTCOMES[one.outcome] ?? "quiet"), one.reason === "none" ? "–" : plain(one.reason),
    bundle(one.from_digest), bundle(one.to_digest), quantity(one.moved_bytes, "bytes"), quantity(one.kept_bytes, "bytes"), span(one.duration_s),
    one.rollout ? link(["rollouts", one.rollout], {}, {}, one.rollout) : "–"]));
}

/** Messages that were not believed: everything about them but what they say. */
export function quarantineTable(rows, withDevice = false) {
  const columns = [...(withDevice ? [{ title: "Device" }] : []), { title: "Received" }, { title: "Reason" }, { title: "Kind" }, { title: "Message" }, { title: "Size", number: true }];
  return table("Quarantined messages", columns, rows.map((one) => [
    ...(withDevice ? [one.enrolled ? link(["devices", one.device], {}, {}, one.device) : [one.device, h("span", { class: "soft" }, " not enrolled")]] : []),
    fullTime(one.received_at), badge(plain(one.reason), "bad"), one.type ? one.type.replace(/^org\.edge-kit\./, "") : "–",
    one.epoch ? h("code", {}, `${one.epoch}/${one.seq ?? "?"}`) : "–", `${one.bytes.toLocaleString("en-GB")} bytes`]));
}
