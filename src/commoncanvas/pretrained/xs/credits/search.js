"use strict";
// Searches the credits in the folder beside the page. Each file there is a script that calls `credits(name, value)`.
// All text is shown by `textContent`, never as HTML.

const SHOWN = 10; // creators or licences at first, and with each "more"
const WORKS = 20;
const WIDEST = 8; // scripts of words that one beginning of a word may need
const SCANNED = 60; // scripts of rows that are read at once for works that have all words
const PRINTS = 65536; // different prints of the hashes in one script of ids and addresses
const SAME = 500; // most works that are listed for one address
const KEPT = 400; // scripts that stay in memory

const $ = (id) => document.getElementById(id);
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const IDEOGRAPHS = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/gu;
const LONGEST_WORD = 40;

// ---------------------------------------------------------------- the files

const files = new Map(); // name -> promise
const waiting = new Map(); // name -> what takes the value
window.credits = (name, value) => waiting.get(name)?.(value);

function load(name) {
  if (!files.has(name)) {
    const script = document.createElement("script");
    const made = new Promise((done, failed) => {
      waiting.set(name, done);
      script.onerror = () => failed(new Error(name));
      script.src = `${document.body.dataset.folder}/${name}.js`;
      document.head.append(script);
    }).finally(() => { waiting.delete(name); script.remove(); });
    files.set(name, made);
    made.catch(() => files.delete(name));
    if (files.size > KEPT) files.delete([...files.keys()].find((each) => each !== "index"));
  }
  return files.get(name);
}

// ---------------------------------------------------------------- words

// As `spelled` in credits_index.py.
function wordsOf(text) {
  const plain = text.normalize("NFKD").toLowerCase().replace(/\p{M}+/gu, "").replaceAll("ς", "σ");
  const spaced = plain.replace(IDEOGRAPHS, " $& ");
  return spaced.split(/[^\p{L}\p{N}]+/u).filter(Boolean).map((word) => [...word].slice(0, LONGEST_WORD).join(""));
}

// Strings are in the order of their code points, not of JavaScript's halves of pairs.
function compare(a, b) {
  const x = [...a], y = [...b];
  for (let at = 0; at < Math.min(x.length, y.length); at++) {
    const by = x[at].codePointAt(0) - y[at].codePointAt(0);
    if (by) return by;
  }
  return x.length - y.length;
}

// As `plain` in credits_keys.py.
function keyOf(text) {
  let key = text.trim().replace(/^(https?:\/\/)?(www\.)?/i, "");
  try { key = decodeURIComponent(key); } catch { /* it stays as it is */ }
  return key.normalize("NFC").replace(/[A-Z]+/g, (letters) => letters.toLowerCase()).replace(/\/+$/, "");
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

// CRC-32, as zlib's `crc32`.
function hashOf(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) crc = (crc >>> 8) ^ CRC[(crc ^ byte) & 255];
  return (crc ^ 0xffffffff) >>> 0;
}

// The last place in sorted `firsts` that is not above `word`.
function placeOf(firsts, word) {
  let low = 0, high = firsts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(firsts[middle], word) <= 0) low = middle + 1; else high = middle;
  }
  return Math.max(low - 1, 0);
}

function summed(gaps) {
  let at = 0;
  return gaps.map((gap, place) => (at = place ? at + gap : gap));
}

// What begins with `word`: numbers of titles and of creators, and how many titles there are if not all are listed.
async function having(index, word) {
  const found = { word, titles: new Set(), creators: new Set(), total: 0, cut: false };
  if (!index.words.length) return found;
  const low = placeOf(index.words, word);
  let high = placeOf(index.words, word + "\u{10ffff}");
  const exact = high - low >= WIDEST; // a short beginning: only this word itself
  if (exact) high = Math.min(low + 1, high);
  const scripts = [];
  for (let number = low; number <= high; number++) scripts.push(load(`words-${number}`));
  for (const script of await Promise.all(scripts)) {
    script.words.forEach((each, place) => {
      if (exact ? each !== word : !each.startsWith(word)) return;
      summed(script.titles[place]).forEach((row) => found.titles.add(row));
      summed(script.creators[place]).forEach((one) => found.creators.add(one));
      found.total += script.counts[place];
      found.cut ||= script.counts[place] > script.titles[place].length;
    });
  }
  return found;
}

