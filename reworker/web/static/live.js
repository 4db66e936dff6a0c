// Pages that follow what happens. The server's page is the truth: what is shown is only ever replaced by what it
// answers, so after any gap, a killed server too, the page ends up equal to the database.
//
//   <main data-live>                 asks for its page again every data-live-s seconds (2); 304 is "as it was".
//   <main data-live data-stream=URL> asks as soon as the stream of server-sent events says something, and else
//                                    every 15 s; each event is given to the page as CustomEvent "live:event"
//                                    with {type, id, data}; the stream itself is main.liveStream,
//                                    another one (CustomEvent "live:stream") after the page was hidden: a browser
//                                    has six connections to a server at most, for all of its tabs.
//   A page without data-live is the last one: nothing more will happen.
//   <... id=x data-part>             is replaced when it differs; inside it, rows [data-row][id] one by one, so
//                                    that marks, focus and open details stay.

const main = document.querySelector("main[data-live]");
const state = document.getElementById("live-state");
const quiet_s = 15;
const slowest_s = 20;
const least_ms = 1000;
let tag = "";
let failures = 0;
let timer = 0;
let dueAt = 0;
let askedAt = 0;
let isAsking = false;
let isAskedAgain = false;
let isOver = false;
const known = new Map();

function delay_s() {
  if (failures) return Math.min(2 ** failures / 2, slowest_s);
  return stream && stream.readyState === EventSource.OPEN ? quiet_s : Number(main.dataset.liveS || 2);
}

// An earlier moment that is planned stays: events that come all the time must not put it off for ever. Between two
// requests is a second at least, so that a busy system is not kept busy by those who look at it.
function plan(seconds) {
  if (isOver) return clearTimeout(timer);
  const at = Math.max(Date.now() + seconds * 1000, askedAt + least_ms);
  if (timer && dueAt <= at) return;
  clearTimeout(timer);
  dueAt = at;
  timer = setTimeout(ask, at - Date.now());
}

async function ask() {
  clearTimeout(timer);
  timer = 0;
  if (document.hidden) return;
  if (isAsking) {
    isAskedAgain = true;
    return;
  }
  isAsking = true;
  isAskedAgain = false;
  askedAt = Date.now();
  try {
    await take(await fetch(location.href, { headers: { "X-Live": "1", "If-None-Match": tag }, cache: "no-store" }));
    failures = 0;
    state.textContent = "";
  } catch (error) {
    failures += 1;
    if (failures > 1) state.textContent = "The server does not answer; what you see may be old. Trying again.";
  }
  isAsking = false;
  plan(isAskedAgain ? 0.2 : delay_s());
}

async function take(response) {
  if (response.status === 304) return;
  if (response.status === 401) {
    location.assign(response.headers.get("HX-Redirect") || "/login");
    return;
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  const text = await response.text();
  tag = response.headers.get("ETag") || "";
  show(new DOMParser().parseFromString(text, "text/html"));
}

function show(fresh) {
  document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.getElementById(part.id);
    if (other) put(part, other);
  }
  isOver = !fresh.querySelector("main[data-live]");
  if (isOver) {
    stream?.close();
    document.dispatchEvent(new CustomEvent("live:over"));
  }
  document.dispatchEvent(new CustomEvent("live:changed"));
}

// Compares with what the server said before, not with the page, to which ages and marks were added.
function put(old, fresh) {
  const text = fresh.outerHTML;
  if (known.get(old.id) === text) return;
  known.set(old.id, text);
  if (old.outerHTML === text) return;
  const rows = [...fresh.querySelectorAll("[data-row][id]")];
  if (rows.length && rows.every((row) => !row.querySelector("[data-part]"))) keep_rows(old, rows);
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const details = [...old.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
  old.replaceWith(document.importNode(fresh, true));
  details.forEach(([id, isOpen]) => document.getElementById(id)?.toggleAttribute("open", isOpen));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (window.htmx) window.htmx.process(document.getElementById(fresh.id));
}

function keep_rows(old, rows) {
  for (const row of rows) {
    const before = old.querySelector(`[id="${CSS.escape(row.id)}"] input[type=checkbox]`);
    const after = row.querySelector("input[type=checkbox]");
    if (before && after && before.checked) after.setAttribute("checked", "");
  }
}

let stream = null;

function listen(url) {
  stream = main.liveStream = new EventSource(url);
  document.dispatchEvent(new CustomEvent("live:stream"));
  const tell = (event) => {
    const detail = { type: event.type, id: event.lastEventId, data: event.data };
    document.dispatchEvent(new CustomEvent("live:event", { detail }));
    plan(0.15);
  };
  (main.dataset.streamEvents || "message change").split(" ").forEach((name) => stream.addEventListener(name, tell));
  // after a gap something may have been missed that the stream does not tell again
  stream.addEventListener("open", () => plan(0.15));
}

function look_again() {
  if (isOver) return;
  stream?.close();
  stream = null;
  if (document.hidden) return;
  if (main.dataset.stream) listen(main.dataset.stream);
  ask();
}

if (main) {
  if (main.dataset.stream && !document.hidden) listen(main.dataset.stream);
  document.addEventListener("visibilitychange", look_again);
  plan(Number(main.dataset.liveS || 2));
}
