// The views, of which the address says which one is shown. The page of a pair lies over the view that it was opened from.

import { move, state } from "./address.js";
import * as choosing from "./choosing.js";
import { $, ask, el, number, reach, shared } from "./dom.js";
import * as filters from "./filters.js";
import * as help from "./help.js";
import * as pair from "./pair.js";
import * as pairs from "./pairs.js";
import * as rejects from "./rejects.js";
import * as sql from "./sql.js";
import * as statistics from "./statistics.js";
import { tabOf } from "./tabs.js";
import * as walk from "./walk.js";

const VIEWS = shared ? { pairs, statistics } : { pairs, rejects, decisions: choosing, statistics, sql };

function show() {
  const values = state(), wanted = values.get("tab"), tab = Object.hasOwn(VIEWS, wanted) ? wanted : "pairs", isPair = values.has("pair");
  for (const button of document.querySelectorAll("nav button")) {
    button.hidden = !Object.hasOwn(VIEWS, button.dataset.tab);
    button.setAttribute("aria-selected", button.dataset.tab === tab);
    button.tabIndex = button.dataset.tab === tab ? 0 : -1;  // the arrow keys go to the others
    $(`#${button.dataset.tab}`).hidden = isPair || button.dataset.tab !== tab;
  }
  $("#pair").hidden = !isPair;
  document.title = isPair ? `${values.get("pair").slice(0, 8)} – X-Prompt data` : "X-Prompt data";
  if (isPair) { pair.show(values); return; }
  VIEWS[tab].show?.(values);
  pair.hide();
}

/** A picture that is not shown does not say why: the server is asked, once the datasets are not known to have changed. */
function askWhy({ target }) {
  if (shared || !(target instanceof HTMLImageElement) || !$("#changed").hidden) return;
  reach(target.src, (said) => said.ok ? said.blob() : said.json()).catch(() => {});  // all else is said where it is shown
}

async function start() {
  for (const button of document.querySelectorAll("nav button"))
    button.addEventListener("click", () => move({ tab: button.dataset.tab === "pairs" ? "" : button.dataset.tab, pair: "" }));
  $("nav").addEventListener("keydown", (event) => {
    const next = tabOf(event, [...document.querySelectorAll("nav button:not([hidden])")]);
    if (!next) return;
    event.preventDefault();
    next.click();
    next.focus();
  });
  $(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
  help.start();
  addEventListener("hashchange", show);
  addEventListener("error", askWhy, true);  // which does not bubble
  let datasets;
  try {
    datasets = await ask("overview");
  } catch (error) {
    $("main").replaceChildren(el("div", { class: "empty" }, el("h2", {}, "The datasets cannot be read"),
      el("p", { class: "error", role: "alert" }, error.message),
      el("p", {}, "When that is repaired: ", el("button", { type: "button", onclick: () => location.reload() }, "Reload the page"))));
    return;
  }
  const sum = (name) => datasets.reduce((total, dataset) => total + dataset[name], 0);
  $("#where").textContent = `${number(sum("pairs"))} pairs, ${number(sum("examples"))} examples, ${number(sum("rejects"))} rejects`;
  for (const part of [...Object.values(VIEWS), pair, filters, walk]) part.start?.(datasets);
  show();
}

start();
