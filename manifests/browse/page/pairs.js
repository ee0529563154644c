// The view "Pairs": filters, and what they leave, as cards.

import { move, state } from "./address.js";
import { card } from "./card.js";
import { asked as decidedAs, counted, watch } from "./decisions.js";
import { $, ask, el, facts, number, short } from "./dom.js";
import { pager } from "./table.js";

let scores = [];
let asked = 0;  // an answer that comes after a later question is dropped
let answered;  // what the cards show: another layout or a visit to another tab leaves them, and what is open in them, alone
const FILTERS = ["task", "direction", "kind", "text", "score", "min", "max", "order", "decision", "page"];

function fillScores(filters) {
  const chosen = state().get("score") ?? "", task = filters.task.value;
  const names = [...new Set(scores.filter((score) => !task || score.task === task).map((score) => score.name))];
  if (chosen && !names.includes(chosen)) names.push(chosen);
  filters.score.replaceChildren(el("option", { value: "" }, "any"), ...names.map((name) => el("option", {}, name)));
  filters.score.value = chosen;
  const ranges = scores.filter((score) => score.name === chosen && (!task || score.task === task));
  filters.min.placeholder = ranges.length ? short(Math.min(...ranges.map((score) => score.min))) : "";
  filters.max.placeholder = ranges.length ? short(Math.max(...ranges.map((score) => score.max))) : "";
  for (const name of ["min", "max", "order"]) filters[name].disabled = !chosen;
}

export async function show(values) {
  const layout = values.get("layout") === "side" ? "side" : "slider";
  for (const button of $("#layout").children) button.setAttribute("aria-pressed", button.dataset.layout === layout);
  $("#cards").classList.toggle("side", layout === "side");
  const query = Object.fromEntries(FILTERS.map((name) => [name, values.get(name) ?? ""])), wanted = JSON.stringify(query);
  if (wanted === answered) return;
  const question = ++asked, filters = $("#filters").elements;
  for (const name of FILTERS) {
    const field = filters[name], typing = field === document.activeElement && field.matches("input");
    if (field && !typing) field.value = query[name];
  }
  fillScores(filters);
  const panel = $("#pairs"), count = $("#count");
  try {
    const found = await ask("examples", { ...query, ...decidedAs(query.decision) });
    if (question !== asked) return;
    answered = wanted;
    count.textContent = `${number(found.total)} examples`;
    count.className = "";
    pager($(".pager", panel), Number(query.page), found.total, found.page_size, (target) => move({ page: target || "" }));
    $("#cards").replaceChildren(...found.rows.map(card), ...(found.rows.length ? [] : [el("p", { class: "empty" }, "No example matches.")]));
  } catch (error) {
    if (question !== asked) return;
    count.textContent = error.message;
    count.className = "error";
    $("#cards").replaceChildren();
  }
}

export async function start(datasets) {
  watch((answer) => { $("#decided").textContent = counted(answer.counts); });
  for (const button of $("#layout").children)
    button.addEventListener("click", () => move({ layout: button.dataset.layout === "side" ? "side" : "" }));
  const filters = $("#filters");
  filters.addEventListener("submit", (event) => event.preventDefault());
  let typing;
  filters.addEventListener("input", (event) => {
    const fields = filters.elements, typed = event.target.matches("input");
    if (event.target === fields.score) fields.min.value = fields.max.value = "";
    if (!fields.score.value) fields.order.value = "";
    clearTimeout(typing);
    typing = setTimeout(() => move(Object.fromEntries(FILTERS.map((name) => [name, fields[name]?.value ?? ""])), typed), typed ? 300 : 0);
  });
  filters.addEventListener("reset", () => move(Object.fromEntries(FILTERS.map((name) => [name, ""]))));
  filters.elements.task.append(...datasets.map((dataset) => el("option", {}, dataset.task)));
  $("#totals").append(el("h2", {}, "Datasets"), ...datasets.map((dataset) => facts([
    [dataset.task, `${number(dataset.pairs)} pairs`],
    ["", ""], ["units", dataset.finished ? `${number(dataset.units)}, finished` : `${number(dataset.committed)} of ${number(dataset.units)} so far`],
    ["size", `${number(Math.round(dataset.shard_bytes / 2 ** 20))} MiB`]])));
  scores = await ask("scores");
  fillScores(filters.elements);
}
