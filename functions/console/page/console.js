"use strict";
const POLL_MS = 1000, LOOK_UP_MS = 4000, KEY = "key";
const byId = (id) => document.getElementById(id);
let key = sessionStorage.getItem(KEY) || "", state = null, ahead_ms = 0, timer = 0;
let wanted = "", found = null, lookedUpAt = 0;  // the id that is looked for, and its request if no list has it
let confirmed = null;  // what the dialog's yes does

const now = () => Date.now() + ahead_ms;
const finished = (row) => Boolean(row.finished_at) && row.delivery.state !== "pending";
const givenUp = (row) => ["gone", "undeliverable"].includes(row.delivery.state);

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
const soon = (time) => Date.parse(time) - now() < 1000 ? "any moment" : `in ${until(time)}`;

async function ask(path, options = {}) {
  const headers = { Accept: "application/json", Authorization: key, ...options.headers };
  const response = await fetch(path, { cache: "no-cache", ...options, headers });
  const date = Date.parse(response.headers.get("Date"));
  ahead_ms = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  const body = await response.json();
  if (response.ok) return body;
  throw Object.assign(new Error(body.detail || String(response.status)), { status: response.status });
}

async function lookUp() {
  lookedUpAt = Date.now();
  found = await ask(`crypto/requests/${encodeURIComponent(wanted)}`);
}

async function keepUp() {
  const listed = state.requests.find((row) => row.request_id === wanted);
  if (listed) found = listed;
  else if (found && !finished(found) && Date.now() - lookedUpAt > LOOK_UP_MS) await lookUp();
}

function showSlots({ slots, seconds, calls, used, latency_ms }) {
  write(byId("used"), `${used} of ${calls} slots in use: at most ${calls} calls in any ${seconds} s. `
    + `An answer takes about ${latency_ms} ms.`);
  const list = byId("slots");
  while (list.children.length > slots.length) list.lastChild.remove();
  while (list.children.length < slots.length) {
    const item = list.appendChild(element("li"));
    item.append(element("span"), element("span"));
  }
  slots.forEach(({ free_at, kind }, index) => {
    const left_ms = free_at ? Math.max(0, Date.parse(free_at) - now()) : 0, item = list.children[index];
    item.className = left_ms ? kind : "free";
    item.style.setProperty("--left", Math.min(1, left_ms / (seconds * 1000)));
    write(item.children[0], left_ms ? span(left_ms) : "free");
    write(item.children[1], left_ms ? kind : "");
  });
}

function showFigure(id, value, note = "") {
  const node = byId(id);
  if (!node.firstChild) node.append("", element("small"));
  if (node.firstChild.data !== String(value)) node.firstChild.data = String(value);
  write(node.lastChild, note);
}

function showFigures() {
  const figures = state.figures, known = (ms) => ms === null ? "–" : fine(ms);
  const queue = (jobs) => jobs.oldest_at ? `the oldest for ${since(jobs.oldest_at)}` : "";
  showFigure("waiting", state.waiting.count, queue(state.waiting));
  showFigure("retrying", state.retrying.count, queue(state.retrying));
  showFigure("signed", figures.signed_per_minute, `${figures.signed} in the last ${span(figures.seconds * 1000)}`);
  showFigure("took", known(figures.time_to_signature_ms), "median of those listed");
  showFigure("off", known(figures.estimate_error_ms), "median, by the end of the first call");
  showFigure("delivered", figures.delivered, "of those listed");
  showFigure("failing", figures.failing, figures.failing ? "will be tried again" : "");
  showFigure("undeliverable", figures.undeliverable, figures.undeliverable ? "can be delivered again" : "");
}

function showDeadLetters() {
  const letters = state.dead_letters;
  byId("dead").hidden = !letters;
  if (!letters) return;
  const count = (number) => number === null ? "not known" : number;
  byId("letters").className = letters.fresh || letters.notification ? "failing" : "";
  write(byId("letters"), `New requests: ${count(letters.fresh)}. Webhooks: ${count(letters.notification)}.`);
}

function webhookCell(delivery) {
  if (delivery.state === "none") return element("td", "–");
  const failing = delivery.state === "pending" && delivery.reason;
  const text = failing ? "failing" : delivery.state;
  const details = [`${delivery.attempts}×`, delivery.reason, failing ? `next ${soon(delivery.next_attempt_at)}` : ""];
  const cell = element("td");
  cell.append(element("span", text, text), ` ${details.filter(Boolean).join(", ")}`);
  return cell;
}

function stateCell(row) {
  const took = row.finished_at ? `after ${fine(Date.parse(row.finished_at) - Date.parse(row.created_at))}` : "";
  const calls = row.finished_at && Number.isInteger(row.attempts)
    ? `${row.attempts} call${row.attempts === 1 ? "" : "s"}` : "";
  const cell = element("td");
  cell.append(element("span", row.state, row.state), ` ${[took, calls].filter(Boolean).join(", ")}`);
  return cell;
}

