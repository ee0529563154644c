// The keys of the page in a dialog, by `?` or the button in the header.

import { $, el, onDisk, shared } from "./dom.js";
import { KEYS, act, actAnywhere, areLettersOn, shown, turnLetters } from "./keys.js";

const LETTERS = ["page", "pairs", "decide"];

/** The places whose keys do something on this page. */
const places = () => Object.keys(KEYS).filter((place) =>
  !(shared && ["decide", "text"].includes(place)) && !(onDisk && place === "pictures"));

function list(place) {
  const { name, acts } = KEYS[place];
  return el("section", { class: "key-list" }, el("h3", {}, name), el("dl", {}, Object.values(acts).map(([keys, does]) => [
    el("dt", {}, keys.map((key) => el("kbd", {}, shown(key)))), el("dd", {}, does)])));
}

function open() {
  const dialog = el("dialog", { class: "help", "aria-labelledby": "help-name", onkeydown: (event) => {
    if (act("page", event) === "help") { event.preventDefault(); dialog.close(); }
  } },
    el("div", { class: "bar" }, el("h2", { id: "help-name" }, "Keys"),
      el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    el("label", {}, el("input", { type: "checkbox", ...(areLettersOn() ? { checked: "" } : {}), onchange: (event) => turnLetters(event.target.checked) }),
      ` Keys of one character act wherever the focus is: ${LETTERS.filter((place) => places().includes(place)).map((place) => KEYS[place].name).join(", ")}`),
    el("div", { class: "key-lists", tabindex: 0, role: "group", "aria-label": "Keys" }, places().map(list)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

export function start() {
  $("#help").addEventListener("click", open);
  addEventListener("keydown", (event) => {
    if (actAnywhere("page", event) !== "help") return;
    event.preventDefault();
    open();
  });
}
