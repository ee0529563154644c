// The examples of a pair as tabs; each is a row of pictures: in-context example, query, answer.

import { toPair } from "./address.js";
import { el, short, thumbnail } from "./dom.js";
import { named } from "./named.js";
import { tabs } from "./tabs.js";

const SIDE_PX = 320;

export const rolesOf = (example) => [...example.inputs, ...(example.output ? [example.output] : [])];
/** The roles that an example shows as the in-context example of another: one without inputs shows its pair's "input"
 *  too (manifests/schema.py, shown_inputs). */
export const rolesShown = (example, images) => [
  ...(example.inputs.length ? [] : images.map((image) => image.role).filter((role) => role === "input")), ...rolesOf(example)];

export function small(pair, role, name) {
  const image = pair.images.find((one) => one.role === role);
  return el("img", { src: thumbnail(pair.pair, role, SIDE_PX, image?.sha256), alt: name, loading: "lazy", decoding: "async",
    width: image?.width_px, height: image?.height_px, onerror: (event) => event.target.replaceWith(
      el("p", { class: "quiet" }, `${name} cannot be shown; Images on the page of the pair says why.`)) });
}

export const chip = (name, value) => el("span", { class: "chip" }, value === undefined ? el("b", {}, name) : [`${name} `, el("b", {}, short(value))]);
export const scoreChips = (row) => Object.entries(row.scores).map(([name, value]) => chip(name, value));

export const answerText = (example) => example.text === null ? null : el("p", { class: "answer" }, example.text);

const arrow = () => el("span", { class: "arrow", "aria-hidden": "true" }, "→");
const part = (name, count, ...content) => {
  const figure = el("figure", { class: "step", "data-step": name }, el("div", { class: "pictures" }, content), el("figcaption", {}, name === "text" ? "answer" : name));
  figure.style.flexGrow = count;
  return figure;
};

/** What the model is shown and what it is to answer, in its order. */
function flow(row, example) {
  const query = example.inputs.map((role) => small(row, role, `Query: ${role} of ${row.source_ref}`));
  const answer = example.output === null ? answerText(example) : small(row, example.output, `Answer: ${example.output} of ${row.source_ref}`);
  const shown = [
    part("query", Math.max(1, query.length), query.length ? query : el("p", { class: "quiet" }, "the instruction alone")), arrow(),
    part(example.output === null ? "text" : "answer", example.output === null ? 2 : 1, answer)];
  if (example.contexts.length) {
    const context = part("context", rolesOf(example).length, el("p", { class: "quiet" }, "…"));
    fillContext(context, example, example.contexts[0]);
    shown.unshift(context, arrow());
  }
  return el("div", { class: "flow" }, shown);
}

async function fillContext(figure, example, context) {
  const place = figure.firstChild;
  try {
    const pair = await named(context.pair);
    const link = pair && contextLink(pair, example, context);
    place.replaceChildren(...(link ? [link] : [missing(context)]));
    const more = example.contexts.length - 1;
    figure.lastChild.textContent = ["context", context.score === null ? "" : `, score ${short(context.score)}`, more ? `, ${more} more` : ""].join("");
  } catch (error) {
    place.replaceChildren(el("p", { class: "error" }, error.message));
  }
}

const missing = (context) => el("p", { class: "quiet" },
  context.dataset ? `of the dataset at ${context.dataset}, which is not shown here` : `pair ${context.pair} is not there`);

function contextLink(pair, example, context) {
  const shown = pair.examples.find((other) => other.direction === example.direction && other.kind === example.kind);
  const roles = shown ? rolesShown(shown, pair.images) : pair.images.map((image) => image.role);
  return el("a", { class: "pictures", ...toPair(context.pair), "aria-label": `In-context example: pair of ${pair.source_ref}` },
    roles.map((role) => small(pair, role, `In-context example: ${role} of ${pair.source_ref}`)));
}

/** The in-context examples of an example, the best first, with what each asks for. */
export function contexts(example) {
  if (!example.contexts.length) return el("p", { class: "quiet" }, "It has no in-context example.");
  return el("ol", { class: "tiles" }, example.contexts.map((context) => {
    const tile = el("li", { class: "tile" }, el("p", { class: "quiet" }, "…"));
    named(context.pair).then((pair) => {
      const shown = pair?.examples.find((other) => other.direction === example.direction && other.kind === example.kind);
      tile.replaceChildren(pair ? contextLink(pair, example, context) : missing(context),
        el("p", {}, shown ? shown.instruction : ""),
        ...(shown && shown.text !== null ? [answerText(shown)] : []),
        el("p", { class: "quiet" }, [example.context_method, context.score === null ? "" : `score ${short(context.score)}`].filter(Boolean).join(", ")));
    }).catch((error) => tile.replaceChildren(el("p", { class: "error" }, error.message)));
    return tile;
  }));
}

/** The examples of a pair as tabs, of which the one of `shown`, a direction and a kind, is open. `further` makes what
 *  follows each, and `onopen` is told which is shown. */
export function examples(row, shown, { onopen = () => {}, further = () => [] } = {}) {
  const start = row.examples.findIndex((example) => example.direction === shown[0] && example.kind === shown[1]);
  const panel = (example) => [
    el("div", { class: "chips" }, chip(row.task), chip(example.direction), chip(example.kind), scoreChips(row)),
    flow(row, example),
    el("p", { class: "instruction" }, example.instruction),
    ...further(example)];
  return tabs("Examples of the pair",
    row.examples.map((example) => ({ name: `${example.direction} ${example.kind}`, fill: () => panel(example) })),
    Math.max(0, start), (place) => onopen(row.examples[place]));
}
