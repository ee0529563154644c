// How a pair came to be: its source, then each step, as a line.

import { el, facts, number } from "./dom.js";

/** The parameters of a step, which are JSON, a line each; the text as it is if it is none. */
function parameters(text) {
  try {
    return Object.entries(JSON.parse(text)).map(([name, value]) => `${name} = ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");
  } catch { return text; }
}

export function provenance(row) {
  const start = el("li", {}, el("b", {}, row.source), facts([["from", row.source_ref], ["group", row.source_group],
    ["licence", row.licence], ["parents", row.parents.join("\n")]]));
  const steps = row.steps.map((step) => el("li", {}, el("b", {}, step.operator), ` version ${step.version}`, facts([
    ["model", step.model], ["revision", step.model_revision], ["seed", step.seed], ["prompt", step.prompt],
    ["params", parameters(step.params)]])));
  const stored = el("li", {}, el("b", {}, row.shard), facts([["pair", row.pair], ["task", row.task], ...row.images.map((image) => [image.role,
    `${image.format} ${image.mode}, ${image.width_px} × ${image.height_px} px, ${number(image.bytes)} bytes at ${number(image.offset)}`])]));
  return el("ol", { class: "line" }, start, steps, stored);
}
