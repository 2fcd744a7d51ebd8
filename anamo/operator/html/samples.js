// The table of samples: rows are made as they scroll into view.

const FOLDED = 20;
const BATCH = 100;
const TALL = 200;
const ORDER = { failed: 0, running: 1, other: 2, held: 3, waiting: 4, done: 5, none: 6 };
const table = document.querySelector("#matrix");
const body = table.querySelector("tbody");
const scroller = document.querySelector("#rows");
const heads = [...table.querySelectorAll("thead th")];
const search = document.querySelector("#search");
const chosen = document.querySelector("#chosen");
const fold = document.querySelector("#fold");
const names = data.samples.map((name) => name.toLowerCase());
const longest = Math.max(8, ...data.samples.slice(0, 10000).map((name) => name.length));
table.style.setProperty("--wide-name", `min(${Math.min(longest, 40) + 5}ch, 45cqi)`);
table.style.setProperty("--narrow-name", `min(${longest}ch + 17px, 45cqi)`);
table.style.setProperty("--steps", data.steps.length);
let matching = [];
let made = 0;

const worst = (rows) =>
  rows ? rows.map((row) => item(row).kind).sort((a, b) => ORDER[classOf(a)] - ORDER[classOf(b)])[0] : null;
const kindAt = (sample, step) => {
  const kind = worst(cells[step][sample]);
  return kind === null ? "none" : classOf(kind);
};

const textOf = (rows) => {
  const items = rows.map(item);
  if (items.length === 1) {
    const [one] = items;
    const parts = [];
    if (one.kind === 1 && one.tasks > 1) parts.push(`${number(one.failed)} of ${number(one.tasks)}`);
    if (one.kind > 1 && one.done + one.failed > 0) parts.push(`${number(one.done + one.failed)} of ${number(one.tasks)}`);
    if (one.kind === LOST) parts.push("lease ended");
    else if (one.kind === 3 && one.attempts) parts.push(`after ${plural(one.attempts, "attempt")}`);
    else if (one.attempts > 1) parts.push(plural(one.attempts, "attempt"));
    return [data.kinds[one.kind], parts.join(", ")];
  }
  const counts = new Map();
  for (const one of items) counts.set(data.kinds[one.kind], (counts.get(data.kinds[one.kind]) ?? 0) + 1);
  return [[...counts].map(([word, n]) => `${number(n)} ${word}`).join(", "), ""];
};

const isOpen = (sample, step) =>
  view.open.some(([name, table]) => name === data.samples[sample] && table === data.steps[step].name);

const cellOf = (sample, step) => {
  const rows = cells[step][sample];
  if (!rows) return el("td", { className: "none" }, "–");
  const [word, more] = textOf(rows);
  const button = el("button", {
    type: "button", className: `cell ${kindAt(sample, step)}`,
    data: { sample, step }, aria: { expanded: String(isOpen(sample, step)) },
  }, el("span", { className: "word" }, mark(kindAt(sample, step)), word), more ? el("span", { className: "quiet" }, more) : "");
  return el("td", {}, button);
};

const rowsOf = (sample) => {
  const row = el("tr", {}, el("th", { scope: "row" }, data.samples[sample]),
    ...data.steps.map((_, step) => cellOf(sample, step)));
  const opened = data.steps.map((_, step) => step).filter((step) => cells[step][sample] && isOpen(sample, step));
  return [row, ...opened.map((step) => detailRow(sample, step))];
};
const detailRow = (sample, step) => {
  const cell = el("td", { colSpan: data.steps.length + 1 }, detailOf(sample, step));
  return el("tr", { className: "opened", data: { sample, step } }, cell);
};

const toggle = (button) => {
  const { sample, step } = button.dataset;
  const open = button.getAttribute("aria-expanded") !== "true";
  const here = [data.samples[sample], data.steps[step].name];
  view.open = view.open.filter((each) => each[0] !== here[0] || each[1] !== here[1]);
  button.setAttribute("aria-expanded", String(open));
  const row = button.closest("tr");
  for (let other = row.nextElementSibling; other?.className === "opened"; other = other.nextElementSibling) {
    if (other.dataset.step === step) { other.remove(); break; }
  }
  if (open) {
    view.open.push(here);
    row.after(detailRow(Number(sample), Number(step)));
  }
  keep();
};

const matches = (sample) => {
  if (!names[sample].includes(view.text.trim().toLowerCase())) return false;
  if (view.state) return data.states[data.stateOf[sample]] === view.state;
  if (view.step < 0) return true;
  const rows = (cells[view.step][sample] ?? []).map(item);
  return view.cause >= 0
    ? rows.some((one) => one.cause === view.cause)
    : rows.some((one) => data.kinds[one.kind] === view.kind);
};

// Append the next rows, up to as many as are to be shown
const append = (most) => {
  const end = Math.min(matching.length, most);
  if (made >= end) return;
  body.append(...matching.slice(made, end).flatMap(rowsOf));
  made = end;
};
const sight = new IntersectionObserver((seen) => {
  if (view.all && seen.some((each) => each.isIntersecting)) {
    append(made + BATCH);
    watchEnd();
  }
}, { rootMargin: "600px" });
const watchEnd = () => {
  sight.disconnect();
  if (made < matching.length && body.lastElementChild) sight.observe(body.lastElementChild);
};

