// Where there is little room, the filters of pairs are behind a button, which says how many of them are set.

import { move, state } from "./address.js";
import { $ } from "./dom.js";
import { actAnywhere } from "./keys.js";

const COUNTED = ["task", "direction", "kind", "text", "score", "decision"];

function open(isOpen) {
  $("#filters").classList.toggle("open", isOpen);
  $("#show-filters").setAttribute("aria-expanded", isOpen);
}

function count() {
  const values = state(), set = COUNTED.filter((name) => values.get(name)).length;
  $("#show-filters").textContent = set ? `Filters (${set} set)` : "Filters";
}

export function start() {
  $("#show-filters").addEventListener("click", () => open(!$("#filters").classList.contains("open")));
  addEventListener("hashchange", count);
  count();
  addEventListener("keydown", (event) => {
    if (actAnywhere("page", event) !== "search") return;
    event.preventDefault();
    if ($("#pairs").hidden) move({ tab: "", pair: "" }, true);
    open(true);
    $("#filters").elements.text.focus();
  });
}
