// Times, counts and elements. Screen readers read a text again when it is written again.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;  // never markup: callers' data is text
  if (className) node.className = className;
  return node;
}

function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const fine = (ms) => ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
const since = (time) => span(now() - Date.parse(time));
const until = (time) => span(Date.parse(time) - now());
const soon = (time) => Date.parse(time) - now() < 1000 ? "now" : `in ${until(time)}`;
const clock = (time) => new Date(time).toLocaleTimeString();
const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;
