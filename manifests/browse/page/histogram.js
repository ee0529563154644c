// A score's histogram: what is kept above the axis, what is rejected below it, and two handles for bounds.

import { el, number, short } from "./dom.js";
import { act } from "./keys.js";

const SVG = "http://www.w3.org/2000/svg";
const STEPS = 200;  // of a handle from one end to the other: an arrow key moves it by one, Page Up by ten

function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function bars(name, counts, below) {
  const most = Math.max(1, ...counts), half = 50;
  return svg("g", { class: name }, ...counts.flatMap((count, bin) => {
    const height = count && Math.max(1, count / most * (half - 2));  // one pair among thousands is still seen
    return count ? [svg("rect", { x: bin + 0.05, width: 0.9, y: below ? half : half - height, height })] : [];
  }));
}

/** How many digits behind the point a value between two others needs, so that it is short to type. */
function rounded(value, first, last) {
  const unit = 10 ** Math.floor(Math.log10((last - first) / STEPS));
  const digits = Math.min(12, Math.max(0, -Math.floor(Math.log10(unit))));
  return Number((Math.round(value / unit) * unit).toFixed(digits));
}

/** A histogram of `counts` = {edges, kept, rejected}, of which `rejected` may be missing.
 *
 * With `onchange`, it has handles at `low` and `high`, null for an end: onchange(low, high, side, done) is called as
 * they are moved, and with `done` when they are let go. `bounds` = [{side, value, operator}] are marked. The element's
 * `set(low, high)` moves the handles. */
export function histogram({ counts, bounds = [], low = null, high = null, onchange = null }) {
  const edges = counts.edges, first = edges[0], last = edges[edges.length - 1], bins = counts.kept.length;
  const rejected = counts.rejected ?? [], width = last - first;
  const place = (value) => width ? Math.min(1, Math.max(0, (value - first) / width)) : 0;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const said = `From ${short(first)} to ${short(last)}: ${number(sum(counts.kept))} kept` + (counts.rejected ? `, ${number(sum(rejected))} rejected` : "");
  const marks = bounds.map((bound) => svg("line", { class: "mark", x1: place(bound.value) * bins, x2: place(bound.value) * bins, y1: 0, y2: 100 }));
  const drawn = svg("svg", { viewBox: `0 0 ${bins} ${counts.rejected ? 100 : 50}`, preserveAspectRatio: "none", role: "img", "aria-label": said },
    bars("kept", counts.kept, false), bars("rejected", rejected, true), svg("line", { class: "axis", x1: 0, x2: bins, y1: 50, y2: 50 }), ...marks);
  const plot = el("div", { class: "plot" }, drawn);
  const element = el("div", { class: "histogram" }, plot,
    el("div", { class: "ends" }, el("span", {}, `${short(first)}`), el("span", {}, `${short(last)}`)));
  if (!onchange || !width) { element.set = () => {}; return element; }

  const values = { low, high };
  const of = (side) => values[side] ?? (side === "low" ? first : last);
  const handles = {}, outside = { low: el("div", { class: "outside" }), high: el("div", { class: "outside" }) };
  function draw() {
    for (const side of ["low", "high"]) {
      handles[side].style.left = `${place(of(side)) * 100}%`;
      handles[side].setAttribute("aria-valuenow", of(side));
      handles[side].setAttribute("aria-valuetext", values[side] === null ? "no bound" : `${values[side]}`);
    }
    outside.low.style.width = `${place(of("low")) * 100}%`;
    outside.high.style.width = `${(1 - place(of("high"))) * 100}%`;
  }
  function put(side, value, done) {
    const other = of(side === "low" ? "high" : "low");
    const limited = side === "low" ? Math.min(value, other) : Math.max(value, other);
    const atEnd = side === "low" ? limited <= first : limited >= last;
    values[side] = atEnd ? null : rounded(limited, first, last);
    draw();
    onchange(values.low, values.high, side, done);
  }
  for (const [side, label] of [["low", "Lower bound"], ["high", "Upper bound"]]) {
    let from = 0, isMoved = false;  // where in the handle the pointer holds it: what is only clicked stays
    const move = (event, done) => {
      const box = plot.getBoundingClientRect();
      put(side, first + (event.clientX - from - box.left) / box.width * width, done);
    };
    handles[side] = el("div", { class: `grip ${side}`, role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": first, "aria-valuemax": last,
      onpointerdown: (event) => {
        const box = event.target.getBoundingClientRect();
        event.preventDefault();
        event.target.focus();
        event.target.setPointerCapture(event.pointerId);
        from = event.clientX - (box.left + box.right) / 2;
        isMoved = false;
      },
      onpointermove: (event) => { if (event.target.hasPointerCapture(event.pointerId)) { isMoved = true; move(event, false); } },
      onpointerup: (event) => { if (event.target.hasPointerCapture(event.pointerId) && isMoved) move(event, true); },
      onkeydown: (event) => {
        const done = act("slider", event), steps = { less: -1, more: 1, muchLess: -10, muchMore: 10 }[done];
        const target = done === "first" ? first : done === "last" ? last : steps && of(side) + steps * width / STEPS;
        if (target === undefined) return;
        event.preventDefault();
        put(side, target, true);
      } });
  }
  plot.append(outside.low, outside.high, handles.low, handles.high);
  outside.high.classList.add("right");
  element.set = (low, high) => { values.low = low; values.high = high; draw(); };
  draw();
  return element;
}
