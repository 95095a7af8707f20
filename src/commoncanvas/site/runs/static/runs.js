// Pages about trainings: they follow the files of the runs while these change.

import { RunCurves } from "./runs-data.js";
import { Plot } from "./runs-plot.js";

const SOON_MS = 3000, LATER_MS = 20_000;
const TOGETHER = [["loss", "validation_loss"]];

const plots = document.getElementById("plots");
const runs = plots ? JSON.parse(plots.dataset.runs).map((name) => new RunCurves(name)) : [];
const drawn = new Map();
let read = null;

function setting(id) {
  return document.getElementById(id).value;
}

function draw() {
  const names = new Set(runs.flatMap((run) => [...run.curves.keys()]));
  for (const group of TOGETHER) {
    if (names.has(group[0])) group.slice(1).forEach((name) => names.delete(name));
  }
  for (const [name, plot] of drawn) {
    if (!names.has(name)) {
      plot.root.remove();
      drawn.delete(name);
    }
  }
  for (const name of names) {
    if (!drawn.has(name)) {
      const group = TOGETHER.find((each) => each[0] === name) ?? [name];
      drawn.set(name, new Plot(group, readAll));
      plots.append(drawn.get(name).root);
    }
    drawn.get(name).draw(runs, Number(setting("smoothing")), setting("scale"));
  }
}

/** Show the same step in all plots. */
function readAll(step) {
  read = step;
  drawn.forEach((plot) => plot.read(read));
}

/** What the server shows now, in place of what it showed before. */
function renew(page, keys) {
  for (const old of document.querySelectorAll("[data-live]")) {
    if (keys && !keys.includes(old.dataset.live)) continue;
    const now = page.querySelector(`[data-live="${old.dataset.live}"]`);
    if (!now || old.outerHTML === now.outerHTML) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
    if (focused) document.getElementById(focused)?.focus();
  }
}

async function page(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) throw new Error(`The server answered ${answer.status}.`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function renewTime(now) {
  const old = document.getElementById("step"), made = now.getElementById("step");
  if (!old || !made) return;
  for (const name of ["max", "data-steps", "aria-valuetext"]) old.setAttribute(name, made.getAttribute(name));
  old.value = made.getAttribute("value");
  document.getElementById("time").hidden = now.getElementById("time").hidden;
}

let asked = 0;
/** Show the samples of another step or prompt. */
async function go(address) {
  const mine = ++asked;
  history.replaceState(null, "", address);
  try {
    const now = await page(location.href);
    if (mine !== asked) return;
    renew(now, ["wall"]);
    renewTime(now);
  } catch (error) {
    problem(error);
  }
}

function problem(error) {
  const text = error ? `${error.message === "Failed to fetch" ? "The server does not answer." : error.message} Trying again.` : "";
  const shown = document.getElementById("problem");
  if (shown.textContent !== text) shown.textContent = text;
}

let timer = 0;
async function follow() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const changed = await Promise.all(runs.map((run) => run.update()));
    if (changed.some(Boolean)) draw();
    const before = asked, now = await page(location.href);
    if (before === asked) {
      renew(now);
      renewTime(now);
    }
    problem(null);
  } catch (error) {
    problem(error);
  }
  const going = document.querySelector(".run-running, .run-waiting, #plots:empty");
  timer = setTimeout(follow, going ? SOON_MS : LATER_MS);
}

if (plots) {
  const controls = document.getElementById("controls"), time = document.getElementById("step");
  controls.hidden = time.hidden = false;
  for (const id of ["smoothing", "scale"]) document.getElementById(id).addEventListener("change", draw);
  new ResizeObserver(() => drawn.size && draw()).observe(plots);
  time.addEventListener("input", () => {
    const steps = JSON.parse(time.dataset.steps), query = new URLSearchParams(location.search);
    const step = steps[Number(time.value)];
    time.setAttribute("aria-valuetext", `step ${step}`);
    if (Number(time.value) === steps.length - 1) query.delete("step");
    else query.set("step", step);
    go(`?${query}`);
  });
  document.getElementById("samples").addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="?"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}
document.addEventListener("visibilitychange", follow);
follow();
