// Everything is made of elements and text nodes: what callers and receivers chose is never parsed.
const $ = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const token = meta("console-token");
const hasEvents = meta("console-events") === "yes";
// The page is the only document, so its own path is the base, with or without a slash at its end. A name and a
// password in its address are left out: with them nothing can be fetched.
const base = location.origin + location.pathname.replace(/\/*$/, "/");

function el(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Whoever looks gives up in time, and looks again: later than an outbox does, whose answer says more. What is
// done takes as long as it takes.
const PATIENCE = 40000;

async function ask(path, params, options = {}) {
  let answer;
  const signal = options.method ? undefined : AbortSignal.timeout(PATIENCE);
  try {
    answer = await fetch(`${base}api/${path}?${new URLSearchParams(params)}`, { ...options, signal, cache: "no-store" });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "The answer takes too long." : "The server cannot be reached.");
  }
  const value = await answer.json().catch(() => ({ error: `the answer is ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(sentence(value.error)), { status: answer.status });
  return value;
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
// Leaves alone what says so already: a screen reader may be there.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const say = (text) => { $("said").textContent = text; };

function problem(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? error.message : "";
}

function age(at) {
  const seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function span(millis) {
  if (millis === null) return "–";
  if (millis < 1) return "< 1 ms";
  if (millis < 1000) return `${millis < 10 ? millis.toFixed(1) : Math.round(millis)} ms`;
  if (millis < 60000) return `${(millis / 1000).toFixed(1)} s`;
  return `${Math.round(millis / 60000)} min`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1048576) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1048576).toFixed(1)} MiB`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumSignificantDigits: 2 });
const many = new Intl.NumberFormat();

// A row that somebody has edited may have any time. This is the end of the year 9999.
const LATEST = 253402300799000;
const dateOf = (at) => new Date(Math.min(at, LATEST));

function moment(at) {
  const date = dateOf(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

const state = (name) => el("span", { class: `state of-${name}` }, name);
const counted = (count) => `${count.is_more ? "> " : ""}${many.format(count.number)}`;
const plural = (number, one, more) => `${many.format(number)} ${number === 1 ? one : more}`;

// What an attempt came to, in one word.
const outcome = (attempt) => attempt.error ?? String(attempt.status);
const isGood = (attempt) => attempt.status >= 200 && attempt.status < 300;
