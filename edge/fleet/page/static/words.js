// Numbers, times and names in the words of a reader. Units as the harness writes them.

export const FLAG_WORDS = {
  failing: ["failing", "bad", "Its newest result broke a budget, a golden case or a rule that always holds."],
  unproven: ["unproven", "warn", "The build that it reports has no result from it yet."],
  stale: ["stale", "warn", "No result within the days set above, or never one."],
  old_build: ["old build", "warn", "It reports another build than it is told to run."],
  install_failed: ["install failed", "bad", "Its newest install did not commit."],
  quarantined: ["quarantined", "bad", "Messages of it were not believed within those days."],
  noisy: ["noisy", "warn", "It sent more than its share within the last day."],
  unsteady: ["unsteady", "warn", "Decode speeds on one build differ by more than 15 % around their median."],
  clock_wrong: ["clock wrong", "warn", "Its clock was off by more than a day within those days."],
  paused: ["paused", "quiet", "It does not measure or install now."],
  offline: ["offline", "quiet", "The broker does not have it connected."],
  revoked: ["revoked", "quiet", "Its certificate is revoked; it counts nowhere else."],
};

export const VERDICT_WORDS = {
  passed: ["pass", "good"],
  failed: ["fail", "bad"],
  none: ["no result", "open"],
  not_measured: ["not measured", "open"],
};

export const CHANGE_WORDS = {
  worse: ["worse", "bad"],
  better: ["better", "good"],
  no_clear_change: ["no clear change", "quiet"],
  too_little_data: ["too little data", "open"],
};

export const PHASE_WORDS = {
  running: ["running", "run"],
  paused: ["paused", "warn"],
  stopped: ["stopped", "bad"],
  aborted: ["aborted", "bad"],
  done: ["done", "good"],
};

/** snake_case or kebab to words. */
export function plain(name) {
  return String(name ?? "").replaceAll("_", " ");
}

/** A number with its unit: two or three digits, bytes in MB or GB, shares in per cent. */
export function quantity(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "bytes") return Math.abs(value) >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${(value / 1e6).toFixed(1)} MB`;
  if (unit === "bytes/s") return `${(value / 1e9).toFixed(1)} GB/s`;
  if (unit === "share") return `${(100 * value).toFixed(1)} %`;
  if (unit === "points") return `${value >= 0 ? "+" : "−"}${Math.abs(100 * value).toFixed(2)} points`;
  return `${digits(value)}${unit ? ` ${unit}` : ""}`;
}

/** Without a unit. */
export function digits(value) {
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-GB");
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2).replace(/0$/, "");
  return value === 0 ? "0" : value.toPrecision(2);
}

/** A ratio or difference of two builds, signed: "+4.2 %", "−1.3 °C". */
export function step(value, ratio, unit) {
  if (value === null || value === undefined) return "–";
  const told = ratio ? 100 * (value - 1) : value;
  const size = Math.abs(told) >= 99.5 ? Math.abs(told).toFixed(0) : Math.abs(told).toFixed(1);
  const sign = Number(size) === 0 ? "±" : told > 0 ? "+" : "−";
  return `${sign}${size} ${ratio ? "%" : unit}`;
}

/** 1 device, 2 devices. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : many}`;
}

export function digest(text) {
  return (text ?? "").slice(0, 8);
}

/** What a build is called: its release, else the first digits of its digest. */
export function build(release, bundle) {
  return release ?? (bundle ? digest(bundle) : "none");
}

// The server's clock at its newest answer and how long ago that was by a clock that only goes forward: this machine's
// own clock may be anything.
let read = null;

export function heard(at) {
  read = { at: Date.parse(at), steady: performance.now() };
}

export function now() {
  return read === null ? Date.now() : read.at + (performance.now() - read.steady);
}

const SPANS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** "3 min", "2 d": whole units, rounded down. */
export function span(seconds) {
  for (const [unit, size] of SPANS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return "0 s";
}

/** "5 min ago", "in 3 h". */
export function ago(text) {
  const seconds = (now() - Date.parse(text)) / 1000;
  return seconds < -1 ? `in ${span(-seconds)}` : `${span(Math.max(seconds, 0))} ago`;
}

/** "2026-11-22 12:03:11 UTC" */
export function absolute(text) {
  return `${text.slice(0, 10)} ${text.slice(11, 19)} UTC`;
}
