// The service's state: in the page, in the tab's title and in its icon.
const TONES = { good: "#2a7d46", busy: "#b08000", failing: "#c93c37", stopped: "#c93c37" };
const SIGNS = {  // different shapes, for people who see no colours
  good: '<circle cx="8" cy="8" r="6"/>', busy: '<path d="M2 13 8 2l6 11z"/>',
  failing: '<path d="M2 2h12v12H2z"/>', stopped: '<path d="M2 2h12v12H2z"/><path d="M4 7h8v2H4z" fill="#fff"/>',
};
let announcedState = "";

function showHeadline({ state, severity, title, why, todo = "", since: from }, { canResume = false } = {}) {
  const section = byId("headline");
  section.hidden = false;
  section.className = severity;
  section.dataset.state = state;
  write(byId("title"), title);
  write(byId("why"), why);
  write(byId("todo"), todo);
  write(byId("since"), from ? `Since ${clock(from)}, ${since(from)} ago.` : "");
  byId("resume").hidden = !(canResume && state === "paused");
  if (state !== announcedState) write(byId("announced"), `${title}. ${why}`);
  announcedState = state;
  document.title = `${title} · Signing Relay`;
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="${TONES[severity]}">${SIGNS[severity]}</svg>`;
  const href = `data:image/svg+xml,${encodeURIComponent(drawing)}`;
  if (byId("icon").href !== href) byId("icon").href = href;
}

function showNoAnswer(lastAt, why) {
  const text = lastAt ? `Not updated since ${clock(lastAt)}.` : "Nothing has been loaded yet.";
  showHeadline({
    state: "no_answer", severity: "stopped", title: "The API does not answer",
    why: `${lastAt ? "The figures below are old. " : ""}The console asks again each second. The last error: ${why}.`,
    todo: "Check the API function and the gateway: are they deployed, do they throttle, what do their logs say?",
  });
  write(byId("stale"), text);
  byId("console").classList.add("old");
}

function showFreshness() {
  write(byId("stale"), "");
  byId("console").classList.remove("old");
}

function hideHeadline() {
  byId("headline").hidden = true;
  announcedState = "";
  document.title = "Signing Relay: console";
  byId("icon").href = "data:,";
}
