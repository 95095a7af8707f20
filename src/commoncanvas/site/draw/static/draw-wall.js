// One request on the wall: its prompt and settings, and its pictures from the first step to their nearest images.

import { ask, element, figure } from "/static/site.js";
import { paint } from "/static/draw-stream.js";

const LOOK_MS = 3000;
const counted = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;

function settingsLine(asked) {
  const last = asked.seed + asked.n - 1;
  const parts = [
    asked.n > 1 ? `seeds ${asked.seed} to ${last}` : `seed ${asked.seed}`, counted(asked.steps, "step"),
    `guidance ${asked.guidance}`, ...(asked.size ? [asked.size.replace("x", " × ")] : []),
  ];
  const line = element("p", { class: "with" }, parts.join(", "));
  if (asked.negative) line.append("; not: ", element("bdi", {}, asked.negative));
  return line;
}

function button(text, onClick, label = null) {
  const made = element("button", { type: "button", "aria-label": label }, text);
  made.addEventListener("click", onClick);
  return made;
}

/** Training images near to one picture; asks again while the server looks at its training images. */
async function showNearest(place, name, known, onFound) {
  let found = known;
  while (!found) {
    const answer = await ask(`/draw/sources/${encodeURIComponent(name)}`);
    if (answer.state === "found") found = answer.images;
    else if (answer.state === "none") return place.replaceChildren(element("p", { class: "soft" }, `No nearest training images: ${answer.why}`));
    else {
      const count = answer.of ? `: ${answer.done.toLocaleString("en")} of ${answer.of.toLocaleString("en")} so far` : "";
      place.replaceChildren(element("p", { class: "soft" },
        `The nearest training images will be here. First the server looks at all that the model learned from${count}.`));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (!place.isConnected) return undefined;
    }
  }
  const list = element("ul", { class: "nearest" });
  for (const image of found) list.append(element("li", { class: image.copy ? "copy" : null }, figure(image, image.note)));
  const meaning = element("p", { class: "meaning" }, "The first one is ", found[0].nearness, ". ",
    element("a", { href: "#nearness" }, "What nearness means"));
  place.replaceChildren(element("h4", {}, "Nearest training images"), meaning, list);
  onFound(found);
  return undefined;
}

/** One picture: a sheet with its progress, then the picture. */
class Picture {
  constructor(asked, number, side, onChange) {
    Object.assign(this, { asked, number, onChange, seed: asked.seed + number, kept: null });
    const [width, height] = side;
    this.canvas = element("canvas", { width, height, role: "img", "aria-label": `Picture ${number + 1}, not finished yet` });
    this.bar = element("progress", { max: asked.steps, value: 0, "aria-label": `Steps of picture ${number + 1}` });
    this.now = element("p", { class: "now" }, "Waiting");
    this.sheet = element("div", { class: "sheet" }, this.canvas, this.bar, this.now);
    this.near = element("div");
    this.item = element("li", {}, element("div", { class: "picture" }, this.sheet, this.near));
  }

  say(text) { this.now.textContent = text; }

  place(ahead) {
    if (ahead === null) this.say(this.bar.value ? this.now.textContent : "Being drawn");
    else this.say(ahead ? `Waiting: ${counted(ahead, "picture")} before this one` : "Waiting: next");
  }

  step(step, steps) {
    this.bar.value = step;
    this.say(step < steps ? `Step ${step} of ${steps}` : "Almost done");
  }

  stop(text) {
    this.bar.remove();
    this.say(text);
  }

  /** The finished picture. `kept`: name, url, and the nearest images if they are known. */
  show(kept, withNearest) {
    this.kept = kept;
    const alt = `${this.asked.prompt}, seed ${this.seed}`;
    const image = element("img", { src: kept.url, alt, width: this.canvas.width, height: this.canvas.height });
    const download = element("a", { class: "button", href: `/draw/files/${encodeURIComponent(kept.name)}`, download: "" }, "Download");
    download.setAttribute("aria-label", `Download the picture of seed ${this.seed}`);
    const below = element("p", { class: "actions" }, download);
    image.addEventListener("error", () => {
      this.sheet.replaceChildren(element("p", { class: "soft" },
        `The server no longer keeps this picture. Use its settings to draw it again; its seed is ${this.seed}.`));
    });
    this.sheet.replaceChildren(image, element("p", { class: "now" }, `Seed ${this.seed}`), below);
    if (!withNearest) return;
    showNearest(this.near, kept.name, kept.nearest, (found) => {
      this.kept.nearest = found;
      this.onChange();
    }).catch((error) => this.near.replaceChildren(element("p", { class: "soft" }, error.message)));
  }
}

/** A request and its pictures. `on`: what its buttons do (use, again), and what follows a change. */
export class Group {
  constructor(asked, side, on) {
    Object.assign(this, { asked, on, withNearest: on.withNearest, stopping: new AbortController() });
    this.pictures = Array.from({ length: asked.n }, (_, number) => new Picture(asked, number, side, on.change));
    this.cancel = button("Cancel", () => this.stopping.abort(), `Cancel: ${asked.prompt}`);
    this.actions = element("p", { class: "actions" }, this.cancel);
    this.notes = element("div", { class: "notes" });
    this.list = element("ul", { class: "drawn" }, ...this.pictures.map((each) => each.item));
    this.item = element("li", {}, element("article", {},
      element("h3", { dir: "auto" }, element("bdi", {}, asked.prompt)), settingsLine(asked), this.notes, this.actions, this.list));
  }

  event(kind, values) {
    if (kind === "note") return this.notes.append(element("p", { class: "soft" }, element("bdi", {}, values.text)));
    const picture = this.pictures[values.image];
    if (kind === "place") picture.place(values.ahead);
    else if (kind === "step") picture.step(values.step, values.steps);
    else if (kind === "preview") return paint(picture.canvas, values.jpeg);
    else if (kind === "done") picture.show({ name: values.name, url: values.url }, this.withNearest);
    else if (kind === "error") picture.stop(values.message);
    return undefined;
  }

  busy(seconds) {
    for (const each of this.pictures) each.say(seconds ? `The server is busy: again in ${seconds} s` : "Asking again");
  }

  /** No more events come. `why`: what to say of pictures that are not there. */
  ended(why = "Not drawn") {
    for (const each of this.pictures) if (!each.kept && each.bar.isConnected) each.stop(why);
    const { use, again } = this.on;
    const about = this.asked.prompt;
    this.actions.replaceChildren(
      button("Use these settings", () => use(this.asked), `Use these settings: ${about}`),
      button("Same settings, new seed", () => again(this.asked), `Same settings, new seed: ${about}`),
    );
  }

  /** What a reload needs; null if there is no picture. */
  get saved() {
    const pictures = this.pictures.map((each) => each.kept);
    return pictures.some(Boolean) ? { asked: this.asked, pictures } : null;
  }

  restore(pictures) {
    pictures.forEach((kept, number) => kept && this.pictures[number].show(kept, this.withNearest));
    this.ended();
  }
}
