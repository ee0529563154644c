// How much two pictures differ, pixel by pixel: the largest difference of a channel, in levels of 255.

import { el } from "./dom.js";
import { rows } from "./pictures.js";

/** Powers of two that differences can be amplified by. */
export const GAINS = [1, 2, 4, 8, 16, 32];

const BAND = 256;  // rows that are compared at once: a picture of 64 megapixels would need 256 MB for each step
// From none to the most, at equal steps: brighter is more, for every kind of eye.
const COLOURS = [[0, 0, 0], [52, 16, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

/** The levels on the grid, with mean, largest, and the share of pixels that differ at all, of those that both have. */
export function measure(before, after, grid) {
  const inside = (place) => [Math.ceil(place.left), Math.ceil(place.top), Math.floor(place.left + place.width), Math.floor(place.top + place.height)];
  const [a, b] = [inside(before.place), inside(after.place)];
  const [left, top] = [Math.max(a[0], b[0]), Math.max(a[1], b[1])], [right, bottom] = [Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const levels = new Uint8Array(grid.width * grid.height);
  let sum = 0, largest = 0, differing = 0;
  for (let start = top; start < bottom; start += BAND) {
    const height = Math.min(BAND, bottom - start);
    const one = rows(before, grid, start, height), other = rows(after, grid, start, height);
    for (let y = 0; y < height; y++) for (let x = left; x < right; x++) {
      const at = 4 * (y * grid.width + x);
      const level = Math.max(Math.abs(one[at] - other[at]), Math.abs(one[at + 1] - other[at + 1]), Math.abs(one[at + 2] - other[at + 2]));
      levels[(start + y) * grid.width + x] = level;
      sum += level;
      if (level > largest) largest = level;
      if (level) differing++;
    }
  }
  const count = Math.max(1, (right - left) * (bottom - top));
  return { levels, grid, box: { left, top, right, bottom }, mean: sum / count, largest, differing: differing / count };
}

/** A canvas of the grid with the levels in colours, of which `gain` times less is the most; empty where one has none. */
export function paint({ levels, grid, box }, gain) {
  const canvas = el("canvas", { width: grid.width, height: grid.height }), context = canvas.getContext("2d");
  const table = new Uint32Array(256);  // a pixel's four bytes at once, in the order of this machine
  const bytes = new Uint8ClampedArray(table.buffer);
  for (let level = 0; level < 256; level++) bytes.set([...colour(Math.min(1, level * gain / 255)), 255], 4 * level);
  const width = box.right - box.left;
  for (let start = box.top; start < box.bottom && width > 0; start += BAND) {
    const height = Math.min(BAND, box.bottom - start), image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    for (let y = 0; y < height; y++) for (let x = 0, from = (start + y) * grid.width + box.left; x < width; x++)
      pixels[y * width + x] = table[levels[from + x]];
    context.putImageData(image, box.left, start);
  }
  return canvas;
}

/** The scale of the colours, in levels. */
export function legend(gain) {
  const bar = el("div", { class: "scale" });
  bar.style.background = `linear-gradient(to right, ${COLOURS.map((rgb) => `rgb(${rgb})`)})`;
  const most = 255 / gain, short = (level) => `${Number(level.toFixed(1))}`;
  return el("div", { class: "legend", role: "img", "aria-label": `Colours from a difference of 0, black, to ${short(most)} levels or more, bright yellow` },
    bar, el("div", { class: "ends" }, el("span", {}, "0"), el("span", {}, short(most / 2)), el("span", {}, `${gain > 1 ? "≥ " : ""}${short(most)} of 255`)));
}

function colour(share) {
  const at = share * (COLOURS.length - 1), low = Math.min(COLOURS.length - 2, Math.floor(at));
  return COLOURS[low].map((value, channel) => Math.round(value + (COLOURS[low + 1][channel] - value) * (at - low)));
}
