// What reviewers decide of a pair: buttons in its card, keys (k, d, f, i), and what others have decided.

import { ask, el, number, send } from "./dom.js";
import { act, actAnywhere, keysOf, stored } from "./keys.js";
import { focusCard } from "./walk.js";

const CHOICES = { keep: "Keep", drop: "Drop", flag: "Flag", fix: "Fix instruction" };
const NAME = "reviewer";
const MOST_CHARACTERS = 4_000;  // of an instruction: manifests/choose/decisions.py
const known = new Map();  // pair -> what the server last said of it
let waiting = new Map();  // pair -> row, asked for together
const watchers = new Set();  // of the counts
const doing = new Map();  // pair -> promise of its last decision
const decided = new Map();  // pair -> when the server took its last decision, by `clock`
let clock = 0, unkept = "";  // a reviewer's name where the browser keeps nothing

/** The reviewer's name, "" as long as there is none. */
export const reviewer = () => stored((storage) => storage.getItem(NAME)) ?? unkept;
export function setReviewer(name) {
  unkept = name.trim();
  stored((storage) => storage.setItem(NAME, unkept));
  for (const group of document.querySelectorAll(".decide")) paint(group);
}

/** What the filter's value asks the server for. */
export const asked = (value) => value === "mine" ? { decision: "undecided", reviewer: reviewer() } : { decision: value };

/** Calls `show` with what the server says of all decisions, whenever it says something. */
export function watch(show) { watchers.add(show); }
function tell(answer) { for (const show of watchers) show(answer); }

export const counted = (counts) =>
  ["kept", "dropped", "flagged", "disagree", "undecided"].map((name) => `${number(counts[name])} ${name}`).join(", ");

/** The buttons for a pair's decision. `row` is a pair with its examples, `open` says which of them is shown. */
export function controls(row, open = () => row.examples[0]) {
  const group = el("div", { class: "decide", role: "group", "aria-label": "Decision on this pair", "data-pair": row.pair },
    el("div", { class: "actions" }, Object.entries(CHOICES).map(([decision, label]) =>
      el("button", { type: "button", "data-decision": decision, "aria-pressed": "false", "aria-keyshortcuts": keysOf("decide", decision).join(" "),
        title: `${label} (${keysOf("decide", decision)})`, onclick: () => choose(group, decision) }, label))),
    el("p", { class: "said quiet" }), el("form", { class: "fix", hidden: "" }), el("p", { class: "error", role: "alert", hidden: "" }));
  group.examples = row.examples;
  group.open = open;
  paint(group);
  if (!waiting.size) setTimeout(fetchWaiting);
  waiting.set(row.pair, row);
  return group;
}

async function fetchWaiting() {
  const pairs = [...waiting.keys()];
  waiting = new Map();
  const asked = ++clock, isOlder = (pair) => (decided.get(pair) ?? 0) > asked;  // than what was decided meanwhile
  try {
    const answer = await ask("decisions", { pair: pairs.join(",") });
    take(answer, pairs.filter((pair) => !isOlder(pair)), ![...decided.values()].some((when) => when > asked));
  } catch (error) {
    for (const pair of pairs) for (const group of groups(pair)) fail(group, error);
  }
}

const groups = (pair) => document.querySelectorAll(`.decide[data-pair="${CSS.escape(pair)}"]`);

function take(answer, pairs, isNew = true) {
  for (const pair of pairs) {
    known.set(pair, answer.pairs[pair] ?? null);
    for (const group of groups(pair)) paint(group);
  }
  if (isNew) tell(answer);
}

/** Whether a pair still goes by a filter, as far as this page knows. */
export function goesBy(pair, filter) {
  const found = known.get(pair);
  if (found === undefined) return true;
  if (filter === "mine") return !found || !Object.hasOwn(found.reviewers, reviewer());
  if (!found) return filter === "undecided";
  return { flagged: found.flagged, disagree: found.differ }[filter] ?? found.status === filter;
}

function fail(group, error) {
  const line = group.querySelector(".error");
  line.textContent = error.message;
  line.hidden = false;
}

function paint(group) {
  const found = known.get(group.dataset.pair), mine = found?.reviewers[reviewer()]?.decision;
  for (const button of group.querySelectorAll("[data-decision]")) button.setAttribute("aria-pressed", button.dataset.decision === mine);
  group.querySelector(".error").hidden = true;
  const said = Object.entries(found?.reviewers ?? {}).map(([name, one]) => `${name}: ${one.decision}`);
  const fixed = (found?.instructions ?? []).map((one) => `${one.direction} ${one.kind} becomes “${one.instruction}”`);
  const parts = [...said, ...(found?.differ ? ["reviewers disagree"] : []), ...fixed].map((part) => el("bdi", {}, part));
  group.querySelector(".said").replaceChildren(...parts.flatMap((part, index) => index ? [" · ", part] : [part]));
}

