// A wall of very many images: only those near the window are in the document.
import { element, figure } from "./site.js";

const TALLEST = 6_000_000; // pixels of an element that all browsers lay out
const NARROWEST = 150, GAP = 16, BELOW = 92; // pixels: of an image, between images, of the credit with its margins
const AHEAD = 2; // rows above and below the window
const CHUNK = 60; // images asked for together
const KEPT = 40; // chunks kept
const PAUSE = 90; // milliseconds without a movement before something is asked for

export class Wall {
  /** `ask(start, limit, signal)` fetches images; `moved(first)` is called when the first image in the window changed. */
  constructor(list, ask, moved, failed) {
    Object.assign(this, { list, ask, moved, failed });
    this.total = 0;
    this.cells = new Map(); // index -> li
    this.chunks = new Map(); // number -> images, or the AbortController of what is under way
    this.offset = 0; // how far the wall is moved up: all rows together can be taller than TALLEST
    this.list.classList.add("laid");
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(this.list);
  }

  /** Show the images of another search, `chunk` first, with the image `first` at the top of the window. */
  show(total, first, start, images) {
    this.#clear();
    this.total = total;
    if (start % CHUNK === 0) this.chunks.set(start / CHUNK, images);
    this.#lay();
    if (first > 0) this.goTo(first);
    else {
      this.offset = 0;
      this.last = this.#scroll();
      this.#draw();
    }
  }

  /** Bring an image to the top of the window. */
  goTo(index) {
    const row = Math.floor(Math.min(index, Math.max(0, this.total - 1)) / this.columns);
    this.#move(row * this.row, true);
    this.#draw();
  }

  get first() {
    const y = Math.max(0, this.#scroll() + this.offset);
    return Math.min(Math.round(y / this.row) * this.columns, Math.max(0, this.total - 1));
  }

  #clear() {
    for (const chunk of this.chunks.values()) if (chunk instanceof AbortController) chunk.abort();
    this.chunks.clear();
    this.cells.clear();
    this.list.replaceChildren();
  }

  /** Pixels of the wall above the window; negative if the wall begins below its top. */
  #scroll() {
    return scrollY - this.top;
  }

  #lay() {
    const width = this.list.clientWidth;
    this.columns = Math.max(2, Math.floor((width + GAP) / (NARROWEST + 30 + GAP)));
    this.cell = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.row = this.cell + BELOW + GAP;
    this.whole = Math.ceil(this.total / this.columns) * this.row;
    this.height = Math.min(this.whole, TALLEST);
    this.list.style.height = `${this.height}px`;
    this.list.style.setProperty("--cell", `${this.cell}px`);
    this.top = this.list.getBoundingClientRect().top + scrollY;
    // The wall is cut into parts as tall as a hundredth of the element; each has its own offset.
    this.part = this.height / 100;
    const parts = Math.ceil(this.whole / this.part) || 1;
    this.step = parts > 1 ? (this.whole - this.height) / (parts - 1) : 0;
    this.parts = parts;
  }

  /** The offset of what is `y` pixels below the top of the whole wall. */
  #offsetAt(y) {
    return Math.round(Math.min(this.parts - 1, Math.max(0, Math.floor(y / this.part))) * this.step);
  }

  #move(y, always) {
    const offset = this.#offsetAt(y);
    if (offset !== this.offset || always) {
      this.offset = offset;
      scrollTo(0, this.top + y - offset);
    }
    this.last = this.#scroll();
  }

  #scrolled() {
    if (!this.total) return;
    const at = this.#scroll(), window = innerHeight;
    if (this.whole > this.height) {
      if (Math.abs(at - this.last) < window) {
        this.#move(at + this.offset, false);
      } else {
        // Somebody dragged the bar, or jumped: a place on the bar stands for a place in the whole wall.
        const share = Math.min(1, Math.max(0, at / (this.height - window)));
        this.offset = this.#offsetAt(share * (this.whole - window));
        this.last = at;
      }
    }
    this.#draw();
  }

  #resized() {
    if (!this.total || this.list.clientWidth === this.width) return;
    const first = this.first, above = this.#scroll() <= 0;
    this.width = this.list.clientWidth;
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.#lay();
    if (!above) this.goTo(first);
    else this.#draw();
  }

  #draw() {
    this.width = this.list.clientWidth;
    const y = this.#scroll() + this.offset;
    const from = Math.max(0, Math.floor(y / this.row) - AHEAD) * this.columns;
    const to = Math.min(this.total, (Math.ceil((y + innerHeight) / this.row) + AHEAD) * this.columns);
    for (const [index, cell] of this.cells) {
      // What has the focus stays, or the keyboard would lose its place.
      if ((index < from || index >= to) && !cell.contains(document.activeElement)) {
        cell.remove();
        this.cells.delete(index);
      }
    }
    let before = null;
    for (let index = from; index < to; index++) {
      let cell = this.cells.get(index);
      if (!cell) {
        cell = this.#cellOf(index);
        this.cells.set(index, cell);
        if (before) before.after(cell);
        else this.list.prepend(cell);
      }
      before = cell;
    }
    for (const [index, cell] of this.cells) this.#place(index, cell);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#settled(from, to), PAUSE);
  }

  #place(index, cell) {
    const row = Math.floor(index / this.columns), column = index % this.columns;
    cell.style.top = `${row * this.row - this.offset}px`;
    cell.style.left = `${column * (this.cell + GAP)}px`;
    cell.style.width = `${this.cell}px`;
  }

  #cellOf(index) {
    const cell = element("li", { "aria-setsize": this.total, "aria-posinset": index + 1 });
    this.#fill(cell, index);
    return cell;
  }

  #fill(cell, index) {
    const chunk = this.chunks.get(Math.floor(index / CHUNK));
    if (!Array.isArray(chunk)) cell.replaceChildren(element("p", { class: "waiting" }, `${index + 1}`));
    else if (chunk[index % CHUNK]) cell.replaceChildren(figure(chunk[index % CHUNK]));
    else cell.replaceChildren(element("p", { class: "gone" }, "This image was taken down."));
  }

  /** The window rests: ask for what is missing in it, and forget what is far away. */
  #settled(from, to) {
    const first = Math.floor(from / CHUNK), last = Math.floor(Math.max(from, to - 1) / CHUNK);
    for (const [number, chunk] of this.chunks) {
      if (number >= first && number <= last) continue;
      if (chunk instanceof AbortController) {
        chunk.abort();
        this.chunks.delete(number);
      } else if (this.chunks.size > KEPT) this.chunks.delete(number);
    }
    for (let number = first; number <= last; number++) if (!this.chunks.has(number)) this.#fetch(number);
    this.moved(this.first);
  }

  async #fetch(number) {
    const control = new AbortController();
    this.chunks.set(number, control);
    try {
      const found = await this.ask(number * CHUNK, CHUNK, control.signal);
      if (control.signal.aborted) return;
      this.chunks.set(number, found.images);
      for (const [index, cell] of this.cells) if (Math.floor(index / CHUNK) === number) this.#fill(cell, index);
    } catch (error) {
      if (this.chunks.get(number) === control) this.chunks.delete(number);
      if (error.name !== "AbortError") this.failed(error);
    }
  }
}

export { CHUNK };
