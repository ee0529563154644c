// One example, with its provenance and its in-context examples.

import { compare } from "./compare.js";
import { controls } from "./decisions.js";
import { ask, el, facts, number, short } from "./dom.js";

const rolesOf = (example) => [...example.inputs, ...(example.output ? [example.output] : [])];
// As an in-context example: one without inputs shows its pair's "input" too (manifests/schema.py, shown_inputs).
const rolesShown = (example, images) => [
  ...(example.inputs.length ? [] : images.map((image) => image.role).filter((role) => role === "input")), ...rolesOf(example)];

function words(example) {
  return [
    el("p", { class: "instruction" }, example.instruction),
    example.text === null ? null : el("p", { class: "answer" }, example.text),
  ];
}

export function card(row) {
  const part = el("div", { class: "part", hidden: "" });
  const chips = Object.entries(row.scores).map(([name, value]) => el("span", { class: "chip" }, `${name} `, el("b", {}, `${short(value)}`)));
  const toggle = (label, fill) => el("button", { type: "button", "aria-expanded": "false", onclick: async (event) => {
    const open = event.target.getAttribute("aria-expanded") === "true";
    for (const other of event.target.parentElement.children) other.setAttribute("aria-expanded", "false");
    part.hidden = open;
    if (open) return;
    event.target.setAttribute("aria-expanded", "true");
    try { part.replaceChildren(...await fill()); } catch (error) { part.replaceChildren(el("p", { class: "error" }, error.message)); }
  } }, label);
  return el("article", { class: "card", "data-pair": row.pair },
    compare(row.pair, row.images, rolesOf(row)),
    el("div", { class: "body" },
      el("div", { class: "chips" }, [row.task, row.direction, row.kind].map((text) => el("span", { class: "chip" }, el("b", {}, text))), chips),
      words(row),
      el("div", { class: "actions" },
        toggle("Provenance", () => provenance(row)),
        row.contexts.map((one, rank) =>
          toggle(row.contexts.length > 1 ? `Context pair ${rank + 1}` : "Context pair", () => context(row, one)))),
      controls(row),
      part));
}

function provenance(row) {
  const steps = row.steps.map((step) => el("li", {}, el("b", {}, step.operator), ` version ${step.version}`, facts([
    ["params", step.params === "{}" ? null : step.params], ["seed", step.seed], ["model", step.model],
    ["revision", step.model_revision], ["prompt", step.prompt]])));
  const images = row.images.map((image) => [image.role,
    `${image.format} ${image.mode}, ${image.width_px} × ${image.height_px} px, ${number(image.bytes)} bytes at ${number(image.offset)} of ${row.shard}`]);
  return [
    facts([["pair", row.pair], ["source", row.source], ["from", row.source_ref], ["group", row.source_group], ["licence", row.licence],
      ["parents", row.parents.join("\n")], ...images]),
    row.steps.length ? el("ol", { class: "steps" }, steps) : el("p", { class: "quiet" }, "No operator changed it."),
  ];
}

async function context(row, one) {
  const pair = await ask(`pair/${encodeURIComponent(one.pair)}`);
  const example = pair.examples.find((other) => other.direction === row.direction && other.kind === row.kind);
  return [
    ...compare(pair.pair, pair.images, example ? rolesShown(example, pair.images) : pair.images.map((image) => image.role)),
    ...(example ? words(example).filter(Boolean) : []),
    facts([["chosen by", row.context_method], ["score", one.score === null ? null : short(one.score)], ["pair", pair.pair], ["from", pair.source_ref], ["group", pair.source_group]]),
  ];
}
