// Tabs as the ARIA practices have them: one of them is in the tab order, arrow keys, Home and End go to the others.

import { el } from "./dom.js";
import { act } from "./keys.js";

let made = 0;

/** The tab of `buttons` that a key leads to, undefined if it leads to none. */
export function tabOf(event, buttons) {
  const at = buttons.indexOf(event.target), last = buttons.length - 1;
  if (at < 0) return undefined;
  return buttons[{ next: at === last ? 0 : at + 1, previous: at ? at - 1 : last, first: 0, last }[act("tabs", event)]];
}

/** Tabs with the names of `parts`, of which the one at `start` is open. Each has `name` and `fill`, which makes the
 *  content of the panel when it is first shown. One part alone is shown without tabs. `onopen` gets the place of each
 *  that is opened. */
export function tabs(label, parts, start, onopen) {
  if (parts.length === 1) {
    onopen(0);
    return el("div", { class: "tabbed" }, el("div", { class: "panel" }, parts[0].fill()));
  }
  const id = `tabs-${++made}`;
  const panels = parts.map((_, index) =>
    el("div", { class: "panel", role: "tabpanel", id: `${id}-panel-${index}`, "aria-labelledby": `${id}-tab-${index}`, hidden: "" }));
  const buttons = parts.map((part, index) => el("button", { type: "button", role: "tab", id: `${id}-tab-${index}`,
    "aria-controls": `${id}-panel-${index}`, onclick: () => open(index) }, part.name));
  function open(chosen) {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", index === chosen);
      button.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
    if (!panels[chosen].hasChildNodes()) panels[chosen].append(...parts[chosen].fill());
    onopen(chosen);
  }
  const list = el("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: (event) => {
    const next = tabOf(event, buttons);
    if (!next) return;
    event.preventDefault();
    open(buttons.indexOf(next));
    next.focus();
  } }, buttons);
  open(start);
  return el("div", { class: "tabbed" }, list, panels);
}
