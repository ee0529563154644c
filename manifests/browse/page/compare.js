// The pictures of a pair, to be compared.

import { el } from "./dom.js";

export function compare(pair, images, roles) {
  const source = (role) => `/image/${encodeURIComponent(pair)}/${encodeURIComponent(role)}`;
  const picture = (role, name) => el("img", { class: name, src: source(role), alt: role, loading: "lazy", draggable: "false" });
  const shown = roles.length > 1 ? [roles[0], roles.at(-1)] : roles;
  const after = images.find((image) => image.role === shown.at(-1));
  const box = el("div", { class: shown.length > 1 ? "compare both" : "compare" });
  const ratio = after ? Math.min(3, Math.max(0.6, after.width_px / after.height_px)) : 1;
  box.style.setProperty("--ratio", ratio);
  box.style.setProperty("--ratio-number", ratio);
  if (shown.length > 1) {
    const slide = (event) => box.style.setProperty("--cut", `${event.target.value}%`);
    box.append(
      picture(shown[1], "after"), picture(shown[0], "before"), el("div", { class: "handle" }),
      el("input", { type: "range", min: 0, max: 100, step: "any", value: 50, "aria-label": `share of ${shown[0]} shown`, oninput: slide }),
      el("span", { class: "tag left" }, shown[0]), el("span", { class: "tag right" }, shown[1]));
  } else if (shown.length) {
    box.append(picture(shown[0], "after"), el("span", { class: "tag left" }, shown[0]));
  }
  const others = images.map((image) => image.role).filter((role) => !shown.includes(role));
  const strip = el("div", { class: "more" }, others.map((role) =>
    el("figure", {}, picture(role, "thumb"), el("span", { class: "tag left" }, role))));
  return others.length ? [box, strip] : [box];
}
