// A clock that says when to show the other of two pictures, and is silent while nobody can see them.

/** Changes a second. Four are two flashes, below the three of WCAG 2.2, success criterion 2.3.1. */
export const RATES = [0.5, 1, 2, 4];

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Flicker {
  /** `change` is called for each change, `told` when it starts or stops by itself. `element` is what must be seen. */
  constructor(element, change, told) {
    this.isWanted = !still.matches;  // who wants less motion starts it, if at all
    this.rate = 1;
    this.isOn = this.isSeen = false;
    this.change = change;
    this.told = told;
    new IntersectionObserver((entries) => { this.isSeen = entries.at(-1).isIntersecting; this.#fit(); }).observe(element);
    this.hears = new AbortController();
    document.addEventListener("visibilitychange", () => this.#fit(), { signal: this.hears.signal });
    still.addEventListener("change", () => { if (still.matches) this.want(false); }, { signal: this.hears.signal });
  }

  get isRunning() { return this.timer !== undefined; }
  /** Whether flicker is what the pictures are compared by. */
  turn(isOn) { this.isOn = isOn; this.#fit(); }
  want(isWanted) { this.isWanted = isWanted; this.#fit(); }
  setRate(rate) { this.rate = rate; clearInterval(this.timer); this.timer = undefined; this.#fit(); }
  end() { this.turn(false); this.hears.abort(); }

  #fit() {
    const shall = this.isOn && this.isWanted && this.isSeen && !document.hidden;
    if (shall !== this.isRunning) {
      clearInterval(this.timer);
      this.timer = shall ? setInterval(this.change, 1000 / this.rate) : undefined;
    }
    this.told();
  }
}
