// The view "Rejects": what was not kept, with small pictures of it, and what another bound of a score would keep.

import { move, state } from "./address.js";
import { $, ask, el, number, short, thumbnail } from "./dom.js";
import { histogram } from "./histogram.js";
import { pager, refill, table } from "./table.js";

let asked = 0, askedCounts = 0, askedBeside = 0;  // an answer that comes after a later question is dropped
let listed, drawn, plot;  // what the list, the histogram and the pairs beside it show
let tasks = [], chosen;  // the tasks, and the promise that their scores can be chosen
let next;  // what a handle that is being dragged wants counted; undefined when all is
let timer, lastSide = "low";

const given = (values, name) => { const text = values.get(name) ?? ""; return text === "" || !Number.isFinite(Number(text)) ? null : Number(text); };
const asText = (value) => value === null ? "" : `${value}`;
const scoresOf = (row) => Object.entries(row.scores).map(([name, value]) => el("span", { class: "chip" }, `${name} `, el("b", {}, `${short(value)}`)));

export async function show(values) {
  const task = values.get("rtask") ?? "", reason = values.get("reason") ?? "", score = values.get("rscore") ?? "";
  const low = given(values, "rlow"), high = given(values, "rhigh");
  $("#rscore").value = score ? JSON.stringify([task, score]) : "";
  await Promise.all([
    list({ task, reason, score: score && (low !== null || high !== null) ? score : "", min: asText(low), max: asText(high), page: values.get("rpage") ?? "" }),
    bound(task, score, reason, low, high),
    chosen ??= choices().catch(() => { chosen = undefined; }),  // the list says why; another visit asks again
  ]);
}

async function list(query) {
  const wanted = JSON.stringify(query);
  if (wanted === listed) return;
  const question = ++asked, panel = $("#rejects");
  try {
    const found = await ask("rejects", query);
    if (question !== asked) return;
    listed = wanted;
    refill($("#reasons"), table(["task", "operator", "reason", "items"],
      found.reasons.map((row) => [row.task, row.operator, el("div", { class: "why" }, el("span", {}, row.reason)), row.items]), (line, index) => {
        const row = found.reasons[index], chosen = row.task === query.task && row.reason === query.reason;
        line.className = chosen ? "chosen" : "";
        const does = chosen ? "Show all" : "Show these";
        $(".why", line).append(el("button", { type: "button", "aria-label": `${does}: ${row.task}, ${row.operator}, ${row.reason}`, onclick: () => {
          const kept = state().get("rtask") === row.task ? {} : { rscore: "", rlow: "", rhigh: "" };
          move({ ...kept, rtask: chosen && !state().get("rscore") ? "" : row.task, reason: chosen ? "" : row.reason, rpage: "" });
        } }, does));
        return line;
      }));
    $("#rejected-count").textContent = `${number(found.total)}${query.score ? ` with ${query.score} within the bounds` : ""}`;
    pager($(".pager", panel), Number(query.page), found.total, found.page_size, (target) => move({ rpage: target || "" }));
    $("#rejected").replaceChildren(...found.rows.length ? found.rows.map(reject) : empty(found));
  } catch (error) {
    if (question !== asked) return;
    listed = undefined;
    $("#rejected-count").textContent = "";
    $(".pager", panel).replaceChildren();
    $("#rejected").replaceChildren(el("div", { class: "empty" }, el("p", { class: "error", role: "alert" }, error.message), showAll()));
  }
}

const showAll = () => el("button", { type: "button", onclick: () => move({ rtask: "", reason: "", rscore: "", rlow: "", rhigh: "", rpage: "" }) }, "Show all rejects");

function empty({ reasons, total }) {
  if (!reasons.length) return [el("p", { class: "empty" }, "Nothing was rejected: each item of the sources that was read became a pair.")];
  return [el("div", { class: "empty" }, el("p", {}, total ? "There is no such page." : "No reject is left by this reason and these bounds."),
    showAll())];
}

function pictures(row) {
  if (!row.pictures.length) return el("p", { class: "none" }, row.operator === "choose"
    ? "No picture here: the pair was left out when this dataset was derived, and its pictures are in the dataset that it was derived from."
    : "No picture: no gate had seen it, or it cannot be decoded, or none were to be kept.");
  const address = (side) => `/reject/${[row.task, row.source_ref, side].map(encodeURIComponent).join("/")}`;
  return el("div", { class: "sides" }, row.pictures.map((picture) => el("figure", {},
    el("img", { src: address(picture.side), width: picture.width_px, height: picture.height_px, loading: "lazy", alt: `${picture.side} of ${row.source_ref}` }),
    el("figcaption", {}, picture.side))));
}

