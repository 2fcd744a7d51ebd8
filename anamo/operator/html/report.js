"use strict";
(() => {
  const body = document.querySelector("#matrix tbody");
  const heads = [...document.querySelectorAll("#matrix thead th")];
  const search = document.querySelector("#search");
  const chosen = document.querySelector("#chosen");
  const chips = [...document.querySelectorAll(".chip")];
  const order = { failed: 0, locked: 1, other: 2, todo: 3, done: 4, none: 5 };
  // Read once: sorting 5,000 rows by numbers is fast, by reading their elements it is slow
  const rows = [...body.rows].map((element, position) => ({
    element,
    position,
    id: element.cells[0].textContent.toLowerCase(),
    kinds: [...element.cells].slice(1).map((cell) => cell.className),
  }));
  let selected = { kind: "", step: -1 };

  const matches = (row) => {
    if (!selected.kind) return true;
    if (selected.step >= 0) return row.kinds[selected.step] === selected.kind;
    const has = (kind) => kind === selected.kind;
    return selected.kind === "done" ? row.kinds.every(has) : row.kinds.some(has);
  };

  const filter = () => {
    const text = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const visible = row.id.includes(text) && matches(row);
      row.element.hidden = !visible;
      shown += visible;
    }
    const all = rows.length.toLocaleString("en");
    const some = shown.toLocaleString("en");
    document.querySelector("#shown").textContent =
      shown === rows.length ? `${all} task ids` : `${some} of ${all} task ids`;
    document.querySelector("#nothing").hidden = shown > 0;
    for (const chip of chips) {
      const on = selected.step < 0 ? chip.dataset.kind === selected.kind : chip === chosen;
      chip.setAttribute("aria-pressed", String(Boolean(selected.kind) && on));
    }
    chosen.hidden = selected.step < 0;
  };

  const choose = (kind, step) => {
    const again = selected.kind === kind && selected.step === step;
    selected = again ? { kind: "", step: -1 } : { kind, step };
    filter();
  };

  for (const chip of chips) {
    chip.addEventListener("click", () =>
      chip === chosen ? choose(selected.kind, selected.step) : choose(chip.dataset.kind, -1));
  }
  for (const button of document.querySelectorAll(".count")) {
    button.addEventListener("click", () => {
      const step = Number(button.dataset.step);
      selected = { kind: button.dataset.kind, step };
      chosen.textContent = `${button.dataset.kind} in ${heads[step + 1].textContent.trim()} ✕`;
      filter();
      document.querySelector("#samples").scrollIntoView();
    });
  }
  search.addEventListener("input", filter);

  const sort = (column, descending) => {
    const key = column
      ? (row) => order[row.kinds[column - 1]] ?? order.other
      : (row) => row.position;
    const sign = descending ? -1 : 1;
    const sorted = [...rows].sort((a, b) => sign * (key(a) - key(b)) || a.position - b.position);
    body.append(...sorted.map((row) => row.element));
    heads.forEach((head, position) => {
      if (position === column) {
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      } else {
        head.removeAttribute("aria-sort");
      }
    });
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () =>
      sort(column, head.getAttribute("aria-sort") === "ascending"));
  });
})();
