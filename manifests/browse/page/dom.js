// Elements, numbers and requests. Text from a dataset reaches the page as text nodes only: `el` appends strings, and
// nothing here parses HTML.

import { read, sampled } from "./shared.js";

/** On a page that was written with a sample of a dataset: what it answers by itself. null where a server answers. */
export const shared = sampled(read(globalThis.sharedSample));

export const $ = (selector, root = document) => root.querySelector(selector);
export const number = (value) => typeof value === "number" ? value.toLocaleString("en", { maximumSignificantDigits: 15 }) : value;
export const short = (value) => typeof value === "number" ? Number(value.toPrecision(4)).toString() : value;

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export async function ask(path, parameters = {}) {
  if (shared) return shared.answer(path, parameters);
  const used = Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined);
  const response = await fetch(`/api/${path}?${new URLSearchParams(used)}`);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { place: answer.place });
  return answer;
}

const place = (pair, role) => `${encodeURIComponent(pair)}/${encodeURIComponent(role)}`;
/** The address of an image of a pair as it is stored, or converted to what a browser shows. */
export const picture = (pair, role) => shared ? shared.picture(pair, role) : `/image/${place(pair, role)}`;
/** The address of a small copy of it, at most `side` px (160, 320 or 640) wide and high. */
export const thumbnail = (pair, role, side) => shared ? shared.picture(pair, role) : `/thumbnail/${place(pair, role)}?side=${side}`;

export function facts(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, `${value}`)]));
}