function reject(row) {
  return el("article", { class: "reject", "data-ref": row.source_ref }, pictures(row), el("div", { class: "body" },
    el("div", { class: "chips" }, [row.task, row.operator, row.reason].map((text) => el("span", { class: "chip" }, el("b", {}, text))), scoresOf(row)),
    row.message ? el("p", {}, row.message) : null,
    el("p", { class: "quiet" }, [row.source, row.source_ref, ...row.files.filter((file) => file !== row.source_ref)].join(" · "))));
}

function kept(row) {
  const roles = row.roles.includes("input") && row.roles.includes("target") ? ["input", "target"] : row.roles.slice(0, 2);
  return el("article", { class: "reject", "data-pair": row.pair }, el("a", { class: "sides", href: `#pair=${encodeURIComponent(row.pair)}` }, roles.map((role) => el("figure", {},
    el("img", { src: thumbnail(row.pair, role, 160), loading: "lazy", alt: `${role} of pair ${row.pair.slice(0, 8)}` }), el("figcaption", {}, role)))),
    el("div", { class: "body" }, el("div", { class: "chips" }, el("span", { class: "chip" }, el("b", {}, `${short(row.value)}`)))));
}

async function bound(task, score, reason, low, high) {
  const panel = $("#bound"), wanted = JSON.stringify([task, score, reason]);
  panel.hidden = !score;
  if (!score) { drawn = undefined; return; }
  const fields = $("#bounds").elements;
  for (const [name, value] of [["low", low], ["high", high]])
    if (fields[name] !== document.activeElement) fields[name].value = asText(value);
  if (wanted !== drawn) {
    drawn = wanted;
    plot = undefined;
    $("#histogram").replaceChildren();
  }
  plot?.set(low, high);
  const query = { task, score, reason, low, high }, found = await counted(query);
  if (found) await beside(query, found).catch(problem);
}

function problem(error) {
  const line = $("#bound .error");
  line.textContent = error.message;
  line.hidden = false;
}

/** Ask what bounds keep and say it; draw the histogram if it is another one. Null if a later question came between. */
async function counted(query) {
  const { low, high } = query, question = ++askedCounts;
  try {
    const found = await ask("histogram", { ...query, low: asText(low), high: asText(high) });
    if (question !== askedCounts) return null;
    $("#bound .error").hidden = true;
    if (!plot) {
      plot = histogram({ counts: found, bounds: found.bounds, low, high, onchange: moved });
      $("#histogram").replaceChildren(plot);
    }
    say(found, query);
    return found;
  } catch (error) {
    if (question === askedCounts) problem(error);
    return null;
  }
}

/** Count for the place where a handle is by now: places that it left while the server counted are passed over. */
async function follow(query) {
  const isCounting = next !== undefined;
  next = query;
  if (isCounting) return;
  for (let one; one !== next;) await counted(one = next);
  next = undefined;
}

/** A handle is moved: counts follow at once, the address and what is shown beside it when it is let go. */
function moved(low, high, side, done) {
  const values = state(), fields = $("#bounds").elements;
  lastSide = side;
  fields.low.value = asText(low);
  fields.high.value = asText(high);
  clearTimeout(timer);
  if (done) timer = setTimeout(() => move({ rlow: asText(low), rhigh: asText(high), rpage: "" }, true), 150);
  else follow({ task: values.get("rtask") ?? "", score: values.get("rscore") ?? "", reason: values.get("reason") ?? "", low, high });
}

const option = (bound, value) => bound.option ? `${bound.option} ${value}` : null;

