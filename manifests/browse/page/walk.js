// From pair to pair by keys, over the cards and over the pages of pairs.

import { move, state } from "./address.js";
import { $ } from "./dom.js";
import { actAnywhere } from "./keys.js";

const cards = () => [...document.querySelectorAll("#cards .card")];

export function focusCard(card) {
  card.tabIndex = -1;
  card.focus();
  card.scrollIntoView({ block: "nearest" });
}

/** The card so many places behind another; the first one if there is none. */
function go(steps) {
  const all = cards(), open = state().get("pair");
  const at = all.findIndex((card) => open === null ? card.contains(document.activeElement) : card.dataset.pair === open);
  if (open !== null) {
    const next = at < 0 ? undefined : all[at + steps];
    if (next) move({ pair: next.dataset.pair }, true);  // back leads to the list, not over all that were looked at
  } else if (all.length && !$("#pairs").hidden) focusCard(all[at + steps] ?? all[Math.max(at, 0)]);
}

const press = (label) => $(`main > section:not([hidden]) .pager button[aria-label="${label}"]`)?.click();

export function start() {
  addEventListener("keydown", (event) => {
    const card = document.activeElement?.closest?.("#cards .card");
    const acts = {
      next: () => go(1), previous: () => go(-1),
      open: card && event.target === card ? () => move({ pair: card.dataset.pair }) : undefined,
      compare: state().has("pair") ? () => $("#pair .panes")?.focus() : card ? () => $("[data-part=compare]", card)?.click() : undefined,
      nextPage: () => press("Next page"), previousPage: () => press("Previous page"),
    };
    const done = acts[actAnywhere("pairs", event) ?? actAnywhere("page", event)];
    if (!done) return;
    event.preventDefault();
    done();
  });
}
