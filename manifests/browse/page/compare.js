// The pictures of a pair: small ones for a grid, and large ones to be compared, pixel by pixel.

import { el, picture, thumbnail } from "./dom.js";

/** The pictures in the order of `roles`, then the pair's others. Thumbnails; with `large` all is there to compare them:
 *  side by side first, but for a restoration (`prototype` is "low-level"), whose pictures are the same but for what
 *  covers all of them. Returns elements. */
export function compare(pair, images, roles, { large = false, prototype = "" } = {}) {
  const byRole = new Map(images.map((image) => [image.role, image]));
  const named = [...new Set([...roles, ...byRole.keys()])].map((role) => byRole.get(role)).filter(Boolean);
  if (!named.length) return [];
  const output = byRole.get(roles.at(-1)) ?? named.at(-1);
  return [large ? viewer(pair, named, output, prototype) : thumbnails(pair, named)];
}

function thumbnails(pair, images) {
  return el("div", { class: "thumbnails" }, images.map((image) => el("figure", {},
    el("img", { src: thumbnail(pair, image.role, 320, image.sha256), alt: image.role, loading: "lazy", decoding: "async",
      width: image.width_px, height: image.height_px }),
    el("figcaption", { class: "tag left" }, image.role))));
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
  const [{ Viewer }, { load }] = await Promise.all([import("./viewer.js"), import("./pictures.js")]);  // no grid needs them
  const pictures = await Promise.all(addresses.map(([address, role]) => load(address, role)));
  new Viewer(root, pictures, pictures[output], byDefault);
}
