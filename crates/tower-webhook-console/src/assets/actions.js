// What is left of one, of all, and of some.
const WORDS = {
  redeliver: { verb: "Redeliver", done: "on the way again", left: [
    "Its payload is not kept, or it has changed meanwhile.", "Their payloads are not kept, or they have changed meanwhile.",
    "Payloads of the others are not kept, or they have changed meanwhile."] },
  cancel: { verb: "Cancel", done: "given up", left: [
    "It has ended, or has an attempt under way.", "They have ended, or have an attempt under way.",
    "The others have ended, or have an attempt under way."] },
};

// What an action means where the filter names no state.
const stateOf = (action) => action === "redeliver" ? "dead" : "waiting";

// What a receiver may have had before, of those that are redelivered.
const TAKEN = { delivered: "Delivered already", failed: "A failure notice may have been taken already" };
const isTaken = ({ state, last }) => state === "delivered" || (state === "failed" && last !== null && isGood(last));

// Those that are picked, and who they are.
function somePicked(deliveries) {
  return {
    params: { ids: deliveries.map(({ id }) => id).join(",") },
    count: { number: deliveries.length, is_more: false },
    isDead: deliveries.every(({ state }) => state === "dead"),
    taken: Object.keys(TAKEN).find((name) => deliveries.some((one) => one.state === name && isTaken(one))),
    who: deliveries.length === 1 ? "It" : "They",
  };
}

// All that match, as they are counted now.
async function allCounted(action, filter) {
  const count = await ask("count", { ...filter, action });
  if (!count.number) throw new Error(`No delivery that is ${count.state} matches: there is nothing to ${action}.`);
  // The times as they were counted: what is accepted from now on is not meant.
  const { last, ...rest } = filter;
  const params = { ...rest, all: 1, state: count.state, to: count.to, ...(count.from !== null && { from: count.from }) };
  return { params, count, isDead: count.state === "dead", taken: count.state, who: `All that match and are ${count.state}` };
}

function warn(text) {
  $("confirm-warning").hidden = !text;
  write($("confirm-warning"), text);
}

async function confirmAction(action, { deliveries, filter }) {
  let meant;
  try {
    meant = deliveries ? somePicked(deliveries) : await allCounted(action, filter);
  } catch (error) {
    return problem(error);
  }
  problem(null);
  questions += 1;
  $("done").hidden = true;
  const { verb } = WORDS[action];
  const isOne = meant.count.number === 1;
  // Payloads of what is no dead letter are kept for a while, or not at all.
  const isKept = action === "cancel" || meant.isDead;
  const number = `${isKept || isOne ? "" : "at most "}${counted(meant.count)}`;
  const where = isKept ? "" : isOne ? ", if its payload is still kept" : ", where the payload is still kept";
  const will = action === "redeliver" ? `will be attempted again, under the same id${where}` : "will be given up, unless an attempt is under way";
  const taken = action === "redeliver" && TAKEN[meant.taken];
  $("confirm-title").textContent = `${verb} ${number} ${isOne ? "delivery" : "deliveries"}?`;
  $("confirm-text").textContent = `${meant.who} ${will}.`;
  $("confirm-text").hidden = false;
  warn(taken ? `${taken}: a receiver that does not remember ids will process it twice.` : "");
  $("confirm-no").textContent = "Leave it";
  $("confirm-yes").textContent = `${verb} ${number}`;
  $("confirm-yes").hidden = false;
  $("confirm-yes").disabled = false;
  $("confirm-yes").onclick = () => act(action, meant);
  $("confirm").showModal();
  $("confirm-no").focus();
}

// Questions so far. Whoever closes one, or comes to the next one, is told beside the list what has come of it.
let questions = 0;

async function act(action, { params, count }) {
  const mine = questions;
  const isOpen = () => $("confirm").open && mine === questions;
  $("confirm-yes").disabled = true;
  try {
    const headers = { "x-console-token": token };
    const { number } = await ask(action, params, { method: "POST", headers });
    picked.clear();
    problem(null);
    if (shown) openDetail(shown.id);
    refresh(true);
    if (number < count.number) drawRest(action, number, count.number, isOpen());
    else drawDone(`${plural(number, "delivery is", "deliveries are")} ${WORDS[action].done}.`, isOpen());
  } catch (error) {
    if (!isOpen()) return problem(error);
    warn(error.message);
    $("confirm-yes").disabled = false;
  }
}

function drawDone(text, isOpen) {
  if (isOpen) $("confirm").close();
  $("done").hidden = false;
  $("done").textContent = text;
  say(text);
}

// The question gives way to what has come of it.
function drawRest(action, number, all, isOpen) {
  const { done, left } = WORDS[action];
  const why = all === 1 ? left[0] : number ? left[2] : left[1];
  const text = `${many.format(number)} of ${plural(all, "delivery is", "deliveries are")} ${done}. ${why}`;
  if (!isOpen) return drawDone(text, isOpen);
  $("confirm-title").textContent = number ? "Not all were done" : "Nothing was done";
  $("confirm-text").hidden = true;
  warn(text);
  $("confirm-yes").hidden = true;
  $("confirm-no").textContent = "Close";
  $("confirm-no").focus();
}

// The buttons above the list: of what is picked, or of all that match.
function drawActs() {
  $("acts").hidden = !token;
  const filter = readUrl().get("state") ?? "";
  const isFiltered = Object.keys(filterOfUrl()).length > 0;
  for (const [action, able] of [["redeliver", ["", "dead", "delivered", "failed"]], ["cancel", ["", "waiting"]]]) {
    const states = picked.size ? [...picked.values()].map(({ state }) => state) : [filter];
    const button = $(action);
    const all = isFiltered ? "matching" : `all ${stateOf(action)}`;
    button.textContent = `${WORDS[action].verb} ${picked.size ? `${many.format(picked.size)} picked` : all}…`;
    const possible = picked.size ? able.filter(Boolean) : able;
    button.disabled = !states.every((name) => possible.includes(name));
  }
}

function startAction(action) {
  confirmAction(action, picked.size ? { deliveries: [...picked.values()] } : { filter: filterOfUrl() });
}
