function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// So wide is a minute, in the drawing's own measure.
const MINUTE = 10;

function bars(minutes, most) {
  const drawn = svg("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const minute of minutes) {
    const x = (59 - minute.ago) * MINUTE + 1;
    const height = (number) => (number / most) * 98;
    const good = height(minute.attempts - minute.failures);
    const bad = height(minute.failures);
    const text = `${minute.ago} min ago: ${plural(minute.attempts, "attempt", "attempts")}, ${many.format(minute.failures)} failed`;
    drawn.append(svg("g", {}, svg("title", {}, text),
      svg("rect", { class: "ok", x, y: 100 - good, width: MINUTE - 2, height: good }),
      svg("rect", { class: "bad", x, y: 100 - good - bad, width: MINUTE - 2, height: bad })));
  }
  drawn.append(svg("line", { class: "base", x1: 0, x2: 600, y1: 100, y2: 100 }));
  return drawn;
}

function lines(minutes, longest) {
  const drawn = svg("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const name of ["p95", "p50"]) {
    const known = minutes.filter((minute) => minute[name] !== null);
    // A gap is a gap, and a minute by itself is a dash.
    const steps = known.map((minute, index) => {
      const x = (59 - minute.ago) * MINUTE + MINUTE / 2;
      const y = 98 - (minute[name] / longest) * 94;
      if (known[index - 1]?.ago === minute.ago + 1) return `L${x} ${y}`;
      return known[index + 1]?.ago === minute.ago - 1 ? `M${x} ${y}` : `M${x - 4} ${y}h8`;
    });
    drawn.append(svg("path", { class: name, d: steps.join("") }));
  }
  drawn.append(svg("line", { class: "base", x1: 0, x2: 600, y1: 100, y2: 100 }));
  return drawn;
}

function figure(term, text, key) {
  return el("div", {}, el("dt", { class: `key key-${key}` }, term), el("dd", {}, text));
}

let drawnHour = null;
function drawHour(hour) {
  const text = JSON.stringify(hour);
  if (text === drawnHour) return;
  drawnHour = text;
  $("hour").hidden = !hour;
  document.querySelector(".overview").classList.toggle("alone", !hour);
  if (!hour) return;
  const sum = (name) => hour.minutes.reduce((total, minute) => total + minute[name], 0);
  const [attempts, failures] = [sum("attempts"), sum("failures")];
  const share = attempts ? ` (${percent.format(failures / attempts)})` : "";
  $("figures").replaceChildren(
    figure("attempts", many.format(attempts), "rate"),
    figure("failed", many.format(failures) + share, "failures"),
    figure("p50", span(hour.p50), "p50"),
    figure("p95", span(hour.p95), "p95"));
  const most = Math.max(1, ...hour.minutes.map((minute) => minute.attempts));
  const longest = Math.max(1, ...hour.minutes.map((minute) => minute.p95 ?? 0));
  const scale = el("p", { class: "scale", "aria-hidden": "true" },
    el("span", {}, "an hour ago"), el("span", {}, `peaks: ${many.format(most)} a minute, ${span(longest)}`), el("span", {}, "now"));
  $("plot").replaceChildren(bars(hour.minutes, most), lines(hour.minutes, longest), scale);
}

function stateButton(name) {
  const choose = () => change({ state: readUrl().get("state") === name ? null : name });
  const button = el("button", { type: "button", class: `of-${name}`, onclick: choose }, name, el("span", { class: "count" }));
  $("states").append(el("li", {}, button));
  return button;
}

function drawStates(states) {
  for (const count of states) {
    const button = $("states").querySelector(`.of-${count.state}`) ?? stateButton(count.state);
    write(button.querySelector(".count"), counted(count));
  }
  drawChosenState();
}

function drawChosenState() {
  for (const button of document.querySelectorAll("#states button")) {
    const isChosen = String(button.className === `of-${readUrl().get("state")}`);
    if (button.getAttribute("aria-pressed") !== isChosen) button.setAttribute("aria-pressed", isChosen);
  }
}

async function readSummary() {
  const summary = await ask("summary", {});
  drawHour(summary.hour);
  if (summary.states) drawStates(summary.states);
  const { accepted, delivered, dead, failed, refused } = summary.since_start;
  write($("since"), `Since this process began: ${many.format(accepted)} accepted, ${many.format(delivered)} delivered, `
    + `${many.format(dead)} dead, ${many.format(failed)} failed, ${many.format(refused)} refused.`);
}
