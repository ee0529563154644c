// Large pictures of one pair, compared side by side, by a slider, by flicker, or by their difference; all of them show
// the same part, and what is stored at a pixel.

import { move, state } from "./address.js";
import { GAINS, legend, measure, paint } from "./difference.js";
import { el, number, short } from "./dom.js";
import { Flicker, RATES } from "./flicker.js";
import { act } from "./keys.js";
import { draw, lay, pixel } from "./pictures.js";
import { View } from "./view.js";

const MODES = { side: "Side by side", slider: "Slider", flicker: "Flicker", difference: "Difference" };
const STEP = 1.25, PAN = 0.1;
const KEYS = "+ and − zoom, 0 fits, 1 is 1:1; arrows move, with Shift they choose a pixel; s, l, b, x: side by side, slider, flicker, difference; space stops flicker";

/** Fills `root` with the loaded `pictures` and all that compares them; `byDefault` is the mode while the address says none. */
export class Viewer {
  constructor(root, pictures, output, byDefault) {
    const grid = lay(pictures, output);
    Object.assign(this, { root, pictures, byDefault, grid, view: new View(grid.width, grid.height), cut: 0.5, showsAfter: false });
    this.after = output;
    this.before = pictures.find((one) => one !== output && one.role !== "mask") ?? pictures.find((one) => one !== output) ?? output;
    this.panes = el("div", { class: "panes", tabindex: 0, role: "application", "aria-label": `Pictures. ${KEYS}`,
      onkeydown: (event) => this.#key(event), onwheel: (event) => this.#wheel(event), onpointermove: (event) => this.#pointer(event),
      onpointerdown: (event) => this.#grab(event), onpointerup: () => this.#release(), onpointercancel: () => this.#release(),
      onpointerleave: () => { if (!this.held) this.#setCursor(null); },
      ondblclick: (event) => { const at = this.#place(event); if (at) this.#zoom(() => this.view.isFit ? this.view.zoomTo(1, at) : this.view.fit()); } });
    this.panes.style.setProperty("--ratio", Math.min(3, Math.max(0.5, grid.width / grid.height)));
    this.readout = el("div", { class: "readout" });
    this.flicker = new Flicker(this.panes, () => this.#swap(), () => this.#tellFlicker());
    this.#build();
    new ResizeObserver(() => this.#resized()).observe(this.panes);
    this.hears = new AbortController();
    addEventListener("hashchange", () => this.#show(), { signal: this.hears.signal });
    this.#show();
  }

  #build() {
    const press = (label, act, text, more = {}) => el("button", { type: "button", "aria-label": label, onclick: act, ...more }, text);
    const isOne = this.pictures.length < 2;
    this.modes = el("div", { class: "joined", role: "group", "aria-label": "Mode" }, isOne ? [] : Object.entries(MODES).map(([mode, name]) =>
      el("button", { type: "button", "data-mode": mode, onclick: () => move({ compare: mode }, true) }, name)));
    this.magnified = el("output", { class: "magnified" });
    const zooms = el("div", { class: "joined", role: "group", "aria-label": "Zoom" },
      press("Zoom out", () => this.#zoom(() => this.view.zoomTo(this.view.zoom / STEP)), "−"),
      press("Zoom in", () => this.#zoom(() => this.view.zoomTo(this.view.zoom * STEP)), "+"),
      el("button", { type: "button", onclick: () => this.#zoom(() => this.view.zoomTo(1)) }, "1:1"),
      el("button", { type: "button", onclick: () => this.#zoom(() => this.view.fit()) }, "Fit"));
    const choice = (name) => el("select", { "aria-label": name === "before" ? "Compare" : "with", onchange: (event) => {
      this[name] = this.pictures.find((one) => one.role === event.target.value);
      this.#show();
    } }, this.pictures.map((one) => el("option", one === this[name] ? { selected: "" } : {}, one.role)));
    this.two = this.pictures.length > 2 ? el("span", { class: "two-of" }, choice("before"), " with ", choice("after")) : null;
    this.extra = el("div", { class: "extra" });
    const sizes = this.pictures.filter((one) => one.isScaled).map((one) => `${one.role} is ${size(one.bitmap)}`);
    const note = sizes.length ? el("p", { class: "note" }, `${sizes.join(", ")}: shown on the grid of ${this.after.role}, ${size(this.grid)}, ` +
      "scaled to fit into it whole. Differences are those of the scaled picture; values of a pixel are stored ones.") : null;
    this.root.replaceChildren(el("div", { class: "tools" }, [this.modes, zooms, this.magnified, this.two, this.extra].filter(Boolean)),
      this.panes, this.readout, ...(note ? [note] : []), el("p", { class: "quiet keys" }, `Keys: ${KEYS}.`));
  }

  // ---- what is shown ----

  get mode() {
    const chosen = state().get("compare");
    return this.pictures.length < 2 ? "side" : Object.hasOwn(MODES, chosen) ? chosen : this.byDefault;
  }

  get gain() {
    const chosen = Number(state().get("gain"));
    return GAINS.includes(chosen) ? chosen : 8;
  }

  /** Build what the mode needs, and end if the element has left the page. */
  #show() {
    if (this.root.isConnected) this.wasShown = true;
    else if (this.wasShown) { this.hears.abort(); this.flicker.end(); return; }
    if (this.mode === "difference" && this.shownGain !== this.gain) this.painted = null;
    const wanted = [this.mode, this.before.role, this.after.role].join("\n");
    if (wanted !== this.shown) {
      this.shown = wanted;
      for (const button of this.modes.children) button.setAttribute("aria-pressed", button.dataset.mode === this.mode);
      this.two?.toggleAttribute("hidden", this.mode === "side");
      ({ side: () => this.#side(), slider: () => this.#slider(), flicker: () => this.#flickering(), difference: () => this.#difference() })[this.mode]();
      this.panes.dataset.mode = this.mode;
      this.flicker.turn(this.mode === "flicker");
    }
    if (this.mode === "difference" && !this.painted) this.#amplify();
    this.#resized();
  }

  #lay(...figures) {
    this.canvases = figures.map(([name, shows]) => Object.assign(el("canvas", { role: "img", "aria-label": name }), { shows }));
    this.tags = figures.map(([name]) => el("figcaption", { class: "tag left" }, name));
    this.panes.replaceChildren(...this.canvases.map((canvas, index) => el("figure", { class: "pane" }, canvas, this.tags[index])));
  }

  #side() {
    this.extra.replaceChildren();
    this.#lay(...this.pictures.map((one) => [one.role, (context, at) => draw(context, one, at)]));
  }

  #slider() {
    this.extra.replaceChildren();
    this.#lay([`${this.before.role} and ${this.after.role}`, (context, at) => {
      draw(context, this.after, at);
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(this.cut * context.canvas.width), context.canvas.height);
      context.clip();
      context.fillStyle = getComputedStyle(context.canvas.parentElement).backgroundColor;  // no canvas knows light-dark()
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
      draw(context, this.before, at);
      context.restore();
    }]);
    this.tags[0].textContent = this.before.role;
    this.handle = el("div", { class: "handle", role: "slider", tabindex: 0, "aria-label": `Share of ${this.before.role} shown`,
      "aria-valuemin": 0, "aria-valuemax": 100, onkeydown: (event) => this.#slide(event) });
    this.panes.firstChild.append(el("span", { class: "tag right" }, this.after.role), this.handle);
    this.#setCut(this.cut);
  }

  #flickering() {
    this.#lay(["", (context, at) => draw(context, this.showsAfter ? this.after : this.before, at)]);
    this.stop = el("button", { type: "button", onclick: () => this.flicker.want(!this.flicker.isWanted) });
    this.extra.replaceChildren(this.stop,
      el("button", { type: "button", onclick: () => { this.flicker.want(false); this.#swap(); } }, "Show the other"),
      el("label", {}, "Changes a second ", el("select", { onchange: (event) => this.flicker.setRate(Number(event.target.value)) },
        RATES.map((rate) => el("option", rate === this.flicker.rate ? { selected: "" } : {}, `${rate}`)))));
    this.showsAfter = true;
    this.#swap();
  }

  #difference() {
    this.measured = measure(this.before, this.after, this.grid);
    this.painted = null;
    const { mean, largest, differing } = this.measured;
    this.amplified = el("output");
    this.scale = el("div");
    this.amplifier = el("input", { type: "range", min: 0, max: GAINS.length - 1, step: 1,
      oninput: (event) => move({ gain: `${GAINS[event.target.value]}` }, true) });
    this.extra.replaceChildren(el("label", {}, "Amplified ", this.amplifier, this.amplified), this.scale,
      el("span", { class: "quiet measured" }, `mean ${short(mean)}, largest ${largest} of 255; ${short(100 * differing)}% of the pixels differ`));
    this.#lay([`difference of ${this.before.role} and ${this.after.role}`, (context, { left, top, zoom }) => {
      context.imageSmoothingEnabled = zoom < 1;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.painted, left, top, this.grid.width * zoom, this.grid.height * zoom);
    }]);
  }

  #amplify() {
    this.shownGain = this.gain;
    this.painted = paint(this.measured, this.gain);
    this.amplifier.value = GAINS.indexOf(this.gain);
    this.amplifier.setAttribute("aria-valuetext", `${this.gain} times`);
    this.amplified.textContent = `×${this.gain}`;
    this.scale.replaceChildren(legend(this.gain));
  }

  #swap() {
    this.showsAfter = !this.showsAfter;
    const { role } = this.showsAfter ? this.after : this.before;
    this.tags[0].textContent = role;
    this.canvases[0].setAttribute("aria-label", role);
    this.#draw();
  }

  #tellFlicker() {
    if (!this.stop) return;
    this.stop.textContent = this.flicker.isWanted ? "Pause" : "Play";
    this.panes.toggleAttribute("data-runs", this.flicker.isRunning);
  }

  // ---- drawing ----

  /** Give each canvas as many pixels as the screen has there, or what is 1:1 would be blurred. */
  #resized() {
    const box = this.panes.firstChild.getBoundingClientRect(), { devicePixelRatio: ratio } = window;
    if (!box.width) return;
    for (const canvas of this.canvases) {
      Object.assign(canvas, { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) });
      Object.assign(canvas.style, { width: `${canvas.width / ratio}px`, height: `${canvas.height / ratio}px` });
    }
    this.view.resize(this.canvases[0].width / ratio, this.canvases[0].height / ratio);
    this.#paint();
  }

  #draw() { this.asked ??= requestAnimationFrame(() => this.#paint()); }

  #paint() {
    cancelAnimationFrame(this.asked);
    this.asked = undefined;
    const at = this.view.onScreen(), { zoom } = this.view;
    for (const canvas of this.canvases) {
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      canvas.shows(context, at);
      if (this.cursor) mark(context, at.left + this.cursor.x * zoom, at.top + this.cursor.y * zoom, zoom);
    }
    this.magnified.textContent = `${Number((100 * zoom).toPrecision(3))}%`;
    this.panes.style.touchAction = this.view.canMove ? "none" : "pan-y";
  }

