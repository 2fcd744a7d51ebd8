// The report's data, the view (what the reader has chosen), and small helpers.

const data = JSON.parse(document.querySelector("#data").textContent);
const LOST = 5;
const CLASSES = ["done", "failed", "running", "waiting", "held", "waiting"];
const classOf = (kind) => CLASSES[kind] ?? "other";

// The view outlives a reload: the browser keeps the history entry
const view = {
  text: "", state: "", step: -1, kind: "", cause: -1, label: "",
  sort: 0, descending: false, all: false, open: [], hosts: false, only: -1, paused: false,
  ...(history.state?.view ?? {}),
};
const keep = (more = {}) => {
  try {
    history.replaceState({ ...history.state, view, ...more }, "");
  } catch {
    // Some browsers limit how often; the view is then forgotten
  }
};

// An item's row, see item_row.py
const item = (row) => {
  const [sample, kind = 3, host = -1, age = null, seconds = 0, attempts = 0, tasks = 1, done = 0,
    failed = 0, cause = -1, details = null] = row;
  const begin = age === null ? null : data.now - age;
  return { sample, kind, host, begin, seconds, attempts, tasks, done, failed, cause, details };
};
// cells[step][sample]: the items of a sample in a step
const cells = data.items.map((rows) => {
  const found = new Array(data.samples.length);
  for (const row of rows) (found[row[0]] ??= []).push(row);
  return found;
});

const el = (name, properties = {}, ...children) => {
  const { data: dataset = {}, aria = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(name), rest);
  Object.assign(made.dataset, dataset);
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
};
const mark = (kind) => el("i", { className: `mark ${kind}` });
const number = (value) => value.toLocaleString("en");
const plural = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const two = (value) => String(value).padStart(2, "0");
const day = (when) => `${two(when.getUTCDate())} ${MONTHS[when.getUTCMonth()]}`;
const clock = (when) => `${two(when.getUTCHours())}:${two(when.getUTCMinutes())}`;
const moment = (seconds) => {
  const when = new Date(seconds * 1000);
  return `${day(when)} ${clock(when)}:${two(when.getUTCSeconds())}`;
};
const duration = (seconds) => {
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${two(minutes % 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
};
const memory = (mb) => (mb < 1000 ? `${mb} MB` : `${(mb / 1000).toFixed(1).replace(/\.0$/, "")} GB`);

// One word for a POSIX shell
const quoted = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;

const say = (text) => {
  const line = document.querySelector("#said");
  line.textContent = text;
  line.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => line.classList.remove("shown"), 2500);
};
const copy = async (text, said) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // What came by http may not use the clipboard's interface
    const area = el("textarea", { value: text, className: "away" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(said);
};
const paste = (text, what = "copied") =>
  el("span", { className: "paste" }, el("code", {}, text),
    el("button", { type: "button", className: "copy", data: { said: what } }, "copy"));
document.addEventListener("click", (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  copy(button.dataset.text ?? button.previousElementSibling.textContent, button.dataset.said ?? "copied");
});
