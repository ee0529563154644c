// The views, of which the address says which one is shown.

import { move, state } from "./address.js";
import { $, ask, number, shared } from "./dom.js";
import * as pairs from "./pairs.js";
import * as rejects from "./rejects.js";
import * as sql from "./sql.js";
import * as statistics from "./statistics.js";

const VIEWS = shared ? { pairs, statistics } : { pairs, rejects, statistics, sql };

function show() {
  const values = state(), wanted = values.get("tab"), shown = wanted in VIEWS ? wanted : "pairs";
  for (const button of document.querySelectorAll("nav button")) {
    button.setAttribute("aria-selected", button.dataset.tab === shown);
    button.hidden = !(button.dataset.tab in VIEWS);
    $(`#${button.dataset.tab}`).hidden = button.dataset.tab !== shown;
  }
  VIEWS[shown].show?.(values);
}

async function start() {
  for (const button of document.querySelectorAll("nav button"))
    button.addEventListener("click", () => move({ tab: button.dataset.tab === "pairs" ? "" : button.dataset.tab }));
  addEventListener("hashchange", show);
  const datasets = await ask("overview");
  const sum = (name) => datasets.reduce((total, dataset) => total + dataset[name], 0);
  $("#where").textContent = `${number(sum("pairs"))} pairs, ${number(sum("examples"))} examples, ${number(sum("rejects"))} rejects`;
  for (const view of Object.values(VIEWS)) view.start?.(datasets);
  show();
}

start();
