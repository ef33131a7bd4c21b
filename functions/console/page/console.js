// The page: key, polling, filters and buttons.
const FILTERS = { which: "all", caller: "", receiver: "", wanted: "", hours: "1" };
let state = null, answeredAt = 0, timer = 0, historyAt = 0;
let found = null, lookedUpAt = 0;  // the request that was searched by its id
let confirmed = null;  // the action of the dialog's button

const wantedId = () => byId("wanted").value.trim();

function readFilters() {
  const query = new URLSearchParams(location.search);
  for (const [id, usual] of Object.entries(FILTERS)) {
    const value = query.get(id) ?? usual, field = byId(id);
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) {
      if (id !== "caller" && id !== "receiver") continue;
      field.append(new Option(value, value));
    }
    field.value = value;
  }
}

function keepFilters() {
  const query = new URLSearchParams();
  for (const [id, usual] of Object.entries(FILTERS)) {
    const value = byId(id).value.trim();
    if (value !== usual) query.set(id, value);
  }
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

function offer(id, values) {
  const field = byId(id), chosen = field.value;
  const wanted = ["", ...new Set([...values, ...(chosen ? [chosen] : [])].filter(Boolean))].sort();
  if (wanted.join("\n") === [...field.options].map((option) => option.value).join("\n")) return;
  field.replaceChildren(...wanted.map((value) => new Option(value || "all", value)));
  field.value = chosen;
}

async function lookUp() {
  lookedUpAt = Date.now();
  found = await ask(`crypto/requests/${encodeURIComponent(wantedId())}`);
}

async function keepUp() {
  const listed = state.requests.find((row) => row.request_id === wantedId());
  if (listed) found = listed;
  else if (found && !finished(found) && Date.now() - lookedUpAt > LOOK_UP_MS) await lookUp();
}

function filtered() {
  if (found) return [found];
  const fits = (row) => TESTS[byId("which").value](row) && (!byId("caller").value || row.client === byId("caller").value)
    && (!byId("receiver").value || row.receiver === byId("receiver").value);
  return state.requests.filter(fits);
}

function showRequests() {
  offer("caller", state.requests.map((row) => row.client));
  offer("receiver", state.requests.map((row) => row.receiver));
  const rows = filtered(), undelivered = rows.filter(givenUp).length;
  showList(rows);
  const lists = "The requests that are next, undeliverable webhooks, and the last that ended.";
  write(byId("caption"), found ? "The request with this id. Clear the field to see all."
    : `${rows.length} shown. ${lists}${state.more ? " There are more than listed." : ""}`);
  byId("again").hidden = undelivered < 2;
  write(byId("again"), `Deliver all ${undelivered} again`);
  byId("empty").hidden = rows.length > 0;
  write(byId("empty"), state.requests.length ? "No listed request matches. Show all, or find a request by its id."
    : "No request has been accepted yet. Send one with a webhook_url or with the header Prefer: respond-async. "
      + "Requests that are signed at once are not listed.");
}

function show() {
  showFreshness();
  showHeadline(state.headline, { canResume: Boolean(state.dead_letters) });
  byId("console").hidden = false;
  showWindow(state.window);
  showFigures(state);
  byId("history").hidden = !state.dead_letters;
  showRequests();
}

async function poll() {
  clearTimeout(timer);
  if (!key || document.hidden) return;
  const asked = key;
  try {
    const answer = await ask("console/state");
    if (key !== asked) return;  // the key was forgotten or changed meanwhile
    state = answer;
    answeredAt = Date.now();
    await keepUp();
    if (key !== asked) return;
    show();
    write(byId("live"), "Live");
  } catch (error) {
    if (key !== asked) return;
    if (error.status === 401) return leave("This key is not known.");
    write(byId("live"), "No answer; asking again");
    if (!answeredAt || Date.now() - answeredAt > STALE_MS) showNoAnswer(answeredAt, error.message);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, POLL_MS);
  if (state?.dead_letters && Date.now() - historyAt > HISTORY_MS) await loadHistory();
}

async function loadHistory() {
  historyAt = Date.now();
  const hours = Number(byId("hours").value);
  try {
    showCharts((await ask(`console/history?hours=${hours}`)).points, hours);
  } catch {
    historyAt = Date.now() - HISTORY_MS + STALE_MS;  // again in a few seconds
  }
}

function toggle() {
  byId("enter").hidden = Boolean(key);
  byId("leave").hidden = !key;
  if (!key) byId("console").hidden = true;
}

function leave(why) {
  key = "";
  sessionStorage.removeItem(KEY);
  state = found = null;
  answeredAt = historyAt = 0;
  byId("wanted").value = "";
  byId("rows").replaceChildren();
  keepFilters();
  hideHeadline();
  write(byId("said"), why);
  toggle();
  byId("key").focus();
}

function askFirst(question, yes, action) {
  write(byId("question"), question);
  write(byId("yes"), yes);
  byId("confirm").returnValue = "no";
  confirmed = action;
  byId("confirm").showModal();
}

async function replay(ids) {
  let sent = 0, last = "";
  for (const id of ids) {
    try {
      await post("console/replay", { request_id: id });
      sent += 1;
    } catch (error) {
      last = error.message;
    }
  }
  const done = ids.length === 1 ? `The webhook of ${ids[0]} is on its way.` : `${sent} of ${ids.length} webhooks are on their way.`;
  write(byId("said"), last ? `${sent ? `${done} ` : ""}Not sent: ${last}.` : done);
  if (found && ids.includes(found.request_id)) await lookUp().catch(() => {});  // the list shows it a moment later
}

async function resume() {
  try {
    await post("console/resume");
    write(byId("said"), "Calls are resumed.");
  } catch (error) {
    write(byId("said"), `Not resumed: ${error.message}.`);
  }
}

async function search() {
  keepFilters();
  found = null;
  if (!wantedId()) write(byId("said"), "");
  else {
    try {
      await lookUp();
      write(byId("said"), `Found: ${found.state}.`);
    } catch (error) {
      write(byId("said"), error.status === 404 ? "No such request, or it belongs to another caller." : error.message);
    }
  }
  if (state) showRequests();
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  byId("key").value = "";
  sessionStorage.setItem(KEY, key);
  write(byId("said"), "");
  toggle();
  poll();
});
byId("leave").addEventListener("submit", (event) => {
  event.preventDefault();
  leave("The key is forgotten.");
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
byId("wanted").addEventListener("input", () => byId("wanted").value || search());
for (const id of ["which", "caller", "receiver"]) {
  byId(id).addEventListener("change", () => {
    keepFilters();
    if (state) showRequests();
  });
}
byId("hours").addEventListener("change", () => {
  keepFilters();
  loadHistory();
});
byId("rows").addEventListener("click", async (event) => {
  const { replay: id, copy } = event.target.dataset;
  if (copy) await navigator.clipboard.writeText(copy).then(() => write(byId("said"), `Copied ${copy}.`), () => {});
  if (!id) return;
  askFirst(`Send the webhook of ${id} again? Its receiver may get it twice.`, "Deliver again", () => replay([id]));
});
byId("again").addEventListener("click", () => {
  const rows = filtered().filter(givenUp), receivers = new Set(rows.map((row) => row.receiver));
  askFirst(`Send ${rows.length} webhooks again, to ${[...receivers].join(", ")}? A receiver may get one twice.`,
    `Deliver ${rows.length} again`, () => replay(rows.map((row) => row.request_id)));
});
byId("resume").addEventListener("click", () => askFirst(
  `Resume calls to the upstream? ${byId("title").textContent}.`, "Resume", resume));
byId("confirm").addEventListener("close", async () => {
  if (byId("confirm").returnValue !== "yes") return;
  await confirmed();
  await poll();
});
document.addEventListener("visibilitychange", poll);
readFilters();
toggle();
if (key) {
  if (wantedId()) search();
} else byId("key").focus();
poll();