function rowOf(row) {
  const tr = element("tr");
  tr.dataset.id = row.request_id;
  const id = element("td");
  id.append(element("code", row.request_id));
  const eta = !row.finished_at && row.estimated_ready_at;
  const mend = element("td");
  const { state: delivery, reason } = row.delivery;
  if (delivery !== "none" && (delivery !== "pending" || reason)) {
    const button = element("button", "Deliver again");
    button.type = "button";
    button.dataset.replay = row.request_id;
    button.setAttribute("aria-label", `Deliver the webhook of ${row.request_id} again`);
    mend.append(button);
  }
  tr.append(element("td", `${since(row.created_at)} ago`), id, element("td", row.client || "–"),
    stateCell(row), element("td", eta ? soon(eta) : "–"),
    webhookCell(row.delivery), mend);
  return tr;
}

function caption(shown) {
  if (wanted) return "The one that was looked for; empty the field to see all.";
  const lists = "What is unfinished, what was given up, and what ended last; the figures are of these.";
  return `${shown} shown. ${lists}${state.more ? " More is unfinished or given up than is listed." : ""}`;
}

function showRows() {
  const tests = { all: () => true, unfinished: (row) => !finished(row), undeliverable: givenUp };
  const rows = wanted ? [found].filter(Boolean) : state.requests.filter(tests[byId("which").value]);
  const focused = document.activeElement && document.activeElement.dataset.replay;
  byId("rows").replaceChildren(...rows.map(rowOf));
  if (focused) byId("rows").querySelector(`[data-replay="${CSS.escape(focused)}"]`)?.focus();
  write(byId("caption"), caption(rows.length));
}

function show() {
  const { paused, key_refused, blocked_until } = state.window;
  write(byId("alert"), paused ? "Calls are paused by an operator." : key_refused
    ? "The upstream refuses our key: calls are blocked until it is checked." : blocked_until
    ? `Calls are blocked until ${new Date(blocked_until).toLocaleTimeString()}.` : "");
  showSlots(state.window);
  showFigures();
  showDeadLetters();
  showRows();
}

async function poll() {
  clearTimeout(timer);
  if (!key || document.hidden) return;
  const asked = key;
  try {
    const answer = await ask("console/state");
    if (key !== asked) return;  // meanwhile forgotten, or another's
    state = answer;
    await keepUp();
    if (key !== asked) return;
    show();
    write(byId("live"), "Live");
  } catch (error) {
    if (error.status === 401) return leave("That key is not known here.");
    write(byId("live"), "No answer; trying again");
  }
  clearTimeout(timer);
  timer = setTimeout(poll, POLL_MS);
}

function toggle() {
  byId("enter").hidden = Boolean(key);
  byId("leave").hidden = byId("console").hidden = !key;
}

function leave(why) {
  key = "";
  sessionStorage.removeItem(KEY);
  state = found = null;
  wanted = byId("wanted").value = "";
  write(byId("alert"), "");
  write(byId("said"), why);
  toggle();
  byId("key").focus();
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  byId("key").value = "";
  sessionStorage.setItem(KEY, key);
  write(byId("said"), "");
  toggle();
  byId("wanted").focus({ preventScroll: true });
  poll();
});

byId("leave").addEventListener("submit", (event) => {
  event.preventDefault();
  leave("The key is forgotten.");
});

byId("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  wanted = byId("wanted").value.trim();
  found = null;
  try {
    await lookUp();
    write(byId("said"), `Found: ${found.state}.`);
  } catch (error) {
    write(byId("said"), error.status === 404 ? "There is no such request, or it is not yours." : error.message);
  }
  if (state) showRows();
});

byId("wanted").addEventListener("input", () => {
  if (byId("wanted").value) return;
  wanted = "";
  found = null;
  write(byId("said"), "");
  if (state) showRows();
});

byId("which").addEventListener("change", () => state && showRows());

function askFirst(question, yes, action) {
  write(byId("question"), question);
  write(byId("yes"), yes);
  byId("confirm").returnValue = "no";
  confirmed = action;
  byId("confirm").showModal();
}

async function replay(id) {
  try {
    const body = JSON.stringify({ request_id: id });
    await ask("console/replay", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    write(byId("said"), `The webhook of ${id} is on its way.`);
  } catch (error) {
    write(byId("said"), `Not sent: ${error.message}.`);
  }
  if (wanted === id) await lookUp().catch(() => {});  // the index has it a moment later
}

byId("rows").addEventListener("click", (event) => {
  const id = event.target.dataset.replay;
  if (!id) return;
  askFirst(`Send the webhook of ${id} again? Its receiver may get it twice.`, "Deliver again", () => replay(id));
});

byId("confirm").addEventListener("close", async () => {
  if (byId("confirm").returnValue !== "yes") return;
  await confirmed();
  await poll();
});

document.addEventListener("visibilitychange", poll);
toggle();
if (!key) byId("key").focus();
poll();
