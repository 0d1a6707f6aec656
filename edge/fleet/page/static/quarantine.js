// Messages that were not believed, of all devices.

import { h } from "./dom.js";
import { quarantineTable } from "./device.js";
import { empty } from "./parts.js";
import { count, plain } from "./words.js";

export const title = "Quarantine";

export async function load(fetchJson) {
  return fetchJson("/api/v1/quarantine");
}

export function draw(data) {
  if (data.quarantine.length === 0) return [h("h1", {}, "Quarantine"), empty("Every message so far was believed: signed by its device, in its own name, plausible.")];
  const reasons = new Map();
  for (const one of data.quarantine) reasons.set(one.reason, (reasons.get(one.reason) ?? 0) + 1);
  return [
    h("h1", {}, "Quarantine"),
    h("p", {}, `The newest ${count(data.quarantine.length, "message")} that the collector did not believe: `,
      [...reasons].map(([reason, number]) => `${number} ${plain(reason)}`).join(", "), ". "),
    h("p", { class: "soft" }, "What they say is kept in the database and never shown here: nobody knows what is in it."),
    quarantineTable(data.quarantine, true),
  ];
}
