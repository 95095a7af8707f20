// The curves of one run, as /api/runs/NAME answers them. Pure but for `update`.

import { ask } from "./site.js";

const COLUMNS = ["first", "last", "low", "high", "value", "points"];

export class RunCurves {
  constructor(name) {
    this.name = name;
    this.version = "";
    this.lines = 0;
    this.curves = new Map();
  }

  /** Get what is new; true if there was something. */
  async update() {
    let changed = false;
    for (;;) {
      const query = new URLSearchParams({ after: this.lines, version: this.version });
      const answer = await ask(`/api/runs/${encodeURIComponent(this.name)}?${query}`);
      changed = this.add(answer) || changed;
      if (answer.complete) return changed;
    }
  }

  add(answer) {
    const changed = answer.version !== this.version || answer.lines !== this.lines;
    if (answer.version !== this.version) this.curves.clear();
    for (const [name, part] of Object.entries(answer.curves)) {
      const curve = this.curves.get(name) ?? { smooth: part.smooth.map(() => []) };
      for (const column of COLUMNS) curve[column] = joined(curve[column] ?? [], part.start, part[column]);
      curve.smooth = part.smooth.map((values, span) => joined(curve.smooth[span], part.start, values));
      this.curves.set(name, Object.assign(curve, { title: part.title, unit: part.unit, autoLog: part.auto_log }));
    }
    this.version = answer.version;
    this.lines = answer.lines;
    return changed;
  }
}

function joined(values, start, more) {
  return more.length ? values.slice(0, start).concat(more) : values;
}

/** The index of the bucket nearest to a step; -1 if there is none. */
export function nearest(curve, step) {
  const steps = curve.last;
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low < steps.length ? low : -1;
}
