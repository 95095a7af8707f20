// One plot: the same figure of several runs by step, as SVG. Values are read by pointer or by keys.

import { element } from "./site.js";
import { nearest } from "./runs-data.js";

const HEIGHT = 230, LEFT = 58, RIGHT = 14, TOP = 18, BOTTOM = 34;
const LOG_RATIO = 8;
const FEW = 60;

function shape(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number in about four digits. */
export function short(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return Number(value.toPrecision(size >= 1000 ? 6 : 4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

function linearTicks(low, high, most) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? rough;
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high * (1 + 1e-12); index++) found.push(index * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of [1, 2, 5]) {
      const value = factor * 10 ** power;
      if (value >= low && value <= high) found.push(value);
    }
  }
  const every = Math.ceil(found.length / 6);
  return found.filter((_, index) => index % every === 0);
}

export class Plot {
  /** `names`: the figures in it, the first of which gives the title. `onRead`: called with a step that is read. */
  constructor(names, onRead) {
    this.names = names;
    this.onRead = onRead;
    this.step = null;
    this.heading = element("h3");
    this.readout = element("p", { class: "readout" });
    this.area = element("div", { tabindex: "0", role: "slider" });
    this.root = element("figure", { class: "plot" }, this.heading, this.readout, this.area);
    this.area.addEventListener("pointermove", (event) => this.point(event));
    this.area.addEventListener("pointerdown", (event) => this.point(event));
    this.area.addEventListener("pointerleave", () => this.onRead(null));
    this.area.addEventListener("keydown", (event) => this.key(event));
  }

  /** `runs`: RunCurves. `smoothing`: which running mean, or -1. `scale`: auto, linear or log. */
  draw(runs, smoothing, scale) {
    this.lines = [];
    runs.forEach((run, number) => this.names.forEach((name, which) => {
      const curve = run.curves.get(name);
      if (curve?.last.length) {
        const smooth = smoothing >= 0 ? curve.smooth[smoothing] : undefined;
        this.lines.push({ run: run.name, number, which, curve, shown: smooth ?? curve.value, smooth });
      }
    }));
    this.root.hidden = !this.lines.length;
    if (!this.lines.length) return;
    this.several = runs.length > 1;
    const { title, unit } = this.lines[0].curve;
    this.heading.textContent = title;
    this.area.setAttribute("aria-label", `${title} by step`);
    this.measure(scale);
    this.area.replaceChildren(this.picture(unit || title.slice(0, 40)));
    this.read(this.step);
  }

  measure(scale) {
    this.width = Math.max(240, this.area.clientWidth || 320);
    const low = Math.min(...this.lines.map(({ curve }) => smallest(curve.low)));
    const high = Math.max(...this.lines.map(({ curve }) => largest(curve.high)));
    const positive = low > 0;
    const auto = this.lines[0].curve.autoLog && high / low > LOG_RATIO;
    this.log = positive && (scale === "log" || (scale === "auto" && auto));
    const room = this.log ? 0 : (high - low || Math.abs(high) || 1) * 0.05;
    this.low = low - (low >= 0 && low - room < 0 ? low : room);
    this.high = high + (this.log && high === low ? high : room);
    this.start = Math.min(...this.lines.map(({ curve }) => curve.first[0]));
    this.end = Math.max(...this.lines.map(({ curve }) => curve.last.at(-1)), this.start + 1);
  }

  x(step) {
    return LEFT + ((step - this.start) / (this.end - this.start)) * (this.width - LEFT - RIGHT);
  }

  y(value) {
    const place = this.log
      ? Math.log(value / this.low) / Math.log(this.high / this.low)
      : (value - this.low) / (this.high - this.low);
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM);
  }

  picture(label) {
    const svg = shape("svg", { viewBox: `0 0 ${this.width} ${HEIGHT}`, width: this.width, height: HEIGHT, "aria-hidden": "true" });
    const values = this.log ? logTicks(this.low, this.high) : linearTicks(this.low, this.high, 5);
    for (const value of values) {
      const y = this.y(value).toFixed(1);
      svg.append(shape("path", { class: "grid", d: `M${LEFT} ${y}H${this.width - RIGHT}` }));
      svg.append(shape("text", { class: "axis", x: LEFT - 8, y: Number(y) + 4, "text-anchor": "end" }, short(value)));
    }
    for (const step of linearTicks(this.start, this.end, this.width / 70)) {
      const x = this.x(step), anchor = x > this.width - RIGHT - 16 ? "end" : "middle";
      svg.append(shape("text", { class: "axis", x, y: HEIGHT - BOTTOM + 16, "text-anchor": anchor }, step.toLocaleString("en")));
    }
    svg.append(shape("text", { class: "axis", x: LEFT, y: 11 }, label));
    svg.append(shape("text", { class: "axis", x: this.width - RIGHT, y: HEIGHT - 3, "text-anchor": "end" }, "step"));
    for (const line of this.lines) svg.append(...this.drawn(line));
    this.cursor = shape("g", {});
    svg.append(this.cursor);
    return svg;
  }

  drawn({ curve, number, which, shown, smooth }) {
    const points = curve.last.map((step, index) => `${this.x(step).toFixed(1)} ${this.y(shown[index]).toFixed(1)}`);
    const line = shape("path", { class: `line series-${number}`, d: `M${points.join("L")}` });
    const raw = curve.last.map((step, index) => {
      const x = this.x(step).toFixed(1);
      const [low, high] = [this.y(curve.low[index]).toFixed(1), this.y(curve.high[index]).toFixed(1)];
      return low === high ? `${x} ${low}` : `${x} ${low}L${x} ${high}`;
    });
    const thin = smooth || curve.points.some((count) => count > 1);
    const found = thin ? [shape("path", { class: `raw series-${number}`, d: `M${raw.join("L")}` })] : [];
    const marked = which > 0 || curve.last.length < 2;
    if (marked && points.length <= FEW) {
      found.push(...curve.last.map((step, index) => shape("circle", {
        class: `mark series-${number}`, cx: this.x(step), cy: this.y(shown[index]), r: 3.5,
      })));
    }
    return [...found, line];
  }

  /** Show the values at a step; null: the last ones. */
  read(step) {
    this.step = step;
    if (!this.lines?.length) return;
    const at = step ?? this.end;
    const found = this.lines.map((line) => ({ ...line, index: nearest(line.curve, at) }));
    const now = found[0].curve.last[found[0].index];
    const texts = found.map((each) => this.text(each));
    this.readout.classList.toggle("several", this.several);
    this.readout.replaceChildren(
      element("span", { class: "soft" }, `step ${now.toLocaleString("en")}`),
      ...texts.map(({ name, text }) => element("span", {}, text, ...(name ? [" ", element("bdi", { class: "soft" }, name)] : []))),
    );
    const spoken = texts.map(({ name, text }) => [name, text].filter(Boolean).join(" ")).join("; ");
    for (const [key, value] of Object.entries({ min: this.start, max: this.end, now, text: `step ${now}: ${spoken}` })) {
      this.area.setAttribute(`aria-value${key}`, value);
    }
    this.cursor.replaceChildren();
    if (step === null) return;
    this.cursor.append(shape("path", { class: "cursor", d: `M${this.x(now).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}` }));
    for (const { curve, index, number, shown } of found) {
      this.cursor.append(shape("circle", { class: `mark series-${number}`, cx: this.x(curve.last[index]), cy: this.y(shown[index]), r: 4 }));
    }
  }

  text({ run, which, curve, index, smooth }) {
    const several = curve.points[index] > 1 && curve.low[index] !== curve.high[index];
    const raw = several ? `${short(curve.low[index])} to ${short(curve.high[index])}` : short(curve.value[index]);
    const mean = smooth ? `, smoothed ${short(smooth[index])}` : "";
    const name = [this.several ? run : "", which ? "held out" : ""].filter(Boolean).join(", ");
    return { name, text: `${raw}${mean}` };
  }

  point(event) {
    if (!this.lines?.length) return;
    const box = this.area.firstElementChild.getBoundingClientRect();
    const share = ((event.clientX - box.left) * this.width / box.width - LEFT) / (this.width - LEFT - RIGHT);
    this.onRead(this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start));
  }

  key(event) {
    if (!this.lines?.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const { curve } = this.lines[0];
    const index = nearest(curve, this.step ?? this.end), last = curve.last.length - 1;
    const page = Math.max(1, Math.round(last / 10));
    const moved = {
      ArrowLeft: index - 1, ArrowDown: index - 1, ArrowRight: index + 1, ArrowUp: index + 1,
      PageDown: index - page, PageUp: index + page, Home: 0, End: last,
    }[event.key];
    if (event.key === "Escape") this.onRead(null);
    if (moved === undefined) return;
    event.preventDefault();
    this.onRead(curve.last[Math.min(last, Math.max(0, moved))]);
  }
}

function smallest(values) {
  return values.reduce((found, each) => Math.min(found, each), Infinity);
}

function largest(values) {
  return values.reduce((found, each) => Math.max(found, each), -Infinity);
}