/** Decide when what was decided of the pair before is done: what is sent at once may come in another order. */
function choose(group, decision, more = {}) {
  const pair = group.dataset.pair, done = (doing.get(pair) ?? Promise.resolve()).then(() => decide(group, decision, more));
  doing.set(pair, done);
  return done;
}

/** Decide; the same again takes it back. Says whether it was done. */
async function decide(group, decision, more) {
  if (!reviewer() && !await askName()) return false;
  const pair = group.dataset.pair, mine = known.get(pair)?.reviewers[reviewer()]?.decision;
  if (decision === "fix" && !more.instruction) { openFix(group); return false; }
  try {
    take(await send("decisions", { pair, reviewer: reviewer(), decision: decision === mine && decision !== "fix" ? "clear" : decision, ...more }), [pair]);
    decided.set(pair, ++clock);
    return true;
  } catch (error) {
    fail(group, error);
    return false;
  }
}

function openFix(group) {
  const form = group.querySelector(".fix"), examples = group.examples;
  const found = known.get(group.dataset.pair)?.reviewers[reviewer()]?.fixes ?? [];
  const fixed = (one) => found.find((fix) => fix.direction === one.direction && fix.kind === one.kind)?.instruction ?? one.instruction;
  const text = el("textarea", { class: "field", "aria-label": "New instruction", required: "" });
  const which = el("select", { "aria-label": "Example", onchange: () => { text.value = fixed(examples[which.value]); } },
    examples.map((one, index) => el("option", { value: index }, `${one.direction} ${one.kind}`)));
  which.value = Math.max(0, examples.indexOf(group.open()));
  const close = () => {
    form.hidden = true;
    form.replaceChildren();
    group.querySelector("[data-decision=fix]").focus();
  };
  form.replaceChildren(which, text, el("div", { class: "actions" }, el("button", {}, "Save"),
    el("button", { type: "button", onclick: close }, "Cancel")));
  form.onkeydown = (event) => {
    if (act("page", event) === "leave") { event.preventDefault(); event.stopPropagation(); close(); }
    if (act("text", event) === "run") { event.preventDefault(); form.requestSubmit(); }
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    const one = examples[which.value], count = [...text.value].length;
    if (count > MOST_CHARACTERS) {
      fail(group, new Error(`An instruction has ${number(MOST_CHARACTERS)} characters at most, and this one has ${number(count)}: shorten it.`));
      return;
    }
    if (await choose(group, "fix", { instruction: text.value, direction: one.direction, kind: one.kind })) { close(); goOn(group); }
  };
  text.value = fixed(examples[which.value]);
  form.hidden = false;
  text.focus();
}

/** Ask who decides, once; false if nobody says. */
function askName() {
  return new Promise((done) => {
    const field = el("input", { class: "field", maxlength: 64, required: "", autocomplete: "off" });
    const dialog = el("dialog", { class: "ask", "aria-label": "Who decides?" },
      el("form", { method: "dialog", onsubmit: () => setReviewer(field.value) },
        el("label", {}, "Your name, as it is written beside each decision ", field),
        el("div", { class: "actions" }, el("button", {}, "Decide"),
          el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
    dialog.addEventListener("close", () => { dialog.remove(); done(Boolean(reviewer())); });
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}

/** Move the focus to the card after a group's, if there is one. */
function goOn(group) {
  const cards = [...document.querySelectorAll("#cards .card")], at = cards.indexOf(group.closest(".card"));
  const next = at < 0 ? null : cards[at + 1] ?? cards[at];
  if (next) focusCard(next);
}

/** What was not decided has the focus again, unless something before it has. */
function comeBack(group) {
  const card = group.closest(".card"), here = document.activeElement?.closest?.("#cards .card");
  if (card && here && card.compareDocumentPosition(here) & Node.DOCUMENT_POSITION_FOLLOWING) focusCard(card);
}

addEventListener("keydown", async (event) => {
  const choice = actAnywhere("decide", event);
  if (!choice) return;
  const within = event.target.closest(".card, #pair"), shown = (one) => one.offsetParent !== null;
  const group = within ? within.querySelector(".decide") : [...document.querySelectorAll("#pair .decide")].find(shown);
  if (!group) {  // nothing has the focus yet: the first card gets it, and nothing is decided
    const first = [...document.querySelectorAll("#cards .card")].find(shown);
    if (first) { event.preventDefault(); focusCard(first); }
    return;
  }
  event.preventDefault();
  if (!reviewer() || choice === "fix") {
    if (await choose(group, choice)) goOn(group);
    return;
  }
  goOn(group);  // the next key is the next card's, however long the server takes
  if (!await choose(group, choice)) comeBack(group);
});
