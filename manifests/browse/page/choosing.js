// The view "Decisions": where they go, how many there are, how far reviewers agree, and how a dataset is made of them.

import { move, state } from "./address.js";
import { counted, reviewer, setReviewer } from "./decisions.js";
import { $, ask, el, facts, number } from "./dom.js";
import { table } from "./table.js";

let question = 0;  // an answer that comes after a later question is dropped
let urls = [];

const kappa = (value) => value === null ? "not defined" : value.toFixed(3);
const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

export async function show(values) {
  const mine = ++question, panel = $("#decisions"), problem = $(".error", panel);
  const gates = (values.get("gates") ?? "").split(" ").filter(Boolean), field = $("#gates").elements.gates;
  if (field !== document.activeElement) field.value = gates.join(" ");
  $("#reviewer").value = reviewer();
  problem.hidden = true;
  try {
    const decisions = await ask("decisions"), found = await ask("agreement", gates.map((gate) => ["gate", gate]));
    if (mine !== question) return;
    const { file, why } = decisions;
    $("#kept").replaceChildren(facts([["file", why ? `${file} (${why})` : file], ["pairs", counted(decisions.counts)], ["attention", decisions.told]]));
    const reviewers = Object.entries(found.reviewers), names = ["keep", "fix", "drop", "flag"];
    $("#reviewers").replaceChildren(reviewers.length
      ? table(["reviewer", ...names], reviewers.map(([name, counts]) => [name, ...names.map((one) => counts[one] ?? 0)]))
      : el("p", { class: "empty" }, "Nobody has decided yet: press k, d, f or i on a card of Pairs."));
    $("#agreement").replaceChildren(found.two.length
      ? table(["raters", "pairs", "both keep", "only the first keeps", "only the second keeps", "both drop", "Cohen’s kappa"],
        found.two.map((two) => [`${two.first} and ${two.second}`, two.pairs, two.both_keep, two.first_keeps, two.second_keeps, two.both_drop, kappa(two.kappa)]))
      : el("p", { class: "empty" }, "There is nothing to compare: two reviewers must decide the same pairs, or give a bound on a score above."));
    $("#fleiss").textContent = found.all_pairs
      ? `All reviewers, over the ${number(found.all_pairs)} pairs that each decided: Fleiss’ kappa ${kappa(found.fleiss)}.` : "";
    $("#derive").textContent = urls.map((url) => `xprompt derive ${quoted(url)} --out OUT --decisions ${quoted(file)}`).join("\n");
  } catch (error) {
    if (mine !== question) return;
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

export function start(datasets) {
  urls = datasets.map((dataset) => dataset.url);
  $("#reviewer").addEventListener("change", (event) => { setReviewer(event.target.value); show(state()); });
  $("#gates").addEventListener("submit", (event) => {
    event.preventDefault();
    move({ gates: $("#gates").elements.gates.value.trim().split(/\s+/).join(" ") });
  });
}
