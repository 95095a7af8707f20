// Sends a picture that somebody chose, dropped or pasted, and shows the server's answer.
import { ask } from "./site.js";

const form = document.getElementById("lookup-picture");
const input = document.getElementById("lookup-file");
const drop = form.querySelector(".lookup-drop");
const preview = document.getElementById("lookup-preview");
const status = document.getElementById("lookup-status");
const MOST = Number(form.dataset.most);
const SIDE = 148;
let running = null;

async function show(file) {
  preview.hidden = true;
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return; // the server knows more formats than browsers
  }
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  preview.width = Math.max(1, Math.round(picture.width * scale));
  preview.height = Math.max(1, Math.round(picture.height * scale));
  preview.getContext("2d").drawImage(picture, 0, 0, preview.width, preview.height);
  picture.close();
  preview.hidden = false;
}

async function say(signal) {
  status.textContent = "Looking …";
  await new Promise((done) => setTimeout(done, 800));
  while (!signal.aborted) {
    const { reading } = await ask("/api/lookup/state", { signal });
    if (signal.aborted) return;
    status.textContent = reading
      ? `Reading the hashes of ${reading.toLocaleString("en")} images. The next look-ups need no such wait.`
      : "Looking …";
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function page(answer) {
  if (!(answer.headers.get("content-type") ?? "").startsWith("text/html")) {
    const body = await answer.json().catch(() => null);
    throw new Error(body?.error?.message ?? `The server answered ${answer.status}.`);
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function put(nodes) {
  const answer = document.getElementById("lookup-answer");
  answer.replaceChildren(...nodes);
  answer.querySelector("h2")?.focus();
}

async function lookUp(file) {
  running?.abort();
  const mine = running = new AbortController();
  put([]);
  show(file);
  if (file.size > MOST) {
    status.textContent = `This picture has ${file.size.toLocaleString("en")} bytes; at most ${MOST.toLocaleString("en")} can be looked up.`;
    return;
  }
  const telling = new AbortController();
  say(telling.signal).catch(() => {});
  let told = "";
  try {
    const headers = { accept: "text/html", "content-type": "application/octet-stream" };
    const answer = await fetch("/lookup", { method: "POST", body: file, headers, signal: mine.signal });
    const found = await page(answer);
    if (mine.signal.aborted) return;
    const parts = found.getElementById("lookup-answer");
    if (!parts) throw new Error(found.querySelector("main p")?.textContent ?? "The server failed.");
    put([...parts.childNodes].map((node) => document.importNode(node, true)));
  } catch (error) {
    if (mine.signal.aborted) return;
    told = error instanceof TypeError ? "The server does not answer." : error.message;
  } finally {
    telling.abort();
    if (running === mine) status.textContent = told;
  }
}

function first(data) {
  return [...(data?.files ?? [])][0];
}

input.addEventListener("change", () => {
  if (input.files[0]) lookUp(input.files[0]);
  input.value = ""; // so that the same file can be chosen again
});
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("paste", (event) => {
  const file = first(event.clipboardData);
  if (file) lookUp(file);
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && first(event.dataTransfer)) lookUp(first(event.dataTransfer));
  });
}
form.hidden = false;