  // ---- what is done to it ----

  #zoom(change) { change(); this.#draw(); }

  #setCut(share) {
    this.cut = Math.min(1, Math.max(0, share));
    const percent = Math.round(100 * this.cut);
    this.handle.style.left = `${100 * this.cut}%`;
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent}% ${this.before.role}`);
    this.#draw();
  }

  #slide(event) {
    const target = { less: this.cut - 0.01, more: this.cut + 0.01, muchLess: this.cut - 0.1, muchMore: this.cut + 0.1, first: 0, last: 1 }[act("slider", event)];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#setCut(target);
  }

  /** Where an event is on the pane under it; null beside all. */
  #place(event) {
    const box = event.target.closest?.(".pane")?.querySelector("canvas").getBoundingClientRect();
    return box ? { x: event.clientX - box.left, y: event.clientY - box.top } : null;
  }

  #wheel(event) {
    const at = this.#place(event);
    if (!at || (this.view.isFit && event.deltaY > 0 && !event.ctrlKey)) return;  // the page's turn
    event.preventDefault();
    const lines = event.deltaMode ? 16 : 1;
    this.#zoom(() => this.view.zoomTo(this.view.zoom * Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), at));
    this.#pointer(event);
  }

  #grab(event) {
    const at = this.#place(event);
    if (!at || event.button) return;
    this.panes.setPointerCapture(event.pointerId);
    const slides = this.mode === "slider" && (event.target === this.handle || !this.view.canMove);
    this.held = { x: event.clientX, y: event.clientY, left: event.clientX - at.x, slides };
    if (slides) this.#setCut(at.x / this.view.pane.width);
  }

  #release() { this.held = undefined; }

  #pointer(event) {
    if (this.held?.slides) this.#setCut((event.clientX - this.held.left) / this.view.pane.width);
    else if (this.held) {
      this.#zoom(() => this.view.move(event.clientX - this.held.x, event.clientY - this.held.y));
      Object.assign(this.held, { x: event.clientX, y: event.clientY });
    } else {
      const at = this.#place(event), there = at && this.view.toGrid(at);
      this.#setCursor(there && { x: Math.floor(there.x), y: Math.floor(there.y) });
    }
  }

  #key(event) {
    const done = act("pictures", event);
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    const zooms = {
      zoomIn: () => this.view.zoomTo(this.view.zoom * STEP, this.#atCursor()), zoomOut: () => this.view.zoomTo(this.view.zoom / STEP, this.#atCursor()),
      fit: () => this.view.fit(), whole: () => this.view.zoomTo(1, this.#atCursor()),
      pan: () => this.view.move(-x * PAN * this.view.pane.width, -y * PAN * this.view.pane.height),
    };
    if (done in zooms) this.#zoom(zooms[done]);
    else if (done === "pixel") this.#choose([x, y]);
    else if (done === "pause" && this.mode === "flicker") this.flicker.want(!this.flicker.isWanted);
    else if (done in MODES && this.pictures.length > 1) move({ compare: done }, true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Where the cursor is on a pane, so that it stays where it is when keys zoom; undefined without one. */
  #atCursor() {
    if (!this.cursor) return undefined;
    const { left, top, zoom } = this.view.onScreen();
    return { x: (left + (this.cursor.x + 0.5) * zoom) / devicePixelRatio, y: (top + (this.cursor.y + 0.5) * zoom) / devicePixelRatio };
  }

  #choose([x, y]) {
    const from = this.cursor ?? { x: Math.floor(this.view.centre.x), y: Math.floor(this.view.centre.y) };
    const moved = this.cursor ? { x: from.x + x, y: from.y + y } : from;
    const cursor = { x: Math.min(this.grid.width - 1, Math.max(0, moved.x)), y: Math.min(this.grid.height - 1, Math.max(0, moved.y)) };
    this.view.reveal(cursor);
    this.#setCursor(cursor, true);
  }

  /** Say what is stored at a pixel of the grid; by keys aloud, too. */
  #setCursor(at, isByKey = false) {
    const isInside = at && at.x >= 0 && at.y >= 0 && at.x < this.grid.width && at.y < this.grid.height;
    this.cursor = isInside ? at : null;
    this.readout.setAttribute("aria-live", isByKey ? "polite" : "off");
    this.#draw();
    if (!this.cursor) { this.readout.replaceChildren(); return; }
    const found = this.pictures.map((one) => [one, pixel(one, at)]);
    const values = new Map(found.map(([one, there]) => [one, there?.values]));
    const [a, b] = [values.get(this.before), values.get(this.after)];
    const difference = this.before !== this.after && a && b ? Math.max(...a.map((value, channel) => Math.abs(value - b[channel]))) : null;
    this.readout.replaceChildren(el("span", {}, `x ${number(at.x)}, y ${number(at.y)}`), ...found.map(([one, there]) => value(one, there)),
      ...(difference === null ? [] : [el("span", {}, `difference ${difference}`)]));
  }
}

const size = ({ width, height }) => `${width} × ${height} px`;

function value(one, there) {
  if (!there) return el("span", {}, `${one.role} has none here`);
  const swatch = el("span", { class: "swatch" });
  swatch.style.background = `rgb(${there.values})`;
  return el("span", {}, swatch, `${one.role} `, el("b", {}, there.values.join(" ")), one.isScaled ? ` (its x ${there.x}, y ${there.y})` : "");
}

/** A frame around a pixel, of which one line is seen on every ground. */
function mark(context, x, y, zoom) {
  const side = Math.max(zoom, 5), [left, top] = [Math.round(x + zoom / 2 - side / 2), Math.round(y + zoom / 2 - side / 2)];
  for (const [colour, further] of [["#000", 2], ["#fff", 1]]) {
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.strokeRect(left - further + 0.5, top - further + 0.5, Math.round(side) + 2 * further - 1, Math.round(side) + 2 * further - 1);
  }
}