function say(found, { task, score, reason, low, high }) {
  const { within, having, all } = found;
  $("#would-keep").replaceChildren(
    el("b", {}, `${number(within.kept)} of ${number(having.kept)}`), ` kept pairs and `,
    el("b", {}, `${number(within.rejected)} of ${number(having.rejected)}`), ` rejects${reason ? ` (${reason})` : ""} that have the score are within the bounds.`);
  const without = [["kept pairs", all.kept - having.kept], ["rejects", reason ? 0 : all.rejected - having.rejected]]
    .filter(([, count]) => count).map(([name, count]) => `${name}: ${number(count)}`);
  $("#would-not").textContent = `${without.length ? `Without ${score}, and not counted: ${without.join(", ")}. ` : ""}` +
    "A reject within the bounds may have been rejected for another score, and later gates have not seen it.";
  $("#by-reason").replaceChildren(...(found.reasons.length ? [table(["operator", "reason", "with the score", "within the bounds"],
    found.reasons.map((row) => [row.operator, row.reason, row.having, row.within]))] : []));
  const literal = (text) => `'${text.replaceAll("'", "''")}'`;
  const at = `scores[${literal(score)}]`;
  const condition = low !== null && high !== null ? `${at} BETWEEN ${low} AND ${high}` : low !== null ? `${at} >= ${low}` : high !== null ? `${at} <= ${high}` : `${at} IS NOT NULL`;
  $("#as-sql").value = `SELECT pair FROM pairs WHERE task = ${literal(task)} AND ${condition}`;
  const options = [], why = [];
  for (const [side, value] of [["low", low], ["high", high]]) {
    if (value === null) continue;
    const gates = found.bounds.filter((one) => one.side === side), typed = gates.map((one) => option(one, value)).find(Boolean);
    if (typed) options.push(typed);
    else why.push(gates.length
      ? `No option sets the ${side === "low" ? "lower" : "upper"} bound: ${gates.map((one) => one.parameter
        ? `it is the parameter ${one.parameter} (${short(one.value)}) of the gate ${one.operator}` : `it is a Bound (${short(one.value)}) of the operator ${one.operator}`).join(", ")}, in the task's record.`
      : `No gate of the task has a${side === "low" ? " lower" : "n upper"} bound of ${score}.`);
  }
  $("#as-option").value = options.join(" ");
  $("#as-option").parentElement.hidden = !options.length;
  $("#no-option").textContent = options.length || why.length ? [...why, ...(options.length ? ["Type the option behind the command that made the dataset, with another --out."] : why.length ? ["Use the SQL."] : [])].join(" ") : "Move a bound to write it as an option or as SQL.";
}

async function beside({ task, score, reason, low, high }, found) {
  const question = ++askedBeside;
  const bounds = found.bounds.map((one) => one.value), at = (lastSide === "high" ? high ?? low : low ?? high) ?? bounds[0] ?? found.edges[0];
  const answer = await ask("beside", { task, score, reason, at: `${at}` });
  if (question !== askedBeside) return;
  $("#nearest").textContent = `Nearest ${score} ${short(at)}`;
  $("#kept-beside").replaceChildren(...answer.kept.map(kept), ...(answer.kept.length ? [] : [el("p", { class: "empty" }, "No kept pair has the score.")]));
  $("#rejected-beside").replaceChildren(...answer.rejected.map(reject), ...(answer.rejected.length ? [] : [el("p", { class: "empty" }, "No reject has the score.")]));
}

export function start(datasets) {
  const bounds = $("#bounds");
  bounds.addEventListener("submit", (event) => event.preventDefault());
  bounds.addEventListener("change", (event) => {
    lastSide = event.target.name;
    move({ rlow: bounds.elements.low.value, rhigh: bounds.elements.high.value, rpage: "" }, true);
  });
  bounds.addEventListener("reset", () => move({ rlow: "", rhigh: "", rpage: "" }, true));
  for (const button of document.querySelectorAll("#bound [data-copy]"))
    button.addEventListener("click", async () => {
      const field = $(`#${button.dataset.copy}`);
      field.select();
      await navigator.clipboard.writeText(field.value).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Press Ctrl+C"; });
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  $("#rscore").addEventListener("change", (event) => {
    const [task, score] = event.target.value ? JSON.parse(event.target.value) : [state().get("rtask") ?? "", ""];
    const same = task === state().get("rtask");
    move({ rtask: task, rscore: score, rlow: "", rhigh: "", rpage: "", ...(same ? {} : { reason: "" }) });
  });
  tasks = datasets.map((dataset) => dataset.task);
}

/** The scores that can be chosen; asked for when the view is first shown, so that it takes no time from another. */
async function choices() {
  const [pairs, found] = await Promise.all([ask("scores"), ask("rejects")]), names = new Map(tasks.map((task) => [task, new Set()]));
  for (const { task, name } of [...found.scores, ...pairs]) names.get(task)?.add(name);
  $("#rscore").append(...tasks.filter((task) => names.get(task).size).map((task) => el("optgroup", { label: task },
    [...names.get(task)].sort().map((name) => el("option", { value: JSON.stringify([task, name]) }, name)))));
  const score = state().get("rscore");
  if (score) $("#rscore").value = JSON.stringify([state().get("rtask") ?? "", score]);
}
