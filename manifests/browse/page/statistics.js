// The view "Statistics": what is in the datasets, counted. What is counted leads to the pairs: by the filters of the
// view "Pairs" where it has one, by a query where it has none.

import { move, toPair } from "./address.js";
import { $, ask, el, number, shared, short } from "./dom.js";
import { table } from "./table.js";

let asked = 0;  // answers that come after a later question are dropped
let answered;  // the task whose statistics are shown

const quoted = (value) => `'${value.replaceAll("'", "''")}'`;
const ofTask = (task) => task ? `task = ${quoted(task)}` : "true";
const size = (bytes) => bytes < 2 ** 20 ? `${number(Math.round(bytes / 2 ** 10))} KiB` : `${number(Math.round(bytes / 2 ** 20))} MiB`;
const range = (low, high) => low === high ? short(low) : `${short(low)} to ${short(high)}`;

/** A link to what the address says; text alone on a page that holds a sample of what was counted. */
function link(address, ...children) {
  if (shared) return el("span", {}, ...children);
  const said = Object.entries(address).filter(([, value]) => value !== "");
  return el("a", { href: `#${new URLSearchParams(said)}` }, ...children);
}
const query = (sql) => ({ tab: "sql", query: sql });

/** Bars of {place, count, label, address}, each a link; a place that none has is left empty. */
function bars(all, what) {
  const most = Math.max(...all.map((bar) => bar.count)), places = new Map(all.map((bar) => [bar.place, bar]));
  const last = Math.max(-1, ...places.keys());
  return el("ol", { class: "bars" }, Array.from({ length: last + 1 }, (_, place) => {
    const bar = places.get(place);
    if (!bar) return el("li", { "aria-hidden": "true" });
    const fill = el("span", { class: "bar-fill" }), name = `${bar.label}: ${number(bar.count)} ${what}`;
    fill.style.height = `${Math.max(2, 100 * bar.count / most)}%`;
    const whole = link(bar.address, fill);
    whole.title = name;
    whole.setAttribute("aria-label", name);
    if (shared) whole.setAttribute("role", "img");
    return el("li", {}, whole);
  }));
}

function figure(title, total, all, what, ...ends) {
  return el("figure", { class: "histogram" }, el("figcaption", {}, el("b", {}, title), ` ${total}`), bars(all, what),
    el("div", { class: "ends quiet" }, ends.map((end) => el("span", {}, end))));
}

/** A table that is scrolled where it has no room, by keys too. */
const sheet = (columns, rows) => el("div", { class: "sheet", role: "group", tabindex: 0, "aria-label": columns.join(", ") }, table(columns, rows));

const ends = (one) => [`min ${short(one.min)}`, `median ${short(one.median)}`, `max ${short(one.max)}`];

