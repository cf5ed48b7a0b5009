const FILTERS = ["state", "host", "id", "last", "from", "to"];
// The deliveries that are picked, by their ids.
const picked = new Map();
let isPaused = false;
let drawn = null;
// A finger leaves a hover behind where it was last.
const canHover = matchMedia("(hover: hover)");
const isSelecting = () => !(getSelection()?.isCollapsed ?? true);

const readUrl = () => new URLSearchParams(location.search);

function filterOfUrl() {
  const url = readUrl();
  const set = FILTERS.filter((name) => url.get(name));
  return Object.fromEntries(set.map((name) => [name, url.get(name)]));
}

// Changes the URL and shows what it says. A page of the list belongs to its filter.
function change(values, isStep = true) {
  const url = readUrl();
  if (Object.keys(values).some((name) => FILTERS.includes(name))) url.delete("before");
  for (const [name, value] of Object.entries(values)) {
    if (value) url.set(name, value);
    else url.delete(name);
  }
  const text = url.toString();
  history[isStep ? "pushState" : "replaceState"](null, "", text ? `?${text}` : location.pathname);
  follow();
}

function cell(name, ...what) {
  return el("td", { role: "cell", class: `cell-${name}` }, ...what);
}

function row(delivery) {
  const url = readUrl();
  url.set("delivery", delivery.id);
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.target.closest("input, .pick") || isSelecting()) return;
    event.preventDefault();
    change({ delivery: delivery.id });
  };
  const pick = () => {
    if (!picked.delete(delivery.id)) picked.set(delivery.id, delivery);
    drawActs();
  };
  const box = token && el("td", { role: "cell", class: "pick" }, el("input", {
    type: "checkbox", "aria-label": `Pick the delivery to ${delivery.host}`, checked: picked.has(delivery.id), onchange: pick }));
  const last = delivery.last && delivery.state !== "delivered" ? ` · ${outcome(delivery.last)}` : "";
  return el("tr", { role: "row", onclick: open, "data-id": delivery.id },
    ...(box ? [box] : []),
    cell("state", state(delivery.state)),
    cell("host", el("a", { href: `?${url}` }, delivery.host)),
    cell("status", el("span", { class: "unit" }, "response "), el("span", { class: "number" }, delivery.status ?? delivery.failure ?? "–")),
    cell("attempts", el("span", { class: "number" }, String(delivery.attempts)),
      el("span", { class: "unit" }, delivery.attempts === 1 ? " attempt" : " attempts"), el("span", { class: "aside" }, last)),
    cell("time", el("time", { class: "number", datetime: dateOf(delivery.accepted_at).toISOString() }, moment(delivery.accepted_at))),
    cell("age", el("span", { class: "number age", "data-at": delivery.accepted_at }, age(delivery.accepted_at))));
}

// Leaves the rows alone where they are as they were: only boxes may be picked no more.
let drawnRows = null;
function drawRows(deliveries) {
  const url = readUrl();
  url.delete("delivery");
  const text = JSON.stringify([deliveries, String(url)]);
  if (text === drawnRows) {
    for (const box of document.querySelectorAll("#rows input")) box.checked = picked.has(box.closest("tr").dataset.id);
    return;
  }
  drawnRows = text;
  const focused = document.activeElement?.closest("#rows tr")?.dataset.id;
  $("rows").replaceChildren(...deliveries.map(row));
  if (focused) document.querySelector(`#rows tr[data-id="${focused}"] a`)?.focus();
}

function drawList({ deliveries, next }) {
  isWanted = false;
  const ids = new Set(deliveries.map((delivery) => delivery.id));
  for (const id of picked.keys()) if (!ids.has(id)) picked.delete(id);
  for (const delivery of deliveries) if (picked.has(delivery.id)) picked.set(delivery.id, delivery);
  drawRows(deliveries);
  $("table").hidden = !deliveries.length;
  $("empty").hidden = deliveries.length > 0;
  $("older").hidden = !next;
  $("older").onclick = () => { change({ before: next }); $("list").focus(); scrollTo(0, $("list").offsetTop - 12); };
  $("newest").hidden = !readUrl().get("before");
  $("fresh").hidden = true;
  drawActs();
}

// Whether somebody is at a place that would move under them.
function isRead() {
  return $("detail").open || $("confirm").open || picked.size > 0 || scrollY > $("list").offsetTop
    || Boolean(document.activeElement?.closest("#rows")) || (canHover.matches && $("rows").matches(":hover"))
    || isSelecting() || Boolean(readUrl().get("before"));
}

let asked = 0;
// Somebody waits for what was asked for, also where it is asked for again meanwhile.
let isWanted = false;
async function refresh(isWish) {
  const mine = ++asked;
  isWanted ||= isWish;
  const params = { ...filterOfUrl() };
  const before = readUrl().get("before");
  if (before) params.before = before;
  try {
    const list = await ask("deliveries", params);
    if (mine !== asked) return;
    problem(null);
    const text = JSON.stringify(list.deliveries);
    if (isWanted || !isRead()) drawList(list);
    else if (text !== drawn && !before) { $("fresh").hidden = false; return; }
    drawn = text;
  } catch (error) {
    if (mine === asked) problem(error);
  }
}

function drawPace() {
  const waits = !isPaused && isRead();
  $("pace").classList.toggle("live", !isPaused && !waits);
  const text = isPaused ? "Paused" : waits ? "Held while you read" : isLive() ? "Live" : "Every 5 seconds";
  write($("pace"), text);
  write($("pause"), isPaused ? "Resume" : "Pause");
}

function move(step) {
  const links = [...document.querySelectorAll("#rows a")];
  const at = links.indexOf(document.activeElement?.closest("#rows tr")?.querySelector("a"));
  links[Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
}
