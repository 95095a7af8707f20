// Shows pairs and sends answers. The server decides what is shown; an answer that is sent twice counts once.

const QUESTIONS = {
  preference: ["Which image do you prefer?", ["Image 1 is better", "Image 2 is better", "Both are good", "Neither is good"]],
  alignment: ["Which image follows the text better?", ["Image 1 follows it better", "Image 2 follows it better", "Both follow it", "Neither follows it"]],
};
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "both", ArrowDown: "neither", 1: "left", 2: "right", 3: "both", 4: "neither" };
const STEP = 60; // pixels that an arrow moves a larger image

const at = (id) => document.getElementById(id);
const images = [at("image1"), at("image2")];
const frames = [...document.querySelectorAll(".frame")];
const buttons = [...document.querySelectorAll("[data-answer]")];
const pair = document.querySelector(".pair");
const following = new Set(); // frames that moved with the other one, which must not move it back
let task = null; // what is shown
let ready = false; // both images can be seen, and no answer is on its way
let seenAt = 0;

function enable(on) {
  ready = on;
  for (const button of buttons) button.setAttribute("aria-disabled", String(!on));
  at("undo").setAttribute("aria-disabled", String(!(on && task?.can_undo) && !(task?.finished && task.can_undo)));
}

function trouble(text, again) {
  at("trouble").hidden = !text;
  at("trouble").firstElementChild.textContent = text;
  at("again").onclick = () => { trouble("", null); again(); };
  if (text) at("again").focus();
}

async function ask(path, body) {
  enable(false);
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  try {
    const answer = await fetch(path, options);
    if (answer.status === 401 || answer.status === 403) return location.assign("/");
    if (answer.status === 409) return ask("/api/task");
    if (!answer.ok) throw new Error(String(answer.status));
    await show(await answer.json());
  } catch (error) {
    trouble("The server did not answer. Your last answer may not be stored yet.", () => ask(path, body));
  }
}

async function show(next) {
  task = next;
  at("finished").hidden = !task.finished;
  at("task").hidden = task.finished;
  zoom(false);
  if (task.finished) return finish();
  const [question, answers] = QUESTIONS[task.question];
  at("question").textContent = question;
  at("prompt").textContent = task.prompt;
  at("prompt").parentElement.scrollTop = 0;
  buttons.forEach((button, number) => { button.firstElementChild.textContent = answers[number]; });
  const place = `${task.done + 1} of ${task.total}`;
  at("progress").max = task.total;
  at("progress").value = task.done;
  at("count").textContent = place;
  await load();
  at("status").textContent = `Pair ${place}. ${question} The text: ${task.prompt}`;
  document.body.dataset.shown = `${task.assignment}/${task.question}/${task.attempt}`;
}

async function load() {
  pair.classList.add("loading");
  try {
    await Promise.all([task.left, task.right].map((url, number) => {
      if (images[number].getAttribute("src") !== url) images[number].src = url;
      return images[number].decode();
    }));
  } catch (error) {
    images.forEach((image) => image.removeAttribute("src"));
    return trouble("An image did not load.", () => load());
  }
  pair.classList.remove("loading");
  seenAt = performance.now();
  enable(true);
}

function finish() {
  at("progress").max = at("progress").value = Math.max(task.done, 1);
  at("count").textContent = `${task.done} of ${task.done}`;
  at("given").textContent = `You answered ${task.done} ${task.done === 1 ? "pair" : "pairs"}` + (task.asked_all ? ": all that there are." : ".");
  enable(false);
  at("finished").focus();
  document.body.dataset.shown = "finished";
}

function vote(answer) {
  if (!ready || task.finished) return;
  const seconds = (performance.now() - seenAt) / 1000;
  ask("/api/vote", { assignment: task.assignment, question: task.question, attempt: task.attempt, answer, seconds });
}

function undo() {
  if (at("undo").getAttribute("aria-disabled") === "false") ask("/api/undo", {});
}

function zoom(on, x = 0.5, y = 0.5) {
  pair.classList.toggle("zoomed", on);
  for (const frame of frames) {
    frame.setAttribute("aria-pressed", String(on));
    frame.scrollLeft = on ? x * frame.scrollWidth - frame.clientWidth / 2 : 0;
    frame.scrollTop = on ? y * frame.scrollHeight - frame.clientHeight / 2 : 0;
  }
}

const zoomed = () => pair.classList.contains("zoomed");

buttons.forEach((button) => button.addEventListener("click", () => vote(button.dataset.answer)));
at("undo").addEventListener("click", undo);
at("help").addEventListener("click", () => at("keys").showModal());
frames.forEach((frame, number) => {
  frame.addEventListener("click", (event) => {
    const box = frame.getBoundingClientRect();
    zoom(!zoomed(), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });
  frame.addEventListener("scroll", () => {
    if (following.delete(frame)) return;
    const other = frames[1 - number];
    if (other.scrollLeft === frame.scrollLeft && other.scrollTop === frame.scrollTop) return;
    following.add(other);
    other.scrollTo(frame.scrollLeft, frame.scrollTop);
  });
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || at("keys").open || !task) return;
  const { key, target } = event;
  const onFrame = frames.includes(target);
  if (target.matches(".prompt") && target.scrollHeight > target.clientHeight && /Arrow(Up|Down)/.test(key)) return;
  if (zoomed() && key.startsWith("Arrow")) {
    frames[0].scrollBy((key === "ArrowRight" ? STEP : key === "ArrowLeft" ? -STEP : 0), (key === "ArrowDown" ? STEP : key === "ArrowUp" ? -STEP : 0));
  } else if (KEYS[key]) {
    vote(KEYS[key]);
  } else if (key === "u" || key === "U" || key === "Backspace") {
    undo();
  } else if (key === "z" || key === "Z" || (onFrame && (key === "Enter" || key === " "))) {
    zoom(!zoomed());
  } else if (key === "Escape") {
    zoom(false);
  } else if (key === "?") {
    at("keys").showModal();
  } else {
    return;
  }
  event.preventDefault();
});

ask("/api/task");
