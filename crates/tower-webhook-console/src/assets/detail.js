const fact = (term, ...what) => [el("dt", {}, term), el("dd", {}, ...what)];

function timeline(delivery) {
  const steps = delivery.timeline.map((attempt) => {
    const tone = isGood(attempt) ? "of-delivered" : "of-dead";
    const more = [moment(attempt.at), `took ${span(attempt.took)}`];
    if (attempt.text) more.push(attempt.text);
    if (attempt.retry_after !== null) more.push(`asked to wait ${attempt.retry_after} s`);
    return el("li", { class: tone },
      el("strong", {}, `Attempt ${attempt.attempt}`), " ", el("span", { class: "outcome" }, outcome(attempt)),
      el("div", { class: "aside" }, more.join(" · ")));
  });
  if (delivery.state === "waiting") {
    const number = (delivery.timeline.at(-1)?.attempt ?? 0) + 1;
    const when = delivery.next_at ? `due at ${moment(delivery.next_at)}` : "under way, or when it is due";
    steps.push(el("li", { class: "next" }, el("strong", {}, "Next attempt"),
      el("div", { class: "aside" }, delivery.next_at ? `number ${number} · ${when}` : when)));
  }
  return steps.length ? el("ol", { class: "line" }, ...steps) : el("p", { class: "aside" }, "None yet.");
}

function headers(delivery) {
  if (!delivery.headers) return [];
  const rows = delivery.headers.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)));
  return [el("h3", {}, "Headers of the last attempt"),
    el("table", { class: "headers" }, el("tbody", {}, ...rows)),
    el("p", { class: "aside" }, "Signatures and what the operator adds are masked. There is a signature only where the call or the service has a secret.")];
}

function hexDump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 32) {
    const bytes = hex.slice(at, at + 32).match(/../g);
    const text = bytes.map((byte) => {
      const code = parseInt(byte, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : ".";
    });
    lines.push(`${(at / 2).toString(16).padStart(6, "0")}  ${bytes.join(" ").padEnd(47)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

// How much indentation adds to a JSON text: where it is nested deeply, far more than there is of it.
const INDENTED = 512 * 1024;
function indentation(text) {
  let [depth, sum] = [0, 0];
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"|[[\]{},]/g)) {
    if (token === "[" || token === "{") depth += 1;
    else if (token === "]" || token === "}") depth -= 1;
    else if (token !== ",") continue;
    sum += 2 * depth + 1;
  }
  return sum;
}

function preview(payload) {
  const views = {};
  if (payload.text !== null) {
    try {
      const value = JSON.parse(payload.text);
      if (indentation(payload.text) <= INDENTED) views.JSON = JSON.stringify(value, null, 2);
    } catch { /* It is not JSON, or only its beginning. */ }
    views.Text = payload.text;
  }
  views.Hex = hexDump(payload.hex);
  const shown = el("pre", { tabindex: "0", "aria-label": "Payload" });
  const buttons = Object.keys(views).map((name) => el("button", { type: "button", onclick: () => show(name) }, name));
  const show = (name) => {
    shown.textContent = views[name];
    shown.classList.toggle("hex", name === "Hex");
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.textContent === name));
  };
  show(Object.keys(views)[0]);
  const cut = payload.shown < payload.len ? `The first ${size(payload.shown)} of ${size(payload.len)}.` : null;
  return [el("div", { class: "tabs", role: "group", "aria-label": "Show the payload as" }, ...buttons), shown,
    cut && el("p", { class: "aside" }, cut)];
}

function payloadPart(delivery) {
  const part = el("div", {});
  const load = async (event) => {
    event.target.disabled = true;
    try {
      const payload = await ask("payload", { id: delivery.id });
      part.replaceChildren(...preview(payload).filter(Boolean));
      part.querySelector("pre").focus();
    } catch (error) {
      const text = error.status === 404 ? "The payload is not kept." : error.message;
      part.replaceChildren(el("p", { class: "aside" }, text));
      say(text);
    }
  };
  part.append(el("button", { type: "button", onclick: load }, `Show the payload (${size(delivery.size)})`));
  return part;
}

function detailActions(delivery) {
  if (!token) return null;
  const acts = [];
  const one = { deliveries: [delivery] };
  if (["dead", "delivered", "failed"].includes(delivery.state)) {
    acts.push(el("button", { type: "button", onclick: () => confirmAction("redeliver", one) }, "Redeliver…"));
  }
  if (delivery.state === "waiting") {
    acts.push(el("button", { type: "button", onclick: () => confirmAction("cancel", one) }, "Cancel…"));
  }
  return acts.length ? el("div", { class: "acts" }, ...acts) : null;
}

// The delivery in the dialog, if there is one, and whether it is looked at again.
let shown = null;
let isFollowed = false;

function facts(delivery) {
  const failure = delivery.failure && `${delivery.failure}: ${delivery.failure_text}`;
  return el("div", { id: "detail-facts" },
    el("dl", { class: "facts" },
      ...fact("State", state(delivery.state)),
      ...fact("Endpoint", delivery.host),
      ...fact("Response", delivery.status ?? "none"),
      ...(failure ? fact("Failure notice", failure) : []),
      ...fact("Accepted", `${whole.format(dateOf(delivery.accepted_at))} (${age(delivery.accepted_at).replace(" ", "\u00a0")}\u00a0ago)`),
      ...fact("Payload", size(delivery.size)),
      ...fact("Delivery id", el("code", {}, delivery.id)),
      ...fact("Request id", el("code", {}, delivery.request_id))),
    ...[detailActions(delivery)].filter(Boolean),
    el("h3", {}, "Attempts"), timeline(delivery), ...headers(delivery));
}

// Leaves alone what has not changed, and a payload that is looked at.
function drawDetail(delivery) {
  const isSame = shown?.id === delivery.id;
  if (isSame && JSON.stringify(shown) === JSON.stringify(delivery)) return;
  shown = delivery;
  if (!isSame) {
    $("detail-body").replaceChildren(facts(delivery), el("h3", {}, "Payload"), payloadPart(delivery));
    return;
  }
  const hadFocus = $("detail-facts").contains(document.activeElement);
  $("detail-facts").replaceWith(facts(delivery));
  if (hadFocus) $("detail-title").focus();
}

function clearDetail() {
  $("detail-body").replaceChildren();
  $("detail-problem").hidden = true;
  shown = null;
  isFollowed = false;
}

// A look that fails leaves what is shown, and is made again. What is refused is refused the next time, too.
function drawFailure(id, { status, message }) {
  const isFinal = status < 500;
  if (isFinal || shown?.id !== id) clearDetail();
  $("detail-problem").hidden = false;
  write($("detail-problem"), status === 404 ? "This delivery is not kept any more." : message);
  isFollowed = !isFinal;
}

async function openDetail(id) {
  // Whoever looks at another one meanwhile is told nothing of this one.
  const isMeant = () => readUrl().get("delivery") === id;
  try {
    const delivery = await ask("delivery", { id });
    if (!isMeant()) return;
    drawDetail(delivery);
    $("detail-problem").hidden = true;
    isFollowed = ["waiting", "running"].includes(delivery.state);
  } catch (error) {
    if (!isMeant()) return;
    drawFailure(id, error);
  }
  if ($("detail").open) return;
  $("detail").showModal();
  $("detail-title").focus();
}
