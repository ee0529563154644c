// Which part of a grid of pixels is seen in a pane, and how large: the same for all pictures of a pair.

const MOST = 64;  // screen pixels that a pixel may be enlarged to

/** All lengths are CSS pixels of the pane but for those that are said to be of the grid. */
export class View {
  constructor(width, height) {
    this.grid = { width, height };
    this.pane = { width: 1, height: 1 };
    this.fit();
  }

  resize(width, height) {
    this.pane = { width: Math.max(1, width), height: Math.max(1, height) };
    this.centre = this.#inside(this.centre);
  }

  get fitting() { return Math.min(this.pane.width / this.grid.width, this.pane.height / this.grid.height); }
  /** CSS pixels that a pixel of the grid is wide. */
  get scale() { return this.chosen ?? this.fitting; }
  /** Pixels of the screen that a pixel of the grid is wide. */
  get zoom() { return this.scale * devicePixelRatio; }
  get isFit() { return this.chosen === null; }
  get canMove() { return this.grid.width * this.scale > this.pane.width + 1 || this.grid.height * this.scale > this.pane.height + 1; }

  fit() {
    this.chosen = null;
    this.centre = { x: this.grid.width / 2, y: this.grid.height / 2 };
  }

  /** Have a pixel of the grid so many pixels of the screen wide; the point `at` of the pane stays where it is. */
  zoomTo(zoom, at = { x: this.pane.width / 2, y: this.pane.height / 2 }) {
    const least = Math.min(this.fitting, 1 / devicePixelRatio), wanted = zoom / devicePixelRatio;
    const there = this.toGrid(at);
    this.chosen = Math.min(MOST / devicePixelRatio, Math.max(least, wanted));
    this.centre = this.#inside({
      x: there.x - (at.x - this.pane.width / 2) / this.scale, y: there.y - (at.y - this.pane.height / 2) / this.scale });
    if (wanted <= this.fitting && this.chosen === this.fitting) this.fit();
  }

  move(x, y) { this.centre = this.#inside({ x: this.centre.x - x / this.scale, y: this.centre.y - y / this.scale }); }

  /** Move so little that a point of the grid is seen. */
  reveal(point) {
    const half = { x: this.pane.width / 2 / this.scale, y: this.pane.height / 2 / this.scale };
    const near = (axis) => Math.min(point[axis] + half[axis] - 1, Math.max(point[axis] - half[axis] + 1, this.centre[axis]));
    this.centre = this.#inside({ x: near("x"), y: near("y") });
  }

  toGrid(at) {
    return { x: this.centre.x + (at.x - this.pane.width / 2) / this.scale, y: this.centre.y + (at.y - this.pane.height / 2) / this.scale };
  }

  /** Where the grid lies on a canvas of the screen's own pixels: at whole ones, so that 1:1 shows what is stored. */
  onScreen() {
    const corner = (side, axis) => Math.round((this.pane[side] / 2 - this.centre[axis] * this.scale) * devicePixelRatio);
    return { left: corner("width", "x"), top: corner("height", "y"), zoom: this.zoom };
  }

  #inside(point) {
    const within = (value, side) => {
      const half = this.pane[side] / 2 / this.scale, whole = this.grid[side];
      return 2 * half >= whole ? whole / 2 : Math.min(whole - half, Math.max(half, value));
    };
    return { x: within(point.x, "width"), y: within(point.y, "height") };
  }
}
