// Everything is made of elements and text nodes: what callers and receivers chose is never parsed.
const $ = (id) => document.getElementById(id);

function el(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const say = (text) => { $("said").textContent = text; };

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text ?? "";
}

function span(millis) {
  if (millis < 1) return "less than 1 ms";
  return millis < 1000 ? `${Math.round(millis)} ms` : `${(millis / 1000).toFixed(1)} s`;
}

// As a shell reads it.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