function inAll(sets) {
  const [fewest, ...others] = [...sets].sort((a, b) => a.size - b.size);
  return [...fewest].filter((one) => others.every((each) => each.has(one))).sort((a, b) => a - b);
}

const hasAll = (words, text) => {
  const own = wordsOf(text);
  return words.every((word) => own.some((each) => each.startsWith(word)));
};

// ---------------------------------------------------------------- rows and creators

async function row(index, number) {
  const from = await load(`rows-${Math.floor(number / index.step)}`);
  const place = number % index.step;
  const [creator, creatorUrl] = from.creators[from.row.creators[place]];
  const [license, licenseUrl, marked] = from.licenses[from.row.licenses[place]];
  const [changes] = from.changes[from.row.changes[place]];
  return {
    id: from.ids[place], title: from.titles[place], url: from.urls[place],
    creator, creatorUrl, license, licenseUrl, marked, changes,
  };
}

async function creator(index, number) {
  const from = await load(`creators-${Math.floor(number / index.creatorStep)}`);
  const place = number % index.creatorStep;
  return { name: from.names[place], url: from.urls[place], first: from.firsts[place], count: from.counts[place] };
}

// Creators who have exactly this name: a search for "Ann" finds Ann before Joanne Ann.
async function named(index, words) {
  const name = words.join(" ");
  const number = placeOf(index.people.map((each) => each ?? "\u{10ffff}"), name);
  if (!index.people.length) return [];
  const { names } = await load(`creators-${number}`);
  const same = names.flatMap((each, place) => (wordsOf(each ?? "").join(" ") === name ? [place] : []));
  return same.map((place) => number * index.creatorStep + place);
}

// What has the query as its whole id or address: numbers of works and of creators.
async function exactly(index, query) {
  const text = query.trim(), found = { works: new Set(), creators: new Set() };
  if (/\s/.test(text) || !/[\d:/@._]/.test(text)) return { works: [], creators: [] };
  const words = text.includes(":") ? [text] : [text, ...index.sources.map((source) => `${source}:${text}`)];
  await Promise.all(words.map(keyOf).filter(Boolean).map(async (key) => {
    const hash = hashOf(key);
    const from = await load(`keys-${hash % index.buckets}`);
    const print = Math.floor(hash / index.buckets) % PRINTS;
    const listed = ([gaps, numbers]) => {
      const prints = summed(gaps);
      return numbers.filter((_, place) => prints[place] === print);
    };
    const has = (text) => text !== null && keyOf(text) === key;
    await Promise.all([
      ...listed(from.works).map(async (number) => {
        const one = await row(index, number);
        if (has(one.id) || has(one.url)) found.works.add(number);
      }),
      ...listed(from.creators).map(async (number) => {
        if (has((await creator(index, number)).url)) found.creators.add(number);
      }),
    ]);
  }));
  return { works: [...found.works].sort((a, b) => a - b), creators: [...found.creators].sort((a, b) => a - b) };
}

const range = (first, count) => Array.from({ length: count }, (_, place) => first + place);

// Rows that may have all words: those of the rarest word, as a title or by its first creators.
async function candidates(index, found) {
  const [rarest] = [...found].sort((a, b) => a.titles.size + 50 * a.creators.size - b.titles.size - 50 * b.creators.size);
  const people = await Promise.all([...rarest.creators].slice(0, 50).map((one) => creator(index, one)));
  const rows = new Set(rarest.titles);
  for (const one of people) range(one.first, Math.min(one.count, 1000)).forEach((each) => rows.add(each));
  return [...rows].sort((a, b) => a - b);
}

// ---------------------------------------------------------------- showing

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const shown = (text) => text.replace(UNSAFE, "\ufffd");