const PARTS = {
  counts: ["Counts", (found, task) => [
    sheet(["task", "pairs", "examples"], found.pairs.map((row) => [link({ task: row.task }, row.task), row.pairs, row.examples])),
    sheet(["direction", "kind", "examples"], found.examples.map((row) => [
      link({ task, direction: row.direction }, row.direction), link({ task, direction: row.direction, kind: row.kind }, row.kind), row.examples])),
    found.rejects.length ? sheet(["task", "rejected by", "reason", "items"], found.rejects.map((row) => [
      row.task, row.operator, link({ tab: "rejects", rtask: row.task, reason: row.reason }, row.reason), row.items]))
      : el("p", { class: "quiet" }, "Nothing was rejected.")]],
  scores: ["Scores", (found, task) => found.length ? found.map((score) => figure(score.name,
    `${number(score.pairs)} pairs${score.not_finite ? `, and ${number(score.not_finite)} without a finite number` : ""}`,
    score.bins.map((bin) => ({ place: bin.bin, count: bin.count, label: range(bin.low, bin.high),
      address: { task, score: score.name, min: `${bin.low}`, max: `${bin.high}` } })), "pairs", ...ends(score)))
    : [el("p", { class: "quiet" }, "The pairs have no scores: no step of the task measures one.")]],
  lengths: ["Lengths in words", (found, task) => found.map((one) => figure(`${one.what}, ${one.kind}`, `${number(one.examples)} examples`,
    one.bins.map((bin) => ({ place: (bin.low - one.min) / (bin.high - bin.low + 1), count: bin.count, label: `${range(bin.low, bin.high)} words`, address: query(
      `SELECT pair, direction, ${column(one)}\nFROM examples WHERE ${ofTask(task)} AND kind = ${quoted(one.kind)}\n` +
      `  AND len(regexp_extract_all(${column(one)}, '${WORD}')) BETWEEN ${bin.low} AND ${bin.high}`) })), "examples", ...ends(one)))],
  instructions: ["Most frequent instructions", (found, task) => [
    el("p", { class: "quiet" }, `${number(found.distinct)} different instructions.`),
    sheet(["instruction", "examples"], found.frequent.map((row) => [
      row.instruction.length <= MOST_TEXT ? link({ task, text: row.instruction }, row.instruction)
        : link(query(`SELECT pair, direction, kind FROM examples WHERE ${ofTask(task)} AND md5(instruction) = ${quoted(row.md5)}`),
          `${row.instruction.slice(0, MOST_TEXT)}…`), row.examples]))]],
  images: ["Images", (found, task) => [
    sheet(["role", "images", "size", "width, px", "height, px", "different sizes", "formats"], found.roles.map((row) => [
      row.role, row.images, size(row.bytes), `${range(row.min_width_px, row.max_width_px)}, median ${short(row.median_width_px)}`,
      `${range(row.min_height_px, row.max_height_px)}, median ${short(row.median_height_px)}`, row.sizes, row.formats.join(", ")])),
    el("h3", {}, "Most frequent sizes"),
    sheet(["role", "width × height, px", "images"], found.sizes.map((row) => [row.role, link(query(
      `SELECT pair, image.role FROM (SELECT pair, unnest(images) AS image FROM pairs WHERE ${ofTask(task)})\n` +
      `WHERE image.role = ${quoted(row.role)} AND image.width_px = ${row.width_px} AND image.height_px = ${row.height_px}`),
    `${number(row.width_px)} × ${number(row.height_px)}`), row.images])),
    el("h3", {}, "Images that several pairs have"),
    el("p", {}, `Of the same bytes: ${number(found.same_bytes.images)} images in ${number(found.same_bytes.groups)} groups. ` +
      `Of the same perceptual hash: ${number(found.same_hash.images)} in ${number(found.same_hash.groups)}; ` +
      `${number(found.without_hash)} flat images have none. Masks are left out. `, el("code", {}, "xprompt dups"), " finds those that are nearly the same."),
    found.alike.length ? sheet(["perceptual hash", "images", "pairs"], found.alike.map((row) => [link(query(
      `SELECT pair, task, image.role FROM (SELECT pair, task, unnest(images) AS image FROM pairs WHERE ${ofTask(task)})\n` +
      `WHERE image.role <> 'mask' AND image.phash = ${quoted(row.phash)}`), row.phash), row.images, row.pairs])) : null]],
  contexts: ["In-context examples", (found, task) => [
    sheet(["chosen by", "examples"], found.methods.map((row) => [row.method === null ? "none" : row.method, row.examples])),
    figure("how many pairs a pair serves", found.from_elsewhere ? `(${number(found.from_elsewhere)} pairs are served from other datasets)` : "",
      found.reuse.map((bin, place) => ({ place, count: bin.pairs, label: `serves ${range(bin.low, bin.high)}`, address: query(
        `SELECT pairs.pair, count(shown.pair) AS serves FROM pairs LEFT JOIN (\n` +
        `  SELECT DISTINCT task, pair, c.pair AS context FROM (SELECT task, pair, unnest(contexts) AS c FROM examples)\n` +
        `  WHERE c.dataset IS NULL) AS shown ON shown.task = pairs.task AND shown.context = pairs.pair\n` +
        `WHERE ${task ? `pairs.${ofTask(task)}` : "true"} GROUP BY pairs.task, pairs.pair\nHAVING serves BETWEEN ${bin.low} AND ${bin.high} ORDER BY serves DESC`) })),
      "pairs", ...found.reuse.length ? [`${number(found.reuse[0].low)}`, `${number(found.reuse.at(-1).high)}`] : []),
    found.most.length ? sheet(["most used pair", "serves"], found.most.map((row) => [shared ? row.pair : el("a", toPair(row.pair), row.pair), row.times])) : null]],
  licences: ["Licences", (found, task) => [sheet(["source", "licence as stated", "records", "commercial", "research", "train", "train a competitor", "pairs"],
    found.map((row) => [row.source, link(query(`SELECT pair, task, licences FROM terms WHERE ${ofTask(task)}\n` +
      `  AND source = ${quoted(row.source)} AND licence = ${quoted(row.licence)}`), row.licence || "none stated"), row.licences.join(", "),
    ...["commercial", "research", "train", "train_competing"].map((use) => row[use] === null ? "not said" : row[use] ? "yes" : "no"), row.pairs]))]],
};
const WORD = String.raw`[^\s\v\x1c-\x1f\x85\pZ]+`;  // manifests/browse/statistics.py
const MOST_TEXT = 500;  // characters that the filter of texts takes
const column = (one) => one.what === "answer" ? "text" : "instruction";

export function show(values) {
  const task = values.get("stask") ?? "";
  $("#counted-task").value = task;
  if (task === answered) return;
  answered = task;
  const question = ++asked;
  $("#counted").replaceChildren(...Object.entries(PARTS).map(([part, [title, shown]]) => {
    const body = el("div", { class: "counted-body" }, el("p", { class: "quiet" }, "counting …"));
    ask("statistics", { task, part }).then((found) => shown(found[part], task)).then((elements) => {
      if (question === asked) body.replaceChildren(...elements.filter(Boolean));
    }).catch((error) => {
      body.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
      if (question === asked) answered = undefined;  // another visit asks again
    });
    return el("section", { "data-part": part }, el("h2", {}, title), body);
  }));
}

export function start(datasets) {
  $("#counted-task").append(...datasets.map((dataset) => el("option", {}, dataset.task)));
  $("#counted-task").addEventListener("change", (event) => move({ stask: event.target.value }));
}
