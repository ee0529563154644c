// The view "Rejects": what was not kept, and why.

import { move } from "./address.js";
import { $, ask, el, number, short } from "./dom.js";
import { pager, table } from "./table.js";

let asked = 0;  // an answer that comes after a later question is dropped

export async function show(values) {
  const question = ++asked, panel = $("#rejects"), page = Number(values.get("rpage") ?? 0);
  const task = values.get("rtask") ?? "", reason = values.get("reason") ?? "";
  try {
    const found = await ask("rejects", { task, reason, page });
    if (question !== asked) return;
    $("#reasons").replaceChildren(table(["task", "operator", "reason", "items", ""],
      found.reasons.map((row) => [row.task, row.operator, row.reason, row.items, ""]), (line, index) => {
        const row = found.reasons[index], chosen = row.task === task && row.reason === reason;
        line.className = chosen ? "chosen" : "";
        line.lastChild.append(el("button", { type: "button", onclick: () =>
          move({ rtask: chosen ? "" : row.task, reason: chosen ? "" : row.reason, rpage: "" }) }, chosen ? "Show all" : "Show these"));
        return line;
      }));
    $("output", panel).textContent = number(found.total);
    pager($(".pager", panel), page, found.total, found.page_size, (target) => move({ rpage: target || "" }));
    const columns = ["task", "reason", "message", "operator", "scores", "source", "source_ref", "files"];
    $("#rejected").replaceChildren(table(columns, found.rows.map((row) => columns.map((name) =>
      name === "scores" ? Object.entries(row.scores).map(([key, value]) => `${key} ${short(value)}`).join(", ")
        : name === "files" ? row.files.join(", ") : row[name]))));
  } catch (error) {
    $("#rejected").replaceChildren(el("p", { class: "error" }, error.message));
  }
}
