// The calls that are shown, by their request ids. Each keeps its elements, so that what is opened stays open.
const calls = new Map();
const SHOWN = 20;

function callOf(id) {
  if (calls.has(id)) return calls.get(id);
  const [state, link, response, curl, line, next] = [
    el("h3", { class: "state of-waiting" }, "accepted"),
    el("a", { target: "console", hidden: true }, "Show it in the console"),
    el("div", {}, el("p", { class: "aside" }, "Whoever made the call has it.")),
    el("div", { class: "curl" }), el("ol", { class: "line" }), el("li", { class: "next", hidden: true })];
  line.append(next);
  const element = el("article", { class: "card call", "aria-label": `Call ${id}` },
    el("div", { class: "bar" }, state, el("code", {}, id), link),
    el("h3", {}, "Response"), response,
    el("h3", {}, "Webhook"), line, curl);
  const call = { id, element, state, link, response, curl, line, next, attempts: new Map(), due: null, hasEnded: false };
  calls.set(id, call);
  $("list").prepend(element);
  $("empty").hidden = true;
  if (calls.size > SHOWN) {
    const [oldest] = calls.values();
    oldest.element.remove();
    calls.delete(oldest.id);
  }
  return call;
}

const TONES = { delivered: "delivered", dead: "dead", failed: "failed", "given up": "failed" };

function setState(call, name) {
  call.state.textContent = name;
  call.state.className = `state of-${TONES[name] ?? "waiting"}`;
}

// What comes again after its end is redelivered: its attempts count anew, and follow upon those before.
function goOn(call) {
  if (!call.hasEnded) return;
  call.hasEnded = false;
  call.attempts.clear();
  setState(call, "waiting");
}

function showResponse(call, { status, took, body, curl }) {
  const tone = status < 400 ? "good" : "bad";
  call.response.replaceChildren(
    el("p", { class: tone }, el("span", { class: "word" }, String(status)), el("span", { class: "aside" }, ` after ${span(took)}, as without the layer`)),
    el("pre", { tabindex: "0", "aria-label": "Response" }, body));
  call.curl.replaceChildren(el("details", {}, el("summary", {}, "The same call with curl"),
    el("pre", { tabindex: "0", "aria-label": "The call with curl" }, curl)));
}

// What is known of an attempt comes from both sides, in any order.
function attemptOf(call, number) {
  if (call.attempts.has(number)) return call.attempts.get(number);
  const attempt = { outcome: el("span", { class: "outcome" }, "under way"), more: el("p", { class: "aside" }), webhook: el("div", {}) };
  attempt.element = el("li", {}, el("strong", {}, `Attempt ${number}`), " ", attempt.outcome, attempt.more, attempt.webhook);
  call.attempts.set(number, attempt);
  call.next.before(attempt.element);
  call.next.hidden = true;
  return attempt;
}

function received(call, entry) {
  const attempt = attemptOf(call, entry.attempt);
  const rows = entry.headers.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)));
  const tone = entry.is_right === null ? "" : entry.is_right ? "good" : "bad";
  attempt.webhook.replaceChildren(
    el("p", { class: tone }, el("span", { class: "check word" }, entry.check), ` The receiver ${entry.does}.`),
    el("details", {}, el("summary", {}, "The webhook as the receiver got it"),
      el("table", { class: "headers" }, el("tbody", {}, ...rows)),
      el("pre", { tabindex: "0", "aria-label": "Body of the webhook" }, entry.body),
      entry.is_cut ? el("p", { class: "aside" }, "Only its beginning is shown.") : null));
}

function attempted(call, entry) {
  const attempt = attemptOf(call, entry.attempt);
  const isGood = entry.status >= 200 && entry.status < 300;
  const outcome = entry.status === null ? entry.error : String(entry.status);
  attempt.element.className = isGood ? "good" : "bad";
  attempt.outcome.className = "outcome word";
  attempt.outcome.textContent = outcome;
  attempt.more.textContent = `took ${span(entry.took)}`;
  if (!attempt.webhook.hasChildNodes() && entry.status === null) attempt.webhook.append(el("p", { class: "aside" }, "The receiver got nothing."));
  call.due = entry.again_in === null ? null : entry.at + entry.again_in;
  call.next.hidden = call.due === null;
  if (call.due !== null) setState(call, "waiting");
  drawNext(call);
  say(`Attempt ${entry.attempt}: ${outcome}.`);
}

function drawNext(call) {
  if (call.due === null || call.next.hidden) return;
  const left = Math.max(0, Math.ceil((call.due - Date.now()) / 1000));
  const text = left ? `Next attempt in ${left} s` : "Next attempt now";
  if (call.next.textContent !== text) call.next.textContent = text;
}

function read(entry) {
  const call = callOf(entry.call ?? "without a request id");
  if (entry.delivery) {
    call.link.href = `console/?delivery=${encodeURIComponent(entry.delivery)}`;
    call.link.hidden = false;
    call.link.onclick = () => $("console").scrollIntoView({ block: "nearest" });
  }
  if (["received", "attempted"].includes(entry.kind)) goOn(call);
  if (entry.kind === "received") received(call, entry);
  if (entry.kind === "attempted") attempted(call, entry);
  if (entry.kind === "queued" && !call.attempts.size) setState(call, "waiting");
  if (entry.kind === "ended") {
    call.due = null;
    call.next.hidden = true;
    call.hasEnded = true;
    setState(call, entry.state);
    if (entry.why) call.line.after(el("p", { class: "aside" }, entry.why));
    say(`The webhook is ${entry.state}.`);
  }
}
