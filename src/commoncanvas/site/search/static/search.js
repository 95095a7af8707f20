// The page Catalog: searches without loading the page again. Without this script, its form and links work too.
import { ask } from "./site.js";
import { CHUNK, Wall } from "./search-wall.js";

const byId = (id) => document.getElementById(id);
const form = byId("search"), go = byId("go"), problem = byId("problem"), found = byId("found"), file = byId("file");
let running = null, version = null;

const wall = new Wall(byId("wall"), (start, limit, signal) => ask(address(start, limit), { signal }), moved, said);

/** The filled fields of the form. */
function fields() {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) given.set(name, value);
  return given;
}

function address(start, limit) {
  const given = fields();
  given.set("start", start);
  given.set("limit", limit);
  if (version !== null) given.set("version", version);
  return `/search?${given}`;
}

/** Search for what the form says, and show the images from number `first` on. */
async function search(first = 0) {
  running?.abort();
  running = new AbortController();
  version = null;
  const { signal } = running;
  const start = Math.floor(first / CHUNK) * CHUNK;
  byId("likeness").hidden = !byId("alike").value;
  said(null);
  try {
    const answer = await ask(address(start, CHUNK), { signal });
    version = answer.version;
    found.textContent = answer.sentence;
    go.hidden = answer.total <= CHUNK;
    wall.show(answer.total, Math.min(first, Math.max(0, answer.total - 1)), start, answer.images);
  } catch (error) {
    if (error.name === "AbortError") return;
    found.textContent = "";
    wall.show(0, 0, 0, []);
    said(error);
  }
}

function said(error) {
  problem.hidden = !error;
  problem.textContent = error ? error.message : "";
}

/** The address bar follows the wall, so that the page can be loaded again or sent to somebody. */
function moved(first) {
  const given = fields();
  if (first > 0) given.set("start", first);
  const wanted = `/catalog?${given}`;
  if (wanted !== location.pathname + location.search) history.replaceState(null, "", wanted);
}

function submit() {
  history.pushState(null, "", `/catalog?${fields()}`);
  scrollTo(0, Math.min(scrollY, wall.top ?? 0));
  search();
}

async function byPicture(picture) {
  if (!picture) return;
  said(null);
  found.textContent = "Reading the picture…";
  try {
    byId("alike").value = (await ask("/search/picture", { method: "POST", body: picture })).alike;
    byId("q").value = "";
    submit();
  } catch (error) {
    found.textContent = "";
    said(error);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter?.id === "forget") {
    byId("alike").value = "";
    byId("q").focus();
  }
  submit();
});
form.addEventListener("change", (event) => {
  if (event.target.id !== "q" && event.target !== file) submit();
});
go.addEventListener("submit", (event) => {
  event.preventDefault();
  const number = Number.parseInt(byId("number").value, 10);
  if (number >= 1) wall.goTo(number - 1);
});
addEventListener("popstate", () => {
  const given = new URLSearchParams(location.search);
  for (const field of form.elements) {
    if (!field.name || field.type === "submit" || field.name === "catalog") continue;
    field.value = given.get(field.name) ?? "";
  }
  search(Number.parseInt(given.get("start") ?? "0", 10) || 0);
});

byId("choose").hidden = file.hidden = false;
byId("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  byPicture(file.files[0]);
  file.value = "";
});
const hasFile = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  byId("drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
addEventListener("drop", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  byId("drop").hidden = true;
  byPicture(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (picture) byPicture(picture);
});

// Names of countries, in the language of the page.
const names = new Intl.DisplayNames(["en"], { type: "region", fallback: "code" });
for (const option of byId("country")?.options ?? []) {
  if (/^[A-Z]{2}$/.test(option.value)) option.textContent = option.textContent.replace(option.value, names.of(option.value));
}
byId("pager").hidden = true;
history.scrollRestoration = "manual";
if (problem.hidden) search(Number(byId("wall").dataset.start));
