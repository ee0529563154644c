// The view "Pairs": filters, and what they leave, as cards.

import { move, state } from "./address.js";
import { card } from "./card.js";
import { asked as decidedAs, counted, watch } from "./decisions.js";
import { $, ask, el, facts, number, shared, short } from "./dom.js";
import { pager } from "./table.js";

let datasets = [];
let scores;  // asked for when the first cards are there
let asked = 0;  // an answer that comes after a later question is dropped
let answered;  // what the cards show: a visit to another tab leaves them, and what is open in them, alone
const FILTERS = ["task", "direction", "kind", "text", "score", "min", "max", "order", "decision", "page"];

function fillScores(filters) {
  const chosen = state().get("score") ?? "", task = filters.task.value;
  const known = scores ?? [];
  const names = [...new Set(known.filter((score) => !task || score.task === task).map((score) => score.name))];
  if (chosen && !names.includes(chosen)) names.push(chosen);
  filters.score.replaceChildren(el("option", { value: "" }, "any"), ...names.map((name) => el("option", {}, name)));
  filters.score.value = chosen;
  const ranges = known.filter((score) => score.name === chosen && (!task || score.task === task));
  filters.min.placeholder = ranges.length ? short(Math.min(...ranges.map((score) => score.min))) : "";
  filters.max.placeholder = ranges.length ? short(Math.max(...ranges.map((score) => score.max))) : "";
  for (const name of ["min", "max", "order"]) filters[name].disabled = !chosen;
}

async function askScores(filters) {
  scores = [];
  try { scores = await ask("scores"); } catch { scores = undefined; return; }  // asked again with the next cards
  fillScores(filters);
}

const press = (text, act) => el("button", { type: "button", onclick: act }, text);
const clear = () => move(Object.fromEntries(FILTERS.map((name) => [name, ""])));

/** What is said where no card can be shown, and what to do about it. */
function empty(query, found) {
  const tasks = datasets.map((dataset) => dataset.task), say = (head, ...more) => [el("div", { class: "empty" }, el("h2", {}, head), more)];
  if (query.task && !tasks.includes(query.task))
    return say(`There is no task “${query.task}” here`, el("p", {}, tasks.length ? "There are:" : "There is none yet."),
      el("p", { class: "choices" }, tasks.map((task) => press(task, () => move({ task, page: "" }))), press("all tasks", () => move({ task: "", page: "" }))));
  if (found.total) {
    const last = Math.ceil(found.total / found.page_size);
    return say(`There is no page ${number(Number(query.page) + 1)}`, el("p", {}, `These filters leave ${number(found.total)} pairs, on ${number(last)} pages.`),
      el("p", { class: "choices" }, press("First page", () => move({ page: "" })), press("Last page", () => move({ page: last - 1 }))));
  }
  if (FILTERS.some((name) => query[name] && name !== "page"))
    return say("No pair matches these filters", el("p", {}, query.text ? "Text is looked for as it is written, in instructions and in answers; upper and lower case are the same." : "Fewer filters leave more."),
      press("Clear filters", clear));
  return say("No pair is committed yet", el("p", {}, "A run commits its pairs shard by shard. Reload the page to see what has been committed since."));
}

export async function show(values) {
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
    const found = await ask("pairs", { ...query, ...decidedAs(query.decision) });
    if (question !== asked) return;
    answered = wanted;
    count.textContent = `${number(found.total)} ${found.total === 1 ? "pair" : "pairs"}`;
    count.className = "";
    pager($(".pager", panel), Number(query.page), found.total, found.page_size, (target) => move({ page: target || "" }));
    $("#cards").replaceChildren(...(found.rows.length ? found.rows.map(card) : empty(query, found)));
    if (!scores) askScores(filters);
  } catch (error) {
    if (question !== asked) return;
    answered = undefined;
    count.textContent = "";
    $(".pager", panel).replaceChildren();
    $("#cards").replaceChildren(el("div", { class: "empty" }, el("h2", {}, "The pairs cannot be shown"),
      el("p", { class: "error", role: "alert" }, error.message), press("Clear filters", clear)));
  }
}

export function start(all) {
  datasets = all;
  if (shared) $("#filters").elements.decision.closest("label").hidden = $("#decided").hidden = true;
  watch((answer) => { $("#decided").textContent = counted(answer.counts); });
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
  filters.addEventListener("reset", clear);
  filters.elements.task.append(...datasets.map((dataset) => el("option", {}, dataset.task)));
  $("#totals").append(el("h2", {}, "Datasets"), ...datasets.map((dataset) => facts([
    [dataset.task, `${number(dataset.pairs)} pairs`],
    ["", ""], ["units", dataset.finished ? `${number(dataset.units)}, finished` : `${number(dataset.committed)} of ${number(dataset.units)} so far`],
    ["size", `${number(Math.round(dataset.shard_bytes / 2 ** 20))} MiB`]])));
}
