// The log of a deployment while it is written: new lines are asked for from the server, which alone knows how to
// show them; the page keeps a limited number. All else about these pages works by itself, or by live.js.

const pane = document.getElementById("lines");
const button = document.getElementById("follow");
const poll_s = 2;
let isFollowing = false;
let isAsking = false;
let isAskedAgain = false;
let timer = 0;
let due_ms = 0;
let isOver = false;

function follow(isOn) {
  isFollowing = isOn;
  button.setAttribute("aria-pressed", String(isOn));
  if (isOn) pane.scrollTop = pane.scrollHeight;
}

function address() {
  const query = new URLSearchParams({ after: pane.dataset.last });
  if (pane.dataset.search) query.set("q", pane.dataset.search);
  if (pane.dataset.attempt) query.set("attempt", pane.dataset.attempt);
  return `${pane.dataset.url}?${query}`;
}

async function take() {
  const response = await fetch(address(), { headers: { "X-Live": "1" }, cache: "no-store" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const last = response.headers.get("X-Last-No");
  const isMore = last !== pane.dataset.last;
  pane.dataset.last = last;
  const rows = new DOMParser().parseFromString(await response.text(), "text/html").body.children;
  if (rows.length) show([...rows]);
  return isMore;
}

function show(rows) {
  pane.querySelector("p.none")?.remove();
  // a line that is there already, after a gap, is not shown twice
  const fresh = rows.filter((row) => !document.getElementById(row.id));
  go_on(fresh);
  pane.append(...fresh.map((row) => document.importNode(row, true)));
  // the newest stay; older ones are a page away
  while (pane.childElementCount > Number(pane.dataset.kept)) pane.firstElementChild.remove();
  if (isFollowing) pane.scrollTop = pane.scrollHeight;
  const count = document.querySelector("#log .count");
  if (count) {
    const lines = Number(pane.dataset.last);
    count.textContent = `${lines.toLocaleString("en")} ${lines === 1 ? "line" : "lines"}`;
  }
}

// A line that was not whole is made longer by what has come of it.
function go_on(fresh) {
  const last = pane.lastElementChild;
  if (!fresh.length || !last?.hasAttribute("data-more")) return;
  const [row] = fresh.splice(0, 1);
  last.querySelector("code").append(...document.importNode(row.querySelector("code"), true).childNodes);
  last.toggleAttribute("data-more", row.hasAttribute("data-more"));
}

async function ask() {
  timer = 0;
  if (document.hidden) return;
  if (isAsking) {
    isAskedAgain = true;
    return;
  }
  isAsking = true;
  isAskedAgain = false;
  let isMore = false;
  try {
    isMore = await take();
  } catch {
    // live.js says that the server does not answer; the next turn asks from the same line on
  }
  isAsking = false;
  if (isMore || isAskedAgain || !isOver) plan(isMore || isAskedAgain ? 0.25 : poll_s);
}

// Events only bring the next look forward: a flood of them must not put it off for ever.
function plan(seconds) {
  const at_ms = Date.now() + seconds * 1000;
  if (timer && due_ms <= at_ms) return;
  clearTimeout(timer);
  due_ms = at_ms;
  timer = setTimeout(ask, seconds * 1000);
}

if (pane && !location.hash.startsWith("#L")) pane.scrollTop = pane.scrollHeight;
if (pane && button && "follow" in pane.dataset) {
  button.hidden = false;
  button.addEventListener("click", () => follow(!isFollowing));
  pane.addEventListener("wheel", (event) => event.deltaY < 0 && isFollowing && follow(false), { passive: true });
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  const main = document.querySelector("main");
  const listen = () => main.liveStream?.addEventListener("log", () => plan(0.1));
  listen();
  document.addEventListener("live:stream", listen);
  document.addEventListener("live:over", () => {
    isOver = true;
    plan(1);
  });
  follow(true);
  plan(poll_s);
}
