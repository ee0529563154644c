// The view "SQL".

import { $, ask, el, number } from "./dom.js";
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

async function runQuery(event) {
  event.preventDefault();
  const panel = $("#sql"), problem = $(".error", panel), output = $("output", panel), result = $("#result");
  problem.hidden = result.hidden = true;
  output.textContent = "running …";
  const start = performance.now();
  try {
    const answer = await ask("sql", { query: $("#query").elements.query.value });
    const time = `${((performance.now() - start) / 1000).toFixed(2)} s`;
    output.textContent = answer.truncated ? `the first ${number(answer.rows.length)} rows, ${time}` : `${number(answer.rows.length)} rows, ${time}`;
    result.replaceChildren(table(answer.columns, answer.rows));
    result.hidden = false;
  } catch (error) {
    output.textContent = "";
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

export function start() {
  $("#query").addEventListener("submit", runQuery);
  $("#query").elements.query.value = Object.values(SAMPLES)[0];
  $("#query").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) runQuery(event); });
  $("#samples").append(...Object.keys(SAMPLES).map((name) => el("option", {}, name)));
  $("#samples").addEventListener("change", (event) => {
    if (event.target.value) $("#query").elements.query.value = SAMPLES[event.target.value];
    event.target.value = "";
  });
}
