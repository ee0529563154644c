// Elements, numbers and requests. Text from a dataset reaches the page as text nodes only: `el` appends strings, and
// nothing here parses HTML.

import { read, sampled } from "./shared.js";

/** On a page that was written with a sample of a dataset: what it answers by itself. null where a server answers. */
export const shared = sampled(read(globalThis.sharedSample));

/** Whether the page is opened from a disk, where no script can read a picture: then none are compared. */
export const onDisk = location.protocol === "file:";

export const $ = (selector, root = document) => root.querySelector(selector);
export const number = (value) => typeof value === "number" ? value.toLocaleString("en", { maximumSignificantDigits: 15 }) : value;
export const short = (value) => typeof value === "number" ? Number(value.toPrecision(4)).toString() : value;

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const place = (pair, role, values) => {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  return `${encodeURIComponent(pair)}/${encodeURIComponent(role)}${query.size ? `?${query}` : ""}`;
};
/** The address of an image of a pair as it is stored, or converted to what a browser shows. With its sha256 the address
 *  says which bytes it means, and a browser need not ask again. */
export const picture = (pair, role, sha256 = "") => shared ? shared.picture(pair, role) : `/image/${place(pair, role, { v: sha256.slice(0, 20) })}`;
/** The address of a small copy of it, at most `side` px (160, 320 or 640) wide and high. */
export const thumbnail = (pair, role, side, sha256 = "") =>
  shared ? shared.picture(pair, role) : `/thumbnail/${place(pair, role, { side, v: sha256.slice(0, 20) })}`;

export async function ask(path, parameters = {}) {
  if (shared) return shared.answer(path, parameters);
  const entries = Array.isArray(parameters) ? parameters : Object.entries(parameters);  // a name may be given again
  const used = entries.filter(([, value]) => value !== "" && value !== undefined);
  return request(`${path}?${new URLSearchParams(used)}`);
}

/** POST a JSON object; the answer, as of `ask`. */
export async function send(path, body) {
  return request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export const SILENT = "The server does not answer. Look whether xprompt browse still runs; when it does again, reload the page.";
export const CHANGED = 409;
/** Say, above all that is shown, that a dataset is no longer what this page was made of, and offer what repairs it. */
function tellChanged(message) {
  $("#changed").replaceChildren(el("span", {}, message), el("button", { type: "button", onclick: () => location.reload() }, "Reload"));
  $("#changed").hidden = false;
}
const silent = () => { throw new Error(SILENT); };
/** Fetch from the server, and read what is sent by `read`. Rejects with what to do if it ends or cannot be reached. */
export async function reach(address, read, options) {
  const response = await fetch(address, options).catch(silent), said = await read(response).catch(silent);
  if (response.status === CHANGED) tellChanged(said.error);
  return [response, said];
}
async function request(path, options) {
  const [response, answer] = await reach(`/api/${path}`, (said) => said.json(), options);
  if (!response.ok) throw Object.assign(new Error(answer.error), { place: answer.place });
  return answer;
}

export function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, `${value}`)]));
}
