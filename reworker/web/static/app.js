// What makes the pages quicker to use: keys, ages of times, forms that are sent once. All of them work without it.

const fields = "input, textarea, select, [contenteditable]";

// Keys. `g` and a letter go to a page; others act on what carries them in data-key: a field gets the focus, a link
// or button is clicked.
let isGoing = false;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest(fields)) {
    if (event.key !== "Escape") return;
    event.target.blur();
    // a browser would empty a field of a search, and the list would be another one
    event.preventDefault();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const wasGoing = isGoing;
  isGoing = event.key === "g" && !wasGoing;
  if (isGoing) return;
  if (wasGoing ? go(event.key) : act(event.key)) event.preventDefault();
});

function go(key) {
  const link = document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  if (link) link.click();
  return Boolean(link);
}

function act(key) {
  if (key === "j") return step(1);
  if (key === "k") return step(-1);
  if (key === "?") return open_dialog("keys");
  if (key.length !== 1) return false;
  const found = document.querySelector(`main [data-key="${CSS.escape(key)}"], [data-key="${CSS.escape(key)}"]`);
  if (!found) return false;
  if (found.matches(fields) && found.type !== "checkbox") {
    found.focus();
    if (found.select) found.select();
  } else {
    found.click();
  }
  return true;
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row] a.main")].filter((one) => one.offsetParent);
  const at = rows.findIndex((one) => one.closest("[data-row]").contains(document.activeElement));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
  if (next) {
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
  return rows.length > 0;
}

function open_dialog(id) {
  const dialog = document.getElementById(id);
  if (dialog && !dialog.open) dialog.showModal();
  return Boolean(dialog);
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener && open_dialog(opener.dataset.dialog)) event.preventDefault();
  if (event.target.matches("dialog")) event.target.close();
});

// A second click on a button must not start a second deployment; the server knows that, too.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => form.querySelectorAll("button").forEach((one) => (one.disabled = true)));
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => {
    delete form.dataset.sent;
    form.querySelectorAll("button").forEach((one) => (one.disabled = false));
  });
});

// One box marks all: <input type=checkbox data-all="name of the others">.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.all;
  if (name) document.querySelectorAll(`input[name="${CSS.escape(name)}"]`).forEach((one) => (one.checked = event.target.checked));
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// Ages: "3 min ago" in place of the time, which stays as the title.
const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function lasts(seconds) {
  const [size, unit] = units.find(([one]) => seconds >= one) || [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

// A time with data-span is the beginning of what goes on: "3 min".
function age(time) {
  const seconds = Math.round((Date.now() - Date.parse(time.dateTime)) / 1000);
  const away = Math.abs(seconds);
  if (!(away < 86400 * 14)) return "";
  if ("span" in time.dataset) return lasts(Math.max(seconds, 0));
  if (away < 5) return "now";
  const text = lasts(away);
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

export function show_ages() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    if (!time.dataset.exact) {
      time.dataset.exact = time.textContent;
      time.title = `${time.textContent} UTC`;
    }
    const text = age(time) || time.dataset.exact;
    if (time.textContent !== text) time.textContent = text;
  }
}

show_ages();
setInterval(show_ages, 5000);
document.addEventListener("live:changed", show_ages);
document.addEventListener("htmx:afterSettle", show_ages);
