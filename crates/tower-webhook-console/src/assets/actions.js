const WORDS = { redeliver: ["Redeliver", "on the way again"], cancel: ["Cancel", "given up"] };

// What an action means where the filter names no state.
const stateOf = (action) => action === "redeliver" ? "dead" : "waiting";

async function confirmAction(action, meant) {
  const [verb] = WORDS[action];
  let params = { ids: meant.ids?.join(",") };
  let number = many.format(meant.ids?.length ?? 0);
  let isOne = meant.ids?.length === 1;
  let who = isOne ? "It" : "They";
  let delivered = meant.delivered;
  if (!meant.ids) {
    let count;
    try {
      count = await ask("count", { ...meant.filter, action });
    } catch (error) {
      return problem(error);
    }
    if (!count.number) return problem(new Error(`No delivery that is ${count.state} matches: there is nothing to ${action}.`));
    // The times as they were counted: what is accepted from now on is not meant.
    const { last, ...rest } = meant.filter;
    params = { ...rest, all: 1, state: count.state, to: count.to, ...(count.from !== null && { from: count.from }) };
    number = counted(count);
    isOne = count.number === 1;
    who = `All that match and are ${count.state}`;
    delivered = count.state === "delivered";
  }
  problem(null);
  $("confirm-title").textContent = `${verb} ${number} ${isOne ? "delivery" : "deliveries"}?`;
  $("confirm-text").textContent = `${who} ${action === "redeliver" ? "will be attempted again, under the same id" : "will be given up, unless an attempt is under way"}.`;
  $("confirm-warning").hidden = !(action === "redeliver" && delivered);
  $("confirm-warning").textContent = "Delivered already: a receiver that does not remember ids will process it twice.";
  $("confirm-yes").textContent = `${verb} ${number}`;
  $("confirm-yes").disabled = false;
  $("confirm-yes").onclick = () => act(action, params);
  $("confirm").showModal();
  $("confirm-no").focus();
}

async function act(action, params) {
  $("confirm-yes").disabled = true;
  try {
    const headers = { "x-console-token": token };
    const { number } = await ask(action, params, { method: "POST", headers });
    $("confirm").close();
    picked.clear();
    say(`${plural(number, "delivery is", "deliveries are")} ${WORDS[action][1]}.`);
    problem(null);
    if (shown) openDetail(shown.id);
    refresh(true);
  } catch (error) {
    $("confirm-warning").hidden = false;
    $("confirm-warning").textContent = error.message;
    $("confirm-yes").disabled = false;
  }
}

// The buttons above the list: of what is picked, or of all that match.
function drawActs() {
  $("acts").hidden = !token;
  const filter = readUrl().get("state") ?? "";
  const isFiltered = Object.keys(filterOfUrl()).length > 0;
  for (const [action, able] of [["redeliver", ["", "dead", "delivered", "failed"]], ["cancel", ["", "waiting"]]]) {
    const states = picked.size ? [...picked.values()] : [filter];
    const button = $(action);
    const all = isFiltered ? "matching" : `all ${stateOf(action)}`;
    button.textContent = `${WORDS[action][0]} ${picked.size ? `${many.format(picked.size)} picked` : all}…`;
    const possible = picked.size ? able.filter(Boolean) : able;
    button.disabled = !states.every((name) => possible.includes(name));
  }
}

function startAction(action) {
  if (!picked.size) return confirmAction(action, { filter: filterOfUrl() });
  confirmAction(action, { ids: [...picked.keys()], delivered: [...picked.values()].includes("delivered") });
}