const showControls = () => {
  const all = data.samples.length;
  document.querySelector("#shown").textContent = matching.length === all
    ? plural(all, "sample") : `${number(matching.length)} of ${plural(all, "sample")}`;
  document.querySelector("#nothing").hidden = matching.length > 0;
  document.querySelector("#copy-ids").disabled = matching.length === 0;
  fold.hidden = matching.length <= FOLDED * 1.5;
  fold.textContent = view.all ? "fold" : `show all ${number(matching.length)}`;
  fold.setAttribute("aria-expanded", String(view.all));
  scroller.classList.toggle("tall", view.all && matching.length > TALL);
  for (const chip of document.querySelectorAll(".chip[data-state]")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.state === view.state));
  }
  chosen.hidden = view.step < 0;
  chosen.textContent = view.step < 0 ? "" : `${view.label || view.kind} in ${data.steps[view.step].name} ✕`;
  heads.forEach((head, position) => {
    if (position === view.sort) head.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
};

const refresh = () => {
  matching = data.samples.map((_, sample) => sample).filter(matches);
  if (view.sort) {
    const key = matching.map((sample) => [ORDER[kindAt(sample, view.sort - 1)], sample]);
    const sign = view.descending ? -1 : 1;
    matching = key.sort((a, b) => sign * (a[0] - b[0]) || a[1] - b[1]).map((each) => each[1]);
  } else if (view.descending) matching.reverse();
  body.replaceChildren();
  made = 0;
  const folded = !view.all && matching.length > FOLDED * 1.5;
  append(folded ? FOLDED : Math.max(BATCH, view.made ?? 0));
  watchEnd();
  showControls();
  keep();
};

const choose = (wanted) => {
  const none = { state: "", step: -1, kind: "", cause: -1, label: "" };
  const again = Object.entries(wanted).every(([key, value]) => view[key] === value);
  Object.assign(view, none, again ? {} : wanted);
  refresh();
};
const show = () => document.querySelector("#samples").scrollIntoView();

for (const button of document.querySelectorAll(".count, .chip[data-state], [data-cause]")) {
  button.addEventListener("click", () => {
    const { state = "", step = -1, kind = "", cause = -1, label = "" } = button.dataset;
    choose({ state, step: Number(step), kind, cause: Number(cause), label });
    if (!button.classList.contains("chip")) show();
  });
}
chosen.addEventListener("click", () => choose({ state: "", step: -1 }));
search.value = view.text;
search.addEventListener("input", () => { view.text = search.value; refresh(); });
fold.addEventListener("click", () => {
  view.all = !view.all;
  refresh();
  if (!view.all) show();
});
heads.forEach((head, column) => {
  head.querySelector("button").addEventListener("click", () => {
    view.descending = view.sort === column && !view.descending;
    view.sort = column;
    refresh();
  });
});
document.querySelector("#copy-ids").addEventListener("click", () => {
  const typed = matching.filter((sample) => !data.unpasteable.includes(sample));
  const left = matching.length - typed.length;
  const more = left ? `, ${left} with control characters left out` : "";
  copy(typed.map((sample) => data.samples[sample] + "\n").join(""), `${plural(typed.length, "name")} copied${more}`);
});

// A sample in a step, wherever it is: filtered by its name, opened and in focus
const openCell = (sample, step) => {
  Object.assign(view, { text: data.samples[sample], state: "", step: -1, all: false });
  search.value = view.text;
  if (!isOpen(sample, step)) view.open.push([data.samples[sample], data.steps[step].name]);
  refresh();
  show();
  body.querySelector(`.cell[data-sample="${sample}"][data-step="${step}"]`)?.focus({ preventScroll: true });
};
for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () =>
    openCell(data.samples.indexOf(button.dataset.open), Number(button.dataset.step)));
}

table.addEventListener("click", (event) => {
  const button = event.target.closest(".cell");
  if (button) toggle(button);
});
table.addEventListener("keydown", (event) => {
  const opened = event.target.closest(".opened");
  const at = opened
    ? body.querySelector(`.cell[data-sample="${opened.dataset.sample}"][data-step="${opened.dataset.step}"]`)
    : event.target.closest(".cell");
  if (!at) return;
  if (event.key === "Escape" && at.getAttribute("aria-expanded") === "true") {
    toggle(at);
    at.focus();
  }
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (opened || !moves[event.key]) return;
  const [down, right] = moves[event.key];
  const row = matching[matching.indexOf(Number(at.dataset.sample)) + down];
  const step = Number(at.dataset.step) + right;
  const to = body.querySelector(`.cell[data-sample="${row}"][data-step="${step}"]`);
  if (to) { event.preventDefault(); to.focus(); }
});
addEventListener("beforeprint", () => append(matching.length));
refresh();
