// What a cell shows when it is opened.

const logEntry = (task) => {
  const [name, argument = "", kind = null, exit = 0, seconds = 0, mb = 0, object = -1, cause = "",
    lines = "", tags = []] = task;
  return {
    name: typeof name === "number" ? `Task_${name}` : name,
    argument, kind, exit, seconds, mb, object, cause, lines, tags,
  };
};
const titleOf = (task) => [task.name, task.argument].filter(Boolean).join(" ");

// How a command names an item: by its sample, unless that cannot be typed or several items share it
const nameOf = (one, step, itemId) => {
  const several = cells[step][one.sample].length > 1 || data.unpasteable.includes(one.sample);
  return several && itemId !== undefined ? String(itemId) : quoted(data.samples[one.sample]);
};

const addressOf = (one, step, itemId, object) =>
  object.startsWith("~")
    ? `${data.steps[step].folder}/${data.samples[one.sample]}/${itemId}-${object.slice(1)}.log.gz`
    : object;

const factsOf = (pairs) =>
  el("dl", { className: "facts" }, ...pairs.filter(([, value]) => value !== "").map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value))));

const next = (reason, text) =>
  el("p", { className: "next" }, el("span", { className: "quiet" }, reason), paste(text));

// A failed task: its cause, its last lines, and where the rest is
const failureOf = (one, step, itemId, objects, task) => {
  const { logs } = data.steps[step];
  const nested = task.name ? ` --nested ${quoted(task.name)}` : "";
  const lines = task.lines.slice(1);
  return el("div", { className: "failure" },
    el("p", { className: "cause" }, mark("failed"), el("span", {}, [titleOf(task), task.cause].filter(Boolean).join(": ")),
      el("span", { className: "quiet" }, [task.cause === `exit ${task.exit}` ? "" : `exit code ${task.exit}`, task.seconds ? `after ${duration(task.seconds)}` : ""].filter(Boolean).join(", "))),
    lines ? el("pre", { tabIndex: 0, aria: { label: `last lines of ${task.lines[0] === "2" ? "stderr" : "stdout"}` } }, lines) : "",
    ...(task.object >= 0 ? [
      next("its whole log", `${logs} ${nameOf(one, step, itemId)}${nested}`),
      next("log in S3", addressOf(one, step, itemId, objects[task.object])),
    ] : []));
};

const taskRow = (one, step, itemId, objects, task) => {
  const kind = task.kind === null ? "waiting" : classOf(task.kind);
  const word = task.kind === null ? (one.kind === 2 ? "not ended yet" : "waiting") : task.cause || kind;
  const log = task.object >= 0
    ? el("button", { type: "button", className: "copy", data: { text: addressOf(one, step, itemId, objects[task.object]), said: "S3 address copied" } }, "copy S3 address")
    : "";
  return el("tr", {},
    el("th", { scope: "row" }, titleOf(task)),
    el("td", {}, mark(kind), word),
    el("td", {}, task.seconds ? duration(task.seconds) : "–"),
    el("td", {}, task.mb ? memory(task.mb) : "–"),
    el("td", {}, task.tags.join(", ")),
    el("td", {}, log));
};

const tasksOf = (one, step, itemId, objects, tasks) => {
  const head = el("tr", {}, ...["task", "state", "run time", "peak memory", "tags", "log"].map((name) => el("th", { scope: "col" }, name)));
  return el("details", { open: tasks.length <= 8 },
    el("summary", {}, `${plural(tasks.length, "nested task")}: ${one.done} done, ${one.failed} failed, ${tasks.length - one.done - one.failed} not ended`),
    el("div", { className: "scroll" }, el("table", { className: "tasks" }, el("thead", {}, head),
      el("tbody", {}, ...tasks.map((task) => taskRow(one, step, itemId, objects, task))))));
};

const scriptOf = (one, step, script) =>
  (data.scripts[step][script] ?? "")
    .replaceAll("\ue000", data.samples[one.sample])
    .replaceAll("\ue001", "…");

const itemDetail = (row, step) => {
  const one = item(row);
  const { logs, requeue, status } = data.steps[step];
  const [itemId, script, hostError = "", objects = [], tasks = []] = one.details ?? [];
  const name = nameOf(one, step, itemId);
  const found = tasks.map(logEntry);
  const single = one.tasks === 1 && found.length === 1 && found[0].name === "" ? found[0] : null;
  const command = scriptOf(one, step, script);
  const running = one.kind === 2;
  const shown = el("article", { className: "item" },
    el("p", { className: "what" }, mark(classOf(one.kind)), el("b", {}, data.kinds[one.kind]),
      el("span", { className: "quiet" }, data.steps[step].name)),
    factsOf([
      ["instance", one.host < 0 ? "" : data.hosts[one.host]],
      ["claimed", one.begin === null ? "" : `${moment(one.begin)} UTC`],
      ["ended", one.begin === null || running ? "" : `${moment(one.begin + one.seconds)} UTC`],
      [running ? "runs for" : "took", one.begin === null ? "" : duration(one.seconds)],
      ["exit code", single && single.kind !== null ? String(single.exit) : ""],
      ["peak memory", single?.mb ? memory(single.mb) : ""],
      ["attempts", one.attempts ? String(one.attempts) : ""],
      ["tags", single ? single.tags.join(", ") : ""],
      ["itemID", itemId === undefined ? "" : String(itemId)],
    ]),
    command ? el("p", { className: "command" }, el("span", { className: "quiet" }, "command "), el("code", {}, command)) : "",
    one.kind === LOST ? el("p", { className: "note" }, "Its lease has ended, so its worker has died or hangs: the next worker takes it over.") : "",
    hostError ? el("p", { className: "note" }, `Host error: ${hostError}`) : "");
  const failures = found.filter((task) => task.kind === 1);
  for (const task of failures.slice(0, 5)) shown.append(failureOf(one, step, itemId, objects, task));
  if (failures.length > 5) shown.append(el("p", { className: "quiet" }, `${failures.length - 5} more failed tasks are in the table below.`));
  if (single && !failures.length && single.object >= 0) {
    shown.append(next("its whole log", `${logs} ${name}`), next("log in S3", addressOf(one, step, itemId, objects[single.object])));
  }
  if (found.length && !single) shown.append(tasksOf(one, step, itemId, objects, found));
  if (running) shown.append(next("its output so far", `${logs} ${name} --follow`));
  if (!one.details) shown.append(next("its details, left out of this large report", `${status} ${name}`));
  if (one.kind === 1) shown.append(next("run it again", `${requeue} ${name} --state failed`));
  return shown;
};

const detailOf = (sample, step) =>
  el("div", { className: "detail" }, ...cells[step][sample].map((row) => itemDetail(row, step)));
