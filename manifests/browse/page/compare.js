// The full pictures of a pair, to be compared pixel by pixel. What that takes is loaded when the first ones are opened.

import { SILENT, el, picture } from "./dom.js";

/** The pictures in the order of `roles`, of which the last is the output, then the pair's others: side by side at
 *  first, but for a restoration (`prototype` is "low-level"), whose pictures are the same but for what covers all of
 *  them, with a slider. Returns elements. */
export function compare(pair, images, roles, { prototype = "" } = {}) {
  const byRole = new Map(images.map((image) => [image.role, image]));
  const named = [...new Set([...roles, ...byRole.keys()])].map((role) => byRole.get(role)).filter(Boolean);
  if (!named.length) return [];
  const output = byRole.get(roles.at(-1)) ?? named.at(-1);
  return [viewer(pair, named, output, prototype)];
}

function defaultMode(images, prototype) {
  return prototype === "low-level" && !images.some((image) => image.role === "mask") ? "slider" : "side";
}

function viewer(pair, images, output, prototype) {
  const root = el("section", { class: "viewer", "aria-label": "Compare" }, el("p", { class: "quiet" }, "Loading the pictures …"));
  open(root, images.map((image) => [picture(pair, image.role, image.sha256), image.role]), images.indexOf(output), defaultMode(images, prototype))
    .catch((error) => root.replaceChildren(el("p", { class: "error", role: "alert" }, error.message)));
  return root;
}

async function open(root, addresses, output, byDefault) {
  const needed = Promise.all([import("./viewer.js"), import("./pictures.js")]);  // no grid needs them
  const [{ Viewer }, { load }] = await needed.catch(() => { throw new Error(SILENT); });
  const found = await Promise.allSettled(addresses.map(([address, role]) => load(address, role)));
  const pictures = found.filter((one) => one.value).map((one) => one.value);
  const failed = [...new Set(found.filter((one) => one.reason).map((one) => one.reason.message))];
  const problems = failed.map((message) => el("p", { class: "error", role: "alert" }, message));
  if (!pictures.length) { root.replaceChildren(...problems); return; }
  new Viewer(root, pictures, found[output].value ?? pictures.at(-1), byDefault);
  root.prepend(...problems);
}
