// The page of one pair, at #pair=<key>: all that is stored of it, and which pairs are like it.

import { move, state, toPair } from "./address.js";
import { compare } from "./compare.js";
import { controls } from "./decisions.js";
import { $, ask, el, facts, number, onDisk, picture, shared, short } from "./dom.js";
import { contexts, examples, rolesOf, small } from "./examples.js";
import { actAnywhere } from "./keys.js";
import { named } from "./named.js";
import { provenance } from "./provenance.js";

let shown;  // the key of the pair that is shown
let left;  // where the list was scrolled to when it was left

const close = () => move({ pair: "" });

function section(name, ...content) {
  const id = `pair-${name.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return el("section", { class: "about", "aria-labelledby": id }, el("h3", { id }, name), content);
}

/** A section whose content is asked for, and which says so meanwhile; none on a page that has nobody to ask. */
function asked(name, path, fill) {
  if (shared) return [];
  const place = el("div", { "aria-live": "polite" }, el("p", { class: "quiet" }, "Looking …"));
  ask(path).then((found) => place.replaceChildren(...[fill(found)].flat()))
    .catch((error) => place.replaceChildren(el("p", { class: "error", role: "alert" }, error.message)));
  return section(name, place);
}

const none = (text) => el("p", { class: "quiet" }, text);

/** Other pairs as tiles: a picture, and what `say` says of each. */
function tiles(rows, say) {
  return el("ul", { class: "tiles" }, rows.map((row) => {
    const link = el("a", { class: "pictures", ...toPair(row.pair), "aria-label": `Pair ${row.pair}` }, el("p", { class: "quiet" }, "…"));
    named(row.pair).then((pair) => {
      link.setAttribute("aria-label", `Pair of ${pair.source_ref}`);
      link.replaceChildren(...pair.images.filter((image) => image.role !== "mask").slice(0, 3).map((image) => small(pair, image.role, `${image.role} of ${pair.source_ref}`)));
    }).catch((error) => link.replaceChildren(el("p", { class: "error" }, error.message)));
    return el("li", { class: "tile" }, link, say(row));
  }));
}

const count = (total, rows, what) => none(`${number(total)} ${what}${total > rows.length ? `; the first ${number(rows.length)} are shown` : ""}.`);

function served(found) {
  if (!found.total) return none("No pair has it as an in-context example.");
  return [count(found.total, found.rows, found.total === 1 ? "pair has it as an in-context example" : "pairs have it as an in-context example"),
    tiles(found.rows, (row) => el("p", { class: "quiet" }, [row.task, `rank ${row.rank}`, row.score === null ? "" : `score ${short(row.score)}`].filter(Boolean).join(", ")))];
}

function likeImages(found) {
  if (!found.total) return none(`No other pair has an image within ${found.distance} of 64 bits.`);
  return [count(found.total, found.rows, `${found.total === 1 ? "pair has" : "pairs have"} an image within ${found.distance} of 64 bits`),
    tiles(found.rows, (row) => el("p", { class: "quiet" }, `${row.task}, ${row.role} is ${row.bits} bits from ${row.own_role}`))];
}

function likeInstructions(found) {
  if (!found.total) return none("No other pair has half of its words.");
  return [count(found.total, found.rows, `${found.total === 1 ? "pair has" : "pairs have"} half of its words or more`),
    tiles(found.rows, (row) => [el("p", {}, row.instruction), el("p", { class: "quiet" }, `${row.task}, ${Math.round(row.shared * 100)}% of the words`)])];
}

function candidates(pair, found) {
  if (!found.length) return none("None are stored: the target was not chosen among several pictures, or the run did not keep them.");
  return el("ol", { class: "tiles" }, found.map((one) => el("li", { class: one.won ? "tile won" : "tile" },
    el("a", { class: "pictures", href: `/candidate/${encodeURIComponent(pair.pair)}/${one.number}`, target: "_blank" },
      el("img", { src: `/candidate/${encodeURIComponent(pair.pair)}/${one.number}`, alt: `Candidate ${one.number + 1}`, loading: "lazy" })),
    el("p", {}, el("b", {}, one.won ? "chosen" : one.reason ? `refused: ${one.reason}` : "not chosen")),
    facts([...Object.entries(one.scores).map(([name, value]) => [name, short(value)]), ["seed", one.seed], ["model", one.model],
      ["revision", one.model_revision], ["prompt", one.prompt]]))));
}

function answers(found) {
  if (!found.length) return none("No vision-language model was asked about it.");
  return found.map((step) => el("article", { class: "said" }, el("h4", {}, step.operator), none(`${step.model}, prompt ${step.prompt}`),
    step.said.length ? step.said.map(({ answer, request, roles, flaw }) => [
      flaw ? el("p", { class: "error" }, `Do not trust this answer: ${flaw}.`) : null,
      el("pre", { class: "answer" }, answer.text),
      none([`${number(answer.tokens_out)} tokens`, `ended by ${answer.finish_reason}`, answer.model].join(", ")),
      el("details", {}, el("summary", {}, "What was asked"), el("pre", {}, request.text), facts([["images", roles.join(", ")]])),
    ].filter(Boolean)).flat() : none("Its answer is not kept beside the dataset.")));
}

function images(pair) {
  return el("ul", { class: "files" }, pair.images.map((image) => el("li", {},
    el("a", { href: picture(pair.pair, image.role, image.sha256), target: "_blank" }, image.role),
    ` ${image.width_px} × ${image.height_px} px, ${image.format}, ${number(image.bytes)} bytes`)));
}

function page(pair) {
  const [first] = pair.examples, path = `pair/${encodeURIComponent(pair.pair)}`;
  return [
    el("div", { class: "bar" }, el("button", { type: "button", onclick: close }, "← Back"), el("h2", { tabindex: -1 }, `Pair of ${pair.source_ref}`),
      el("code", { class: "quiet" }, pair.pair), el("div", { class: "actions" })),
    shared ? null : controls(pair),
    section("Images", onDisk ? el("div", { class: "pictures" }, pair.images.map((image) => small(pair, image.role, image.role)))
      : compare(pair.pair, pair.images, rolesOf(first), { prototype: pair.prototype_task }), images(pair)),
    section("Examples", examples(pair, pair.shown, { further: (example) => [el("h4", {}, "In-context examples"), contexts(example)] })),
    asked("Serves as an in-context example", `${path}/serves`, served),
    section("Provenance", provenance(pair)),
    asked("Candidates", `${path}/candidates`, (found) => candidates(pair, found)),
    asked("What the vision-language model said", `${path}/answers`, answers),
    asked("Similar images", `${path}/images`, likeImages),
    asked("Similar instructions", `${path}/instructions`, likeInstructions),
  ].flat();
}

export async function show(values) {
  const key = values.get("pair");
  if (key === shown) return;
  if (!shown) left = scrollY;
  shown = key;
  const place = $("#pair");
  place.replaceChildren(none("Looking for the pair …"));
  try {
    const pair = await named(key);
    if (key !== shown) return;
    place.replaceChildren(...(pair ? page(pair) : [el("div", { class: "empty" },
      el("h2", { tabindex: -1 }, "There is no such pair"), el("p", {}, `No manifest that this page shows has a pair ${key}.`),
      el("p", {}, "A key has 32 digits. The pair may be of another dataset, or was committed later: then reload the page."),
      el("button", { type: "button", onclick: close }, "Show all pairs"))]));
  } catch (error) {
    if (key !== shown) return;
    place.replaceChildren(el("div", { class: "empty" }, el("h2", { tabindex: -1 }, "The pair cannot be read"),
      el("p", { class: "error", role: "alert" }, error.message), el("button", { type: "button", onclick: close }, "Show all pairs")));
  }
  scrollTo(0, 0);
  $("h2", place)?.focus({ preventScroll: true });
}

/** The pair is left: the list is where it was, and so is the focus. */
export function hide() {
  if (!shown) return;
  const card = $(`.card[data-pair="${CSS.escape(shown)}"] footer a`);
  shown = undefined;
  $("#pair").replaceChildren();
  card?.focus({ preventScroll: true });
  scrollTo(0, left);
}

export function start() {
  addEventListener("keydown", (event) => {
    if (state().has("pair") && actAnywhere("page", event) === "leave") close();
  });
}
