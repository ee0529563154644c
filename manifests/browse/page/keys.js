// The keys of the page, in one table: handlers act by it, and the help shows it.

const arrows = (before = "") => ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].map((key) => before + key);

/** Place -> its name, and act -> keys and what they do. A key has the name of KeyboardEvent.key, behind those of the
 *  modifiers that it needs; Shift is not named where it only makes another character. Meta counts as Ctrl. */
export const KEYS = {
  page: { name: "Everywhere", acts: {
    help: [["?"], "show the keys"],
    search: [["/"], "search in instructions and answers"],
    leave: [["Escape"], "close what is open; from the page of a pair, go back"],
    nextPage: [[">"], "next page of the list"],
    previousPage: [["<"], "previous page of the list"],
  } },
  pairs: { name: "Pairs", acts: {
    next: [["n"], "next pair"],
    previous: [["p"], "previous pair"],
    open: [["Enter"], "open the page of the chosen pair"],
    compare: [["c"], "compare its pictures"],
  } },
  decide: { name: "Deciding on a pair", acts: {
    keep: [["k"], "keep; the same key again takes a decision back"],
    drop: [["d"], "drop"],
    flag: [["f"], "flag"],
    fix: [["i"], "fix the instruction"],
  } },
  pictures: { name: "Pictures, when they have the focus", acts: {
    zoomIn: [["+", "="], "zoom in"],
    zoomOut: [["-"], "zoom out"],
    fit: [["0"], "fit"],
    whole: [["1"], "1:1"],
    pan: [arrows(), "move"],
    pixel: [arrows("Shift+"), "choose a pixel"],
    side: [["s"], "side by side"],
    slider: [["l"], "slider"],
    flicker: [["b"], "flicker"],
    difference: [["x"], "difference"],
    pause: [[" "], "stop flicker, or go on"],
  } },
  slider: { name: "Sliders and bounds", acts: {
    less: [["ArrowLeft", "ArrowDown"], "a little less"],
    more: [["ArrowRight", "ArrowUp"], "a little more"],
    muchLess: [["PageDown", "Shift+ArrowLeft", "Shift+ArrowDown"], "ten times as much less"],
    muchMore: [["PageUp", "Shift+ArrowRight", "Shift+ArrowUp"], "ten times as much more"],
    first: [["Home"], "to the beginning"],
    last: [["End"], "to the end"],
  } },
  tabs: { name: "Tabs", acts: {
    previous: [["ArrowLeft"], "previous tab"],
    next: [["ArrowRight"], "next tab"],
    first: [["Home"], "first tab"],
    last: [["End"], "last tab"],
  } },
  text: { name: "SQL, and an instruction that is written anew", acts: {
    run: [["Ctrl+Enter"], "run, or save"],
  } },
};

const OFF = "letters-off";
/** Whether keys of one character act wherever the focus is. Who speaks to the page may want none (WCAG 2.2, 2.1.4). */
export const areLettersOn = () => stored((storage) => storage.getItem(OFF)) !== "";
export const turnLetters = (isOn) => stored((storage) => isOn ? storage.removeItem(OFF) : storage.setItem(OFF, ""));
/** What `use` makes of the browser's storage; undefined where there is none, as where a user allows no cookies. */
export function stored(use) {
  try { return use(localStorage); } catch { return undefined; }
}

const nameOf = (event) => `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}` +
  `${event.shiftKey && event.key.length > 1 ? "Shift+" : ""}${event.key}`;

/** What a key does at a place of the table, undefined if nothing. */
export function act(place, event) {
  const name = nameOf(event);
  return Object.entries(KEYS[place].acts).find(([, [keys]]) => keys.includes(name))?.[0];
}

/** The same for keys that act wherever the focus is, but not where they are text or a dialog's, nor twice. */
export function actAnywhere(place, event) {
  if (event.defaultPrevented || event.repeat || (event.key.length === 1 && !areLettersOn())) return undefined;
  if (event.target.closest?.("input:not([type=range]), textarea, select, dialog, [contenteditable]")) return undefined;
  return act(place, event);
}

export const keysOf = (place, name) => KEYS[place].acts[name][0];

const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", "-": "−", PageUp: "Page Up", PageDown: "Page Down" };
/** A key as people call it. */
export const shown = (key) => key.replace(/(Arrow|Page)\w+$|^[ -]$/, (name) => SHOWN[name]);
