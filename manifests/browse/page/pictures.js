// The full pictures of a pair, laid on one grid of pixels: that of the picture that is made of the others.

import { CHANGED, reach } from "./dom.js";

const context = (width, height) => {
  const canvas = document.createElement("canvas");
  canvas.width = width; canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
};
const onePixel = context(1, 1);

/** A picture as the browser shows it: upright, in sRGB. Rejects with what the server says of it. */
export async function load(address, role) {
  const [response, said] = await reach(address, (found) => found.ok ? found.blob() : found.json());
  if (!response.ok) throw new Error(response.status === CHANGED ? said.error : `${role}: ${said.error}`);
  try {
    return { role, bitmap: await createImageBitmap(said) };
  } catch {
    throw new Error(`${role}: this browser cannot decode it; xprompt verify says whether it is damaged`);
  }
}

/** Give each picture its place on the grid of `output`: as it is, or scaled to fit into it whole, never distorted. */
export function lay(pictures, output) {
  const grid = { width: output.bitmap.width, height: output.bitmap.height };
  for (const picture of pictures) {
    const { width, height } = picture.bitmap, scale = Math.min(grid.width / width, grid.height / height);
    // A side that misses the grid's by less than a pixel is rounded off: the same picture in another size.
    const side = (own, whole) => Math.abs(own * scale - whole) < 1 ? whole : own * scale;
    const wide = side(width, grid.width), high = side(height, grid.height);
    picture.place = { left: (grid.width - wide) / 2, top: (grid.height - high) / 2, width: wide, height: high };
    picture.isScaled = width !== grid.width || height !== grid.height;
  }
  return grid;
}

/** Draw a picture where the grid lies at `left` and `top`, each of its pixels `zoom` wide; over white, as it is kept. */
export function draw(context, picture, { left, top, zoom }) {
  const { place, bitmap } = picture;
  const box = [left + place.left * zoom, top + place.top * zoom, place.width * zoom, place.height * zoom];
  context.fillStyle = "#fff";
  context.fillRect(...box);
  const own = zoom * place.width / bitmap.width;
  context.imageSmoothingEnabled = own < 2 && own !== 1;  // larger ones are seen as the squares that they are
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...box);
}

/** Its stored pixel under a pixel of the grid: where it is and its three values; null beside the picture. */
export function pixel(picture, at) {
  const { place, bitmap } = picture;
  const x = Math.floor((at.x + 0.5 - place.left) / place.width * bitmap.width);
  const y = Math.floor((at.y + 0.5 - place.top) / place.height * bitmap.height);
  if (x < 0 || y < 0 || x >= bitmap.width || y >= bitmap.height) return null;
  onePixel.fillStyle = "#fff";
  onePixel.fillRect(0, 0, 1, 1);
  onePixel.drawImage(bitmap, x, y, 1, 1, 0, 0, 1, 1);
  return { x, y, values: [...onePixel.getImageData(0, 0, 1, 1).data.slice(0, 3)] };
}

/** A band of rows of the grid with a picture on it, as RGBA bytes. */
export function rows(picture, grid, top, height) {
  const band = context(grid.width, height);
  draw(band, picture, { left: 0, top: -top, zoom: 1 });
  return band.getImageData(0, 0, grid.width, height).data;
}
