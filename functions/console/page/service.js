"use strict";
// Requests to the service, with the key. The key stays in this tab.
const POLL_MS = 1000, STALE_MS = 5000, HISTORY_MS = 60000, LOOK_UP_MS = 4000, ANSWER_MS = 4000, KEY = "key";
let key = sessionStorage.getItem(KEY) || "", aheadMs = 0;

const byId = (id) => document.getElementById(id);
const now = () => Date.now() + aheadMs;  // the service's time

async function ask(path, options = {}) {
  const headers = { Accept: "application/json", Authorization: key, ...options.headers };
  const signal = AbortSignal.timeout(ANSWER_MS);
  const response = await fetch(path, { cache: "no-cache", signal, ...options, headers });
  const date = Date.parse(response.headers.get("Date"));
  aheadMs = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  const body = await response.json();
  if (response.ok) return body;
  throw Object.assign(new Error(body.detail || String(response.status)), { status: response.status });
}

function post(path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  return ask(path, { method: "POST", headers, body: body && JSON.stringify(body) });
}
