// Tables, and the way from page to page.

import { el, number } from "./dom.js";

const LONG = 1_000;  // characters, of which more are scrolled

/** A table of JSON values and of elements. */
export function table(columns, rows, onrow) {
  const cell = (value) => {
    if (value instanceof Node) return el("td", {}, value);
    if (value === null) return el("td", { class: "quiet" }, "∅");
    if (typeof value === "number") return el("td", { class: "number" }, number(value));
    if (typeof value === "object") return el("td", {}, el("pre", { tabindex: 0 }, JSON.stringify(value, null, 1)));
    return `${value}`.includes("\n") || `${value}`.length > LONG ? el("td", {}, el("pre", { tabindex: 0 }, value)) : el("td", {}, `${value}`);
  };
  return el("table", {}, el("thead", {}, el("tr", {}, columns.map((name) => el("th", {}, name)))),
    el("tbody", {}, rows.map((row, index) => onrow ? onrow(el("tr", {}, row.map(cell)), index) : el("tr", {}, row.map(cell)))));
}

/** Fill `place` with other content of the same build. The control that had the focus there has it again. */
export function refill(place, ...content) {
  const controls = () => [...place.querySelectorAll("button, input")], had = controls().indexOf(document.activeElement);
  place.replaceChildren(...content);
  if (had < 0) return;
  const again = controls()[had];
  (again?.disabled ? controls().find((one) => !one.disabled && one.matches("input")) : again)?.focus();
}

export function pager(place, page, total, size, go) {
  const last = Math.max(0, Math.ceil(total / size) - 1);
  const button = (label, text, target) => el("button", { type: "button", "aria-label": label, onclick: () => go(target),
    ...(target === page || target < 0 || target > last ? { disabled: "" } : {}) }, text);
  refill(place,
    button("First page", "«", 0), button("Previous page", "‹", page - 1),
    el("input", { class: "field", type: "number", min: 1, max: last + 1, value: page + 1, "aria-label": "Page",
      onchange: (event) => go(Math.min(last, Math.max(0, Math.trunc(event.target.value) - 1))) }),
    el("span", { class: "quiet" }, `of ${number(last + 1)}`),
    button("Next page", "›", page + 1), button("Last page", "»", last));
}