// A text in its own direction; with a link if the address is one of the web.
function linked(text, url, otherwise) {
  const words = element("bdi", shown(text ?? otherwise));
  if (!/^https?:\/\//i.test(url ?? "")) return words;
  const link = element("a", undefined, { href: url, rel: "noopener noreferrer nofollow", target: "_blank" });
  link.append(words);
  return link;
}

function work(one) {
  const item = element("li");
  const title = element("cite");
  title.append(linked(one.title, one.url, "Untitled"));
  item.append(title, " by ", linked(one.creator, one.creatorUrl, "creator not stated"));
  if (one.license) item.append(one.marked ? " is marked with " : " is licensed under ", linked(one.license, one.licenseUrl));
  else item.append(", licence not stated");
  const small = element("small");
  if (one.changes) small.append(`${shown(one.changes)}; `);
  small.append(element("code", shown(one.id)));
  item.append(small);
  return item;
}

const count = (number, things) => `${number.toLocaleString("en")} ${number === 1 ? things.slice(0, -1) : things}`;

// Fills `list` some at a time: `next()` returns some items, and null after the last.
function filled(list, next) {
  const button = element("button", "More", { type: "button", class: "more" });
  button.onclick = async () => {
    const last = list.lastElementChild;
    const items = await next();
    list.append(...(items?.made ?? []));
    if (!items || items.ended) button.remove();
    if (document.activeElement === document.body || document.activeElement === button)
      last?.nextElementSibling?.querySelector("a, button")?.focus();
  };
  return { button, first: async () => {
    const items = await next();
    list.append(...(items?.made ?? []));
    if (items && !items.ended) list.after(button);
  } };
}

function rowsOf(index, numbers, wanted = () => true, scripts = Infinity) {
  let at = 0;
  return async () => {
    const made = [];
    const read = new Set();
    while (at < numbers.length && made.length < WORKS && read.size <= scripts) {
      const some = numbers.slice(at, at + WORKS - made.length);
      some.forEach((number) => read.add(Math.floor(number / index.step)));
      const rows = await Promise.all(some.map((number) => row(index, number)));
      at += some.length;
      made.push(...rows.filter(wanted).map(work));
    }
    return { made, ended: at >= numbers.length };
  };
}

function openable(name, label, next) {
  const item = element("li");
  const button = element("button", undefined, { type: "button", class: "person", "aria-expanded": "false" });
  const title = element("span");
  title.append(name);
  button.append(title, element("span", label));
  item.append(button);
  button.onclick = async () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    while (button.nextSibling) button.nextSibling.remove();
    if (open) return;
    const list = element("ul", undefined, { class: "works" });
    item.append(list);
    await filled(list, next()).first();
  };
  return item;
}

function person(index, one) {
  const name = element("bdi", shown(one.name ?? "creator not stated"));
  return openable(name, count(one.count, "works"), () => rowsOf(index, range(one.first, one.count)));
}

function license(index, one) {
  const name = element("bdi", shown(one.name ?? "licence not stated"));
  return openable(name, count(one.count, "works"), () => licensed(index, one));
}

// Rows under a licence, from one script after another.
function licensed(index, one) {
  let script = 0, place = 0;
  return async () => {
    const numbers = [];
    for (; script < one.scripts.length && numbers.length < WORKS; place === 0 && script++) {
      const from = await load(`rows-${one.scripts[script]}`);
      for (; place < from.ids.length && numbers.length < WORKS; place++)
        if (from.licenses[from.row.licenses[place]][0] === one.name) numbers.push(one.scripts[script] * index.step + place);
      if (place === from.ids.length) place = 0;
    }
    const rows = await Promise.all(numbers.map((number) => row(index, number)));
    return { made: rows.map(work), ended: script >= one.scripts.length };
  };
}

function some(numbers, make) {
  let at = 0;
  return async () => {
    const made = await Promise.all(numbers.slice(at, at + SHOWN).map(make));
    at += SHOWN;
    return { made, ended: at >= numbers.length };
  };
}

// ---------------------------------------------------------------- the search

