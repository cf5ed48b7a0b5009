const WORDS = { redeliver: ["Redeliver", "redelivered"], cancel: ["Cancel", "given up"] };

// What a filter means for an action, with its state where it names none.
const stateOf = (action, name) => name || (action === "redeliver" ? "dead" : "waiting");

async function confirmAction(action, meant) {
  const [verb] = WORDS[action];
  let params = { ids: meant.ids?.join(",") };
  let what = plural(meant.ids?.length, "delivery", "deliveries");
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
    what = `${count.is_more ? "more than " : ""}${plural(count.number, "delivery", "deliveries")} (${count.state})`;
    delivered = count.state === "delivered";
  }
  problem(null);
  $("confirm-title").textContent = `${verb} ${what}?`;
  $("confirm-text").textContent = action === "redeliver"
    ? "They start again with their first attempt, and keep their ids."
    : "They are given up for good. What has an attempt under way goes on.";
  $("confirm-warning").hidden = !(action === "redeliver" && delivered);
  $("confirm-warning").textContent = "Their endpoints took these already: whoever does not remember ids handles them twice.";
  $("confirm-yes").textContent = `${verb} ${what}`;
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
    const shown = readUrl().get("delivery");
    if (shown) openDetail(shown);
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
  for (const [action, able] of [["redeliver", ["", "dead", "delivered", "failed"]], ["cancel", ["", "waiting"]]]) {
    const states = picked.size ? [...picked.values()] : [filter];
    const button = $(action);
    button.textContent = `${WORDS[action][0]} ${picked.size ? plural(picked.size, "picked", "picked") : "all that match"}…`;
    const possible = picked.size ? able.filter(Boolean) : able;
    button.disabled = !states.every((name) => possible.includes(name));
  }
}

function startAction(action) {
  if (!picked.size) return confirmAction(action, { filter: filterOfUrl() });
  confirmAction(action, { ids: [...picked.keys()], delivered: [...picked.values()].includes("delivered") });
}
