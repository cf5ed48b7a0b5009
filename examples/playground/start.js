const form = $("form");
const field = (name) => form.elements[name];

const HINTS = {
  take: "It is delivered with the first attempt.",
  status: "Here 408, 425, 429 and 5xx are tried again, after 1, 2 and 4 seconds. Any other status that is not a 2xx is final.",
  late: "Here an attempt may take 3 seconds.",
  close: "It reads the webhook, and answers nothing.",
  certificate: "Nothing is sent to it, on any attempt.",
  secret: "It refuses the webhook with a 401, which is final.",
};

// What the receiver does has settings of its own.
function fit() {
  const does = field("does").value;
  $("of-status").hidden = does !== "status";
  $("of-late").hidden = does !== "late";
  $("of-attempts").hidden = !["status", "late", "close"].includes(does);
  field("status").disabled = does !== "status";
  $("hint").textContent = HINTS[does];
}

async function endpointOf(manner) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(manner) };
  const answer = await fetch("receivers", options);
  if (!answer.ok) throw new Error(`The receiver was not told: ${answer.status}.`);
  return (await answer.json()).endpoint;
}

async function send() {
  const [body, secret] = [field("body").value, field("secret").value];
  const endpoint = await endpointOf({ does: field("does").value, secret,
    status: Number(field("status").value), seconds: Number(field("seconds").value), attempts: Number(field("attempts").value) });
  const url = `run?${new URLSearchParams({ webhookEndpoint: endpoint })}`;
  const headers = secret ? { "x-webhook-secret": secret } : {};
  const began = performance.now();
  const answer = await fetch(url, { method: "POST", headers, body });
  const text = await answer.text();
  const took = performance.now() - began;
  const id = answer.headers.get("x-request-id");
  if (!id) throw new Error(`The call was refused with ${answer.status}: ${text}`);
  const withSecret = secret ? ` -H ${quoted(`X-Webhook-Secret: ${secret}`)}` : "";
  const curl = `curl -i${withSecret} --data-raw ${quoted(body)} ${quoted(new URL(url, location.href).href)}`;
  showResponse(callOf(id), { status: answer.status, took, body: text, curl });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  problem(null);
  try {
    await send();
  } catch (error) {
    problem(error.message);
  }
  button.disabled = false;
  button.focus();
});
form.addEventListener("change", fit);
fit();

new EventSource("journal").addEventListener("message", (event) => read(JSON.parse(event.data)));
setInterval(() => { for (const call of calls.values()) drawNext(call); }, 250);
