const form = $("filters");
const forInput = (millis) => {
  const date = new Date(Number(millis));
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
};

function fillForm() {
  const url = readUrl();
  // Whoever has chosen it has still to say between what.
  const isChosen = form.elements.last.value === "between" && !url.get("last");
  const isBetween = Boolean(isChosen || url.get("from") || url.get("to"));
  for (const name of ["state", "host", "id"]) {
    if (document.activeElement !== form.elements[name]) form.elements[name].value = url.get(name) ?? "";
  }
  form.elements.last.value = isBetween ? "between" : url.get("last") ?? "";
  for (const name of ["from", "to"]) {
    if (document.activeElement !== form.elements[name]) form.elements[name].value = url.get(name) ? forInput(url.get(name)) : "";
  }
  $("between").hidden = !isBetween;
  $("clear").hidden = !FILTERS.some((name) => url.get(name));
}

// What the URL says is what is shown.
function follow() {
  fillForm();
  picked.clear();
  $("done").hidden = true;
  drawChosenState();
  const id = readUrl().get("delivery");
  if (id) openDetail(id);
  else if ($("detail").open) $("detail").close();
  refresh(true);
  drawPace();
}

function readForm() {
  const value = (name) => form.elements[name].value.trim();
  const isBetween = value("last") === "between";
  $("between").hidden = !isBetween;
  const time = (name) => isBetween && value(name) ? String(new Date(value(name)).getTime()) : null;
  const values = { state: value("state"), host: value("host"), id: value("id"),
    last: isBetween ? null : value("last"), from: time("from"), to: time("to") };
  const url = readUrl();
  const isNew = FILTERS.some((name) => (values[name] || null) !== url.get(name));
  if (isNew) change(values, false);
}

let typing;
form.addEventListener("submit", (event) => { event.preventDefault(); readForm(); });
form.addEventListener("change", readForm);
form.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(readForm, 350); });
$("clear").addEventListener("click", () => {
  form.reset();
  change(Object.fromEntries(FILTERS.map((name) => [name, null])));
  form.elements.state.focus();
});

$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  say(isPaused ? "The list is paused." : "The list goes on.");
  drawPace();
  if (!isPaused) refresh(false);
});
$("fresh").addEventListener("click", () => { scrollTo(0, 0); refresh(true); });
$("newest").addEventListener("click", () => change({ before: null }));
$("redeliver").addEventListener("click", () => startAction("redeliver"));
$("cancel").addEventListener("click", () => startAction("cancel"));
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
$("detail").addEventListener("close", () => {
  const id = readUrl().get("delivery");
  clearDetail();
  if (id) change({ delivery: null });
  document.querySelector(`#rows tr[data-id="${CSS.escape(id ?? "")}"] a`)?.focus();
});
addEventListener("popstate", follow);

addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { j: () => move(1), k: () => move(-1), "/": () => { $("filter-box").open = true; form.elements.host.focus(); }, p: () => $("pause").click() };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

if (token) $("heads").append(el("th", { role: "columnheader", scope: "col", class: "pick" }, el("span", { class: "unseen" }, "Pick")));
for (const name of ["State", "Endpoint", "Response", "Attempts", "Accepted", "Age"]) $("heads").append(el("th", { role: "columnheader", scope: "col" }, name));

setInterval(() => {
  for (const one of document.querySelectorAll(".age")) {
    write(one, age(Number(one.dataset.at)));
  }
  drawPace();
}, 1000);

// One look at a time, and none where nobody sees it. After the last change two: counts may be a little older than it.
const LOOKS = 2;
let due = LOOKS;
let isLooking = false;
let rest = 0;
async function look() {
  if (document.hidden || isLooking || --rest > 0 || (isLive() && !due)) return;
  rest = isLive() ? 2 : 5;
  due = Math.max(0, due - 1);
  isLooking = true;
  try {
    if (!isPaused) await refresh(false);
    if ($("detail").open && isFollowed) await openDetail(readUrl().get("delivery"));
    await readSummary().catch(problem);
  } finally {
    isLooking = false;
  }
}

// A browser opens six connections to a host over HTTP/1.1, for all of its tabs: what nobody sees holds none of
// them. A stream that was refused has ended for good, and another one is asked for.
let stream = null;
function connect() {
  if (document.hidden) {
    stream?.close();
    stream = null;
  }
  if (document.hidden || !hasEvents || (stream && stream.readyState !== EventSource.CLOSED)) return;
  stream = new EventSource(`${base}api/events`);
  stream.addEventListener("message", () => { due = LOOKS; });
  stream.addEventListener("open", drawPace);
}

// A stream ends twice a minute, and the next one is open within a second.
let openAt = -Infinity;
function isLive() {
  if (stream?.readyState === EventSource.OPEN) openAt = performance.now();
  return performance.now() - openAt < 3000;
}

document.addEventListener("visibilitychange", () => {
  connect();
  [rest, due] = [0, LOOKS];
  look();
});
setInterval(connect, 5000);
setInterval(look, 1000);
// The plot moves on by itself, and times of retries come.
setInterval(() => { due ||= 1; }, 15000);

// Where there is little room the list comes first. Whoever has set a filter sees it. Elsewhere nothing is there
// that would open the filters.
const narrow = matchMedia("(max-width: 760px)");
if (narrow.matches && !FILTERS.some((name) => readUrl().get(name))) $("filter-box").open = false;
narrow.addEventListener("change", () => { if (!narrow.matches) $("filter-box").open = true; });
connect();
follow();
readSummary().catch(problem);
