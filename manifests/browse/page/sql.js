// The view "SQL": a query, which the address holds, its rows or its error, and the schema beside it.

import { move, state, toPair } from "./address.js";
import { $, ask, el, number, reach } from "./dom.js";
import { act } from "./keys.js";
import { table } from "./table.js";

const SAMPLES = {
  "Which model, prompt and seed made what?":
    "SELECT step.operator, step.version, step.model, step.model_revision, step.prompt, count(*) AS pairs\n" +
    "FROM (SELECT unnest(steps) AS step FROM pairs) GROUP BY ALL ORDER BY pairs DESC",
  "Instructions by frequency": "SELECT instruction, count(*) AS examples FROM examples GROUP BY ALL ORDER BY examples DESC LIMIT 50",
  "Scores of kept pairs":
    "SELECT task, score.key AS score, count(*) AS pairs, min(score.value) AS min, median(score.value) AS median, max(score.value) AS max\n" +
    "FROM (SELECT task, unnest(map_entries(scores)) AS score FROM pairs) GROUP BY ALL ORDER BY ALL",
  "Image sizes and formats":
    "SELECT image.role, image.format, image.mode, image.width_px, image.height_px, count(*) AS images\n" +
    "FROM (SELECT unnest(images) AS image FROM pairs) GROUP BY ALL ORDER BY images DESC LIMIT 50",
  "Licences": "SELECT source, licence, count(DISTINCT pair) AS pairs FROM examples GROUP BY ALL ORDER BY pairs DESC",
  "Columns of examples": "DESCRIBE examples",
};
const MOST_BEFORE = 60, MOST_AFTER = 200;  // characters of a line that are shown around an error

let asked = 0;  // an answer that comes after a later question is dropped
let answered;  // the query whose rows or error are shown: a visit to another tab leaves them alone
let typed = false;  // whether somebody is at the text: then an error is selected in it

const text = () => $("#query").elements.query;

async function run(query) {
  const question = ++asked, output = $("output", $("#sql"));
  answered = query;
  clear();
  output.textContent = "running …";
  const start = performance.now();
  try {
    const answer = await ask("sql", { query });
    if (question !== asked) return;
    const time = `${((performance.now() - start) / 1000).toFixed(2)} s`, rows = `${number(answer.rows.length)} rows`;
    output.textContent = answer.truncated ? `the first ${rows}, ${time}` : `${rows}, ${time}`;
    const keys = answer.columns.map((name) => name === "pair");
    const shown = answer.rows.map((row) => row.map((value, column) => keys[column] && typeof value === "string" ? link(value) : value));
    $("#result").replaceChildren(table(answer.columns, shown), ...(shown.length ? [] : [el("p", { class: "empty" }, "The query is right, and no row is as it asks for.")]));
    $("#result").hidden = false;
  } catch (error) {
    if (question === asked) fail(error, query);
  }
}

const link = (pair) => el("a", { ...toPair(pair), class: "mono" }, pair);

function clear() {
  const panel = $("#sql");
  $("output", panel).textContent = "";
  for (const part of [$(".error", panel), $("#place"), $("#result")]) part.hidden = true;
}

/** Say what is wrong and where: in the line, by its number, and in the text itself. */
function fail(error, query) {
  clear();
  const problem = $(".error", $("#sql"));
  problem.textContent = error.message;
  problem.hidden = false;
  if (!error.place) return;
  const characters = [...query], [first, end] = error.place;  // not UTF-16: the place counts characters
  const before = characters.slice(0, first).join(""), marked = characters.slice(first, end).join(""), after = characters.slice(end).join("");
  const head = before.slice(before.lastIndexOf("\n") + 1), tail = after.split("\n", 1)[0];
  const line = before.split("\n").length, column = [...head].length + 1;
  $("#place").replaceChildren(`line ${line}, column ${column}\n`, ...cut(head, true), el("mark", {}, marked || " "), ...cut(tail, false));
  $("#place").hidden = false;
  if (!typed || text().value !== query) return;
  text().focus();
  text().setSelectionRange(before.length, before.length + marked.length);
}

function cut(part, fromEnd) {
  if (fromEnd) return part.length > MOST_BEFORE ? ["…", part.slice(-MOST_BEFORE)] : [part];
  return part.length > MOST_AFTER ? [part.slice(0, MOST_AFTER), "…"] : [part];
}

function submit(event) {
  event.preventDefault();
  typed = true;
  const query = text().value;
  if (state().get("query") === query) run(query); else move({ tab: "sql", query });
}

async function save(form) {
  const query = text().value, output = $("output", $("#sql"));
  typed = true;
  clear();
  output.textContent = "writing …";
  try {
    const [response, rows] = await reach(`/api/sql.${form}?${new URLSearchParams({ query })}`, (said) => said.ok ? said.blob() : said.json());
    if (!response.ok) throw Object.assign(new Error(rows.error), { place: rows.place });
    const address = URL.createObjectURL(rows);
    el("a", { href: address, download: `rows.${form}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    output.textContent = `rows.${form}: ${number(rows.size)} bytes`;
    $("#result").hidden = $("#result").childElementCount === 0 || answered !== query;
  } catch (error) {
    fail(error, query);
  }
}

function insert(name) {
  const field = text();
  field.setRangeText(name, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

async function showSchema() {
  const name = (text, kind) => el("button", { type: "button", class: `mono ${kind}`, title: `insert ${text}`, onclick: () => insert(text) }, text);
  const views = await ask("schema");
  $("#schema").replaceChildren(...views.map((view, index) => el("details", index ? {} : { open: "" },
    el("summary", {}, el("b", {}, view.view), el("span", { class: "quiet" }, ` ${view.meaning}`)),
    el("div", { class: "columns" }, name(view.view, "view"), view.columns.map((column) => el("div", {},
      name(column.name, "column"), el("span", {}, column.meaning), el("code", { class: "quiet" }, column.type)))))));
}

export function show(values) {
  if ($("#schema").childElementCount === 0)
    showSchema().catch((error) => $("#schema").replaceChildren(el("p", { class: "error", role: "alert" }, error.message)));
  const query = values.get("query");
  if (query === null || query === answered) return;
  text().value = query;
  run(query);
}

export function start() {
  $("#query").addEventListener("submit", submit);
  text().value = Object.values(SAMPLES)[0];
  $("#query").addEventListener("keydown", (event) => { if (act("text", event) === "run") submit(event); });
  for (const button of document.querySelectorAll("#query [data-form]")) button.addEventListener("click", () => save(button.dataset.form));
  $("#samples").append(...Object.keys(SAMPLES).map((name) => el("option", {}, name)));
  $("#samples").addEventListener("change", (event) => {
    if (event.target.value) text().value = SAMPLES[event.target.value];
    event.target.value = "";
  });
}
