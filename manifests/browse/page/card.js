// One pair: its examples as tabs, each a row of thumbnails, and what opens below them.

import { toPair } from "./address.js";
import { compare } from "./compare.js";
import { controls } from "./decisions.js";
import { el, onDisk, shared } from "./dom.js";
import { examples, rolesOf } from "./examples.js";
import { provenance } from "./provenance.js";

export function card(row) {
  let open;  // the example that is shown
  const part = el("div", { class: "part", hidden: "" });
  const toggle = (label, fill) => el("button", { type: "button", "data-part": label.toLowerCase(), "aria-expanded": "false", onclick: (event) => {
    const button = event.currentTarget, wasOpen = button.getAttribute("aria-expanded") === "true";
    for (const other of button.parentElement.querySelectorAll("[aria-expanded]")) other.setAttribute("aria-expanded", "false");
    part.hidden = wasOpen;
    part.replaceChildren(...(wasOpen ? [] : fill()));
    button.setAttribute("aria-expanded", !wasOpen);
  } }, label);
  return el("article", { class: "card", "data-pair": row.pair, "aria-label": `Pair of ${row.source_ref}` },
    examples(row, row.shown, { onopen: (example) => { open = example; } }),
    el("footer", { class: "actions" },
      el("a", { class: "button", ...toPair(row.pair), "aria-label": `Open the pair of ${row.source_ref}` }, "Open"),
      onDisk ? null : toggle("Compare", () => compare(row.pair, row.images, rolesOf(open), { prototype: row.prototype_task })),
      toggle("Provenance", () => [provenance(row)])),
    shared ? null : controls(row, () => open),
    part);
}
