// The requests: rows keyed by id and updated in place, so that the selection, the focus and a screen reader's position survive.
const COLUMNS = ["Accepted", "Request", "Caller", "State", "Next answer", "Webhook", "Action"];
const finished = (row) => Boolean(row.finished_at) && row.delivery.state !== "pending";
const givenUp = (row) => ["gone", "undeliverable"].includes(row.delivery.state);
const failing = (row) => row.delivery.state === "pending" && Boolean(row.delivery.reason);
const TESTS = { all: () => true, unfinished: (row) => !finished(row), undeliverable: givenUp };

function newRow(id) {
  const tr = element("tr");
  tr.dataset.id = id;
  tr.setAttribute("role", "row");
  for (const column of COLUMNS) {
    const td = tr.appendChild(element("td"));
    td.setAttribute("role", "cell");
    if (column !== "Action") td.dataset.label = column;
  }
  const [, request, , state, , webhook, action] = tr.children;
  const link = element("a");
  link.href = `crypto/requests/${encodeURIComponent(id)}/page`;
  link.append(element("code", id));
  const copy = element("button", "copy", "copy");
  Object.assign(copy, { type: "button", title: "Copy the id" });
  Object.assign(copy.dataset, { copy: id });
  copy.setAttribute("aria-label", `Copy the id ${id}`);
  request.append(link, copy);
  for (const cell of [state, webhook]) cell.append(element("span"), " ", element("span"), element("small"));
  const again = element("button", "Deliver again");
  again.type = "button";
  again.dataset.replay = id;
  again.setAttribute("aria-label", `Deliver the webhook of ${id} again`);
  action.append(again);
  return tr;
}

function fillRow(tr, row) {
  const [accepted, , caller, state, next, webhook, action] = tr.children;
  write(accepted, `${since(row.created_at)} ago`);
  write(caller, row.client || "–");
  const took = row.finished_at ? `after ${fine(Date.parse(row.finished_at) - Date.parse(row.created_at))}` : "";
  const calls = row.finished_at && Number.isInteger(row.attempts) ? plural(row.attempts, "call") : "";
  fillCell(state, row.state, [took, calls].filter(Boolean).join(", "), reason(row) && `${row.failure ? "" : "last error: "}${reason(row)}`);
  const eta = !row.finished_at && row.estimated_ready_at;
  write(next, row.finished_at ? "–" : eta ? soon(eta) : "not known");
  next.classList.toggle("nothing", Boolean(row.finished_at));
  fillWebhook(webhook, row);
  const button = action.firstChild, wanted = givenUp(row) || failing(row);
  if (!wanted && document.activeElement === button) tr.querySelector("a").focus();
  button.hidden = !wanted;
  action.classList.toggle("nothing", !wanted);
}

// The answer for one request has an object as its failure; the list has words.
const reason = (row) => row.failure?.message || row.failure || row.error || row.last_error || "";
// A delivery's reason is a code.
const inWords = (text) => (text || "").replace(/^http_(\d+)$/, "HTTP $1").replaceAll("_", " ");

function fillCell(cell, word, details, small) {
  cell.children[0].className = `is-${word.split(" ")[0]}`;
  write(cell.children[0], word);
  write(cell.children[1], details);
  write(cell.children[2], small);
}

function fillWebhook(cell, row) {
  const { state, attempts, reason: why, next_attempt_at: next } = row.delivery;
  const asked = row.receiver || row.has_webhook;
  if (!asked) return fillCell(cell, "none requested", "", "");
  if (state === "none") return fillCell(cell, row.finished_at ? "not sent" : "after the outcome", "", row.receiver || "");
  const retried = failing(row) ? `next ${soon(next)}` : "";
  const details = [plural(attempts, "attempt"), state === "delivered" ? "" : inWords(why), retried].filter(Boolean).join(", ");
  return fillCell(cell, failing(row) ? "failing" : state, details, row.receiver || "");
}

// Put rows in order. The row in use is never moved: it would lose the focus and the selection.
function arrange(parent, wanted, pinned) {
  const keep = new Set(wanted);
  for (const row of [...parent.children]) if (!keep.has(row)) row.remove();
  let cursor = parent.firstElementChild;
  for (const row of wanted) {
    if (row === pinned) {
      while (cursor !== pinned) {
        const next = cursor.nextElementSibling;
        parent.append(cursor);
        cursor = next;
      }
    }
    if (row === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(row, cursor);
  }
}

function inUse(body) {
  const nodes = [document.activeElement, document.getSelection().isCollapsed ? null : document.getSelection().anchorNode];
  const row = nodes.map((node) => (node instanceof Element ? node : node?.parentElement)?.closest("tr")).find(Boolean);
  return row && body.contains(row) ? row : null;
}

function showList(rows) {
  const body = byId("rows"), known = new Map([...body.children].map((tr) => [tr.dataset.id, tr]));
  const shown = rows.map((row) => {
    const tr = known.get(row.request_id) || newRow(row.request_id);
    fillRow(tr, row);
    return tr;
  });
  const pinned = inUse(body);
  arrange(body, shown, shown.includes(pinned) ? pinned : null);
  byId("requests").hidden = !rows.length;
}
