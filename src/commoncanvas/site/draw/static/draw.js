// The page Draw: the form, the address bar, and the wall.

import { drawn } from "/static/draw-stream.js";
import { Group } from "/static/draw-wall.js";

const KEPT = "commoncanvas-draw";
const MOST_KEPT = 40;
const FIELDS = ["prompt", "negative", "seed", "n", "steps", "guidance", "size"];
const find = (id) => document.getElementById(id);
const form = find("draw"), wall = find("wall"), random = find("random");
const side = form.dataset.size.split("x").map(Number);
const withNearest = "nearest" in form.dataset;
const groups = [];

function say(text) { find("said").textContent = text; }

/** What the form asks for. */
function asked() {
  const value = (name) => find(name)?.value ?? "";
  return {
    prompt: value("prompt").trim(), negative: value("negative").trim(), size: value("size"),
    ...Object.fromEntries(["seed", "n", "steps", "guidance"].map((name) => [name, Number(value(name))])),
  };
}

function fill(settings) {
  for (const name of FIELDS) {
    const field = find(name);
    if (field && settings[name] !== undefined) field.value = settings[name];
  }
}

/** The address that draws the same. */
function addressOf(settings) {
  const pairs = FIELDS.map((name) => [name, String(settings[name] ?? "")]);
  return `/draw?${new URLSearchParams(pairs.filter(([name, value]) => value && !(name === "n" && value === "1")))}`;
}

function keep() {
  const saved = groups.map((group) => group.saved).filter(Boolean).slice(0, MOST_KEPT);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(saved));
  } catch { /* full, or forbidden: the wall then ends with this page */ }
  find("none").hidden = groups.length > 0;
  find("clear").hidden = groups.length === 0;
}

function put(settings) {
  const group = new Group(settings, settings.size ? settings.size.split("x").map(Number) : side, {
    use, again, change: keep, withNearest,
  });
  groups.unshift(group);
  wall.prepend(group.item);
  return group;
}

function use(settings) {
  fill(settings);
  random.checked = false;
  find("prompt").focus();
}

function again(settings) {
  fill(settings);
  find("seed").value = newSeed();
  draw();
}

function newSeed() { return crypto.getRandomValues(new Uint32Array(1))[0]; }

async function draw(push = true) {
  const settings = asked();
  if (push) history.pushState(null, "", addressOf(settings));
  const group = put(settings);
  find("none").hidden = true;
  group.pictures[0].sheet.scrollIntoView({ block: "nearest" });
  say(`Drawing: ${settings.prompt}`);
  const { negative, size, ...rest } = settings;
  const body = { ...rest, ...(negative && { negative_prompt: negative }), ...(size && { size }) };
  try {
    for await (const [kind, values] of drawn(body, group.stopping.signal, (seconds) => group.busy(seconds))) {
      await group.event(kind, values);
      if (kind === "done") say(`Picture ${values.image + 1} of ${settings.n} is done: ${settings.prompt}`);
      if (kind === "error") say(`Picture ${values.image + 1} failed: ${values.message}`);
    }
    group.ended();
  } catch (error) {
    const text = group.stopping.signal.aborted ? "Cancelled" : error.message;
    group.ended(text);
    say(text);
  }
  keep();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (random.checked) find("seed").value = newSeed();
  draw();
});
form.addEventListener("invalid", () => { find("settings").open = true; }, true); // the browser shows the field then
find("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
find("try")?.addEventListener("click", (event) => {
  const chosen = event.target.closest("button");
  if (!chosen) return;
  find("prompt").value = chosen.textContent;
  form.requestSubmit();
});
find("own").addEventListener("click", () => {
  for (const field of form.querySelectorAll("[data-own]")) field.value = field.dataset.own;
  find("negative").value = "";
  random.checked = true;
});
find("clear").addEventListener("click", () => {
  for (const group of groups.splice(0)) {
    group.stopping.abort();
    group.item.remove();
  }
  keep();
  find("prompt").focus();
});
addEventListener("popstate", () => fill(Object.fromEntries(new URLSearchParams(location.search))));

function restore() {
  let saved = [];
  try {
    saved = JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch { /* nothing that can be read */ }
  for (const { asked: settings, pictures } of saved.reverse()) put(settings).restore(pictures);
  keep();
}

restore();
const others = [...form.querySelectorAll("[data-own]:not(#seed)")];
find("settings").open = find("negative").value !== "" || others.some((field) => String(field.value) !== field.dataset.own && Number(field.value) !== Number(field.dataset.own));
const query = new URLSearchParams(location.search);
const drawnBefore = groups.some((group) => addressOf(group.asked) === addressOf(asked()));
if (query.get("prompt") && query.get("seed") && !drawnBefore && form.checkValidity()) draw(false);
else if (matchMedia("(pointer: fine)").matches) find("prompt").focus();
