// What the scripts of several pages share. Texts of strangers become text nodes, never markup.

/** An element with attributes and children; a child that is a string becomes text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function link(text, url, rel = "noopener nofollow") {
  const shown = element("bdi", {}, text);
  return /^https?:\/\//i.test(url ?? "") ? element("a", { href: url, rel }, shown) : shown;
}

/** The credit line of an image, as site/shown.py describes it. */
export function credit(image) {
  const made = element("p", { class: "credit" });
  made.append(element("cite", {}, link(image.title || "Untitled", image.source_url)));
  made.append(" by ", link(image.creator || "unknown creator", image.creator_url));
  if (image.license_name) {
    made.append(` ${image.verb} `, link(image.license_name, image.license_url, "license noopener nofollow"));
  } else {
    made.append(", licence not stated");
  }
  return made;
}

/** A small picture that leads to the image's page, with its credit below. */
export function figure(image, note = "") {
  const picture = element("img", {
    src: image.picture, alt: image.title || "Untitled", loading: "lazy", decoding: "async",
  });
  const caption = element("figcaption");
  if (note) caption.append(element("p", { class: "note" }, note));
  caption.append(credit(image));
  return element("figure", { class: "image" }, element("a", { href: image.page }, picture), caption);
}

/** Ask this server for JSON; throws an Error with the server's own sentence. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error?.message ?? `The server answered ${answer.status}.`);
  return body;
}
