// The view "Pairs": filters, and what they leave, as cards.

import { move, state } from "./address.js";
import { card } from "./card.js";
import { asked as decidedAs, counted, goesBy, watch } from "./decisions.js";
import { $, ask, el, facts, number, shared, short } from "./dom.js";
import { pager } from "./table.js";

let datasets = [];
let scores;  // asked for when the first cards are there
let asked = 0;  // an answer that comes after a later question is dropped
let typing;  // the timer of what is typed and not yet in the address
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

const say = (head, ...more) => [el("div", { class: "empty" }, el("h2", {}, head), more)];

const isNoTask = (task) => task && !datasets.some((dataset) => dataset.task === task);
const noTask = (wrong) => say(`There is no task “${wrong}” here`, el("p", {}, "There are:"), el("p", { class: "choices" },
  datasets.map(({ task }) => press(task, () => move({ task, page: "" }))), press("all tasks", () => move({ task: "", page: "" }))));

/** What is said where no card can be shown, and what to do about it. */
function empty(query, found) {
  if (isNoTask(query.task)) return noTask(query.task);
  if (found.total) {
    const last = Math.ceil(found.total / found.page_size);
    return say(`There is no page ${number(Number(query.page) + 1)}`, el("p", {}, `These filters leave ${number(found.total)} pairs, on ${number(last)} pages.`),
      el("p", { class: "choices" }, press("First page", () => move({ page: "" })), press("Last page", () => move({ page: last - 1 }))));
  }
  const read = datasets.filter(({ task }) => !query.task || task === query.task);
  const sum = (name) => read.reduce((total, dataset) => total + dataset[name], 0);
  if (!sum("pairs") && sum("rejects"))
    return say("No pair was kept", el("p", {}, `Rejected: ${number(sum("rejects"))}. None became a pair so far.`),
      press("Show why", () => move({ tab: "rejects", rtask: query.task })));
  if (FILTERS.some((name) => query[name] && name !== "page"))
    return say("No pair matches these filters", el("p", {}, query.text ? "Text is looked for as it is written, in instructions and in answers; upper and lower case are the same." : "Fewer filters leave more."),
      press("Clear filters", clear));
  return say("No pair is committed yet", el("p", {}, "A run commits its pairs shard by shard. Reload the page to see what has been committed since."));
}

/** Go to another page. Where pairs of this one no longer go by the filter, those behind them have moved up: then this
 *  page is shown anew before the next one, or as many pairs would be passed over. */
function turn(query, target) {
  const isBehind = target > Number(query.page), pairs = [...document.querySelectorAll("#cards .card")].map((one) => one.dataset.pair);
  if (!isBehind || !query.decision || pairs.every((pair) => goesBy(pair, query.decision))) { move({ page: target || "" }); return; }
  answered = undefined;
  show(state());
}

export async function show(values) {
  const query = Object.fromEntries(FILTERS.map((name) => [name, values.get(name) ?? ""]));
  const said = { ...query, ...decidedAs(query.decision) }, wanted = JSON.stringify(said);
  if (wanted === answered) return;
  const question = ++asked, filters = $("#filters").elements;
  for (const name of FILTERS) {
    const field = filters[name];
    if (field && !typing && field.value !== query[name]) field.value = query[name];
  }
  fillScores(filters);
  const panel = $("#pairs"), count = $("#count");
  try {
    const found = await ask("pairs", said);
    if (question !== asked) return;
    answered = wanted;
    count.textContent = `${number(found.total)} ${found.total === 1 ? "pair" : "pairs"}`;
    count.className = "";
    pager($(".pager", panel), Number(query.page), found.total, found.page_size, (target) => turn(query, target));
    $("#cards").replaceChildren(...(found.rows.length ? found.rows.map(card) : empty(query, found)));
    if (!scores) askScores(filters);
  } catch (error) {
    if (question !== asked) return;
    answered = undefined;
    count.textContent = "";
    $(".pager", panel).replaceChildren();
    $("#cards").replaceChildren(...isNoTask(query.task) ? noTask(query.task) : [el("div", { class: "empty" }, el("h2", {}, "The pairs cannot be shown"),
      el("p", { class: "error", role: "alert" }, error.message), press("Clear filters", clear))]);
  }
}

export function start(all) {
  datasets = all;
  if (shared) $("#filters").elements.decision.closest("label").hidden = $("#decided").hidden = true;
  watch((answer) => { $("#decided").textContent = counted(answer.counts); });
  const filters = $("#filters");
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", (event) => {
    const fields = filters.elements, typed = event.target.matches("input");
    if (event.target === fields.score) fields.min.value = fields.max.value = "";
    if (!fields.score.value) fields.order.value = "";
    clearTimeout(typing);
    typing = setTimeout(() => { typing = undefined; move(Object.fromEntries(FILTERS.map((name) => [name, fields[name]?.value ?? ""])), typed); }, typed ? 300 : 0);
  });
  filters.addEventListener("reset", clear);
  filters.elements.task.append(...datasets.map((dataset) => el("option", {}, dataset.task)));
  $("#totals").append(el("h2", {}, "Datasets"), ...datasets.map((dataset) => facts([
    [dataset.task, `${number(dataset.pairs)} pairs`],
    ["", ""], ["units", dataset.finished ? `${number(dataset.units)}, finished` : `${number(dataset.committed)} of ${number(dataset.units)} so far`],
    ["size", `${number(Math.round(dataset.shard_bytes / 2 ** 20))} MiB`]])));
}