async function put(section, numbers, next) {
  const made = element("ul", undefined, { class: section === "works" ? "works" : "people" });
  const holder = element("div");
  holder.append(made);
  if (numbers.length) await filled(made, next).first();
  return () => {
    const place = $(section);
    place.querySelectorAll(":scope > :not(h2)").forEach((each) => each.remove());
    place.append(...holder.childNodes);
    place.hidden = !made.childElementCount && !place.querySelector(".more");
  };
}

// Promises of functions that show a section, creators first; and of a line about what was found.
async function search(index, query) {
  const words = [...new Set(wordsOf(query))].slice(0, 8);
  const licenses = index.licenses.filter((one) => hasAll(words, one.name ?? "licence not stated"));
  const browsed = put("licenses", licenses, some(licenses, (one) => license(index, one)));
  if (!words.length) return { parts: [put("people", []), put("works", []), browsed], says: "" };
  const [own, exact, ...found] = await Promise.all(
    [exactly(index, query), named(index, wordsOf(query)), ...words.map((word) => having(index, word))]);
  const others = inAll(found.map((each) => each.creators)).filter((one) => !exact.includes(one));
  const people = [...new Set([...own.creators, ...exact, ...others])];
  const parts = [put("people", people, some(people, async (number) => person(index, await creator(index, number))))];
  const says = people.length ? [count(people.length, "creators")] : [];
  const whole = words.length === 1 || !found.some((each) => each.cut);
  const titled = whole ? inAll(found.map((each) => each.titles)) : [];
  if (own.works.length) says.push(count(own.works.length, "works") + (own.works.length < SAME ? "" : " or more"));
  if (own.works.length || titled.length || words.length === 1) {
    const works = [...new Set([...own.works, ...titled])];
    parts.push(put("works", works, rowsOf(index, works)));
    const cut = found[0].cut ? `, of which ${titled.length.toLocaleString("en")} can be shown` : "";
    if (titled.length) says.push(count(words.length === 1 ? found[0].total : titled.length, "titles") + cut);
  } else {
    const rows = await candidates(index, found);
    const matches = (one) => hasAll(words, `${one.title ?? ""} ${one.creator ?? ""} ${one.license ?? ""}`);
    parts.push(put("works", rows, rowsOf(index, rows, matches, SCANNED)));
  }
  if (licenses.length) says.push(count(licenses.length, "licences"));
  return { parts: [...parts, browsed], says: says.join(" · ") };
}

let asked = 0;

async function ask(index) {
  const mine = ++asked;
  const query = $("query").value;
  history.replaceState(null, "", query ? `#${encodeURIComponent(query)}` : "#");
  try {
    const { parts, says } = await search(index, query);
    for (const [place, part] of parts.entries()) {
      const show = await part;
      if (mine !== asked) return; // something else was typed
      show();
      if (place === 0) document.body.dataset.people = query;
    }
    $("status").textContent = says || (query && $("works").hidden ? "Nothing found" : "");
    document.body.dataset.asked = query;
  } catch (error) {
    if (mine === asked) $("status").textContent = unreadable(error);
  }
}

const unreadable = (error) =>
  `The file ${document.body.dataset.folder}/${error.message}.js is missing. The page needs the folder ${document.body.dataset.folder} beside it.`;

function fromAddress() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
}

async function begin() {
  const form = document.querySelector("form"), input = $("query");
  form.onsubmit = (event) => event.preventDefault();
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) { event.preventDefault(); input.focus(); input.select(); }
    if (event.key === "Escape" && document.activeElement === input) { input.value = ""; input.dispatchEvent(new Event("input")); }
  });
  try {
    const index = await load("index");
    $("total").textContent = `There are ${count(index.rows, "works")} by ${count(index.creators, "creators")}.`;
    input.addEventListener("input", () => ask(index));
    addEventListener("hashchange", () => { if (fromAddress() !== input.value) { input.value = fromAddress(); ask(index); } });
    if (!input.value) input.value = fromAddress();
    await ask(index);
  } catch (error) {
    $("status").textContent = unreadable(error);
  }
}

begin();
