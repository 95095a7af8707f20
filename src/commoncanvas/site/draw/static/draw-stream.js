// Pictures from the server: one request, its events, and what to do when the server is busy.

const BUSY = new Set([429, 503]);

/** Waits; an aborted signal ends it with its reason. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

async function answerOf(body, signal, onBusy) {
  for (;;) {
    const answer = await fetch("/draw/images", {
      method: "POST", signal, body: JSON.stringify(body),
      headers: { "content-type": "application/json", accept: "text/event-stream" },
    });
    if (answer.ok) return answer;
    const problem = (await answer.json().catch(() => null))?.error?.message;
    if (!BUSY.has(answer.status)) throw new Error(problem ?? `The server answered ${answer.status}.`);
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    const ends = performance.now() + Math.max(200, Number(answer.headers.get("retry-after-ms")) || 1000 * seconds);
    for (let left = ends - performance.now(); left > 0; left = ends - performance.now()) {
      onBusy(Math.ceil(left / 1000));
      await pause(Math.min(left, 1000), signal);
    }
    onBusy(0);
  }
}

/** Ask for pictures. Yields [kind, values], see site/draw/stream.py; `onBusy` gets the seconds until the next try. */
export async function* drawn(body, signal, onBusy) {
  try {
    const answer = await answerOf(body, signal, onBusy);
    yield* events(answer.body.pipeThrough(new TextDecoderStream()).getReader());
  } catch (error) {
    throw error instanceof TypeError ? new Error("The server does not answer.") : error;
  }
}

async function* events(reader) {
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const [kind, data] = part.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      yield [kind, JSON.parse(data)];
    }
  }
}

/** Show an unfinished picture, a JPEG file in base64. */
export async function paint(canvas, jpeg) {
  const bytes = Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}
