// The window: a box for each slot, or one bar where there are many; and the figures beside it.
const BOXES_MAX = 20;

function showWindow({ slots, seconds, calls, used, latency_ms: latencyMs }) {
  write(byId("used"), `${used} of ${calls} slots in use: at most ${calls} calls in any ${seconds} s. `
    + `An answer takes about ${latencyMs} ms.`);
  byId("slots").hidden = slots.length > BOXES_MAX;
  byId("bar").hidden = slots.length <= BOXES_MAX;
  if (slots.length > BOXES_MAX) showBar(slots, used);
  else showBoxes(slots, seconds);
}

function showBoxes(slots, seconds) {
  const list = byId("slots");
  while (list.children.length > slots.length) list.lastChild.remove();
  while (list.children.length < slots.length) {
    const item = list.appendChild(element("li"));
    item.append(element("span"), element("span"), element("span", "", "unseen"));
    item.children[0].setAttribute("aria-hidden", "true");
  }
  slots.forEach(({ free_at: freeAt, kind }, index) => {
    const leftMs = freeAt ? Math.max(0, Date.parse(freeAt) - now()) : 0, item = list.children[index];
    item.className = leftMs ? kind : "free";
    item.style.setProperty("--left", Math.min(1, leftMs / (seconds * 1000)));
    write(item.children[0], leftMs ? span(leftMs) : "free");
    write(item.children[1], leftMs ? kind : "");
    write(item.children[2], leftMs ? `free again in ${span(leftMs)}` : "free");
  });
}

function showBar(slots, used) {
  const counts = { fresh: 0, retry: 0, probe: 0 };
  for (const { free_at: freeAt, kind } of slots) {
    if (freeAt && Date.parse(freeAt) > now() && kind in counts) counts[kind] += 1;
  }
  const bar = byId("bar"), parts = Object.entries(counts).filter(([, count]) => count);
  bar.setAttribute("aria-label", `${used} of ${slots.length} slots in use`
    + (parts.length ? `: ${parts.map(([kind, count]) => `${count} ${kind}`).join(", ")}` : ""));
  bar.replaceChildren(...parts.map(([kind, count]) => {
    const part = element("i", "", kind);
    part.style.setProperty("width", `${100 * count / slots.length}%`);
    return part;
  }));
}

function showFigure(id, value, note = "") {
  const node = byId(id);
  if (!node.firstChild) node.append("", element("small"));
  if (node.firstChild.data !== String(value)) node.firstChild.data = String(value);
  write(node.lastChild, note);
}

function showFigures({ figures, waiting, retrying, calls, window, dead_letters: letters }) {
  const known = (ms) => ms === null ? "–" : fine(ms);
  const count = (jobs) => `${jobs.count}${jobs.more ? "+" : ""}`;
  const oldest = (jobs) => jobs.oldest_at ? `the oldest for ${since(jobs.oldest_at)}` : "";
  showFigure("waiting", count(waiting), oldest(waiting));
  showFigure("retrying", count(retrying), oldest(retrying));
  if (calls) {
    showFigure("signed", calls.signed, `in ${span(calls.seconds * 1000)}, ${calls.at_once} of them at once; `
      + `${calls.failed} failed`);
  } else {
    showFigure("signed", figures.signed, `accepted requests, in the last ${span(figures.seconds * 1000)}`);
  }
  showFigure("took", known(figures.time_to_signature_ms), "median of those listed");
  showFigure("most", `${window.most_used} of ${window.calls}`, "slots, minute by minute");
  showFigure("off", known(figures.estimate_error_ms), "median, by the end of the first call");
  showFigure("delivered", figures.delivered, "of those listed");
  showFigure("failing", figures.failing, figures.failing ? "will be sent again" : "");
  showFigure("undeliverable", figures.undeliverable, figures.undeliverable ? "can be sent again" : "");
  byId("dead").hidden = !letters;
  if (letters) showLetters(letters);
}

function showLetters({ work, notification }) {
  const count = (number) => number === null ? "not known" : number;
  const known = work === null || notification === null ? "?" : work + notification;
  showFigure("letters", known, `wake-ups: ${count(work)}, webhooks: ${count(notification)}`);
}
