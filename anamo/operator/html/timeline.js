// The timeline: when each step ran, and a lane for each worker of each instance.

const STRIDES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
  172800, 604800, 2592000];
const SHOWN_HOSTS = 8;

const ticksOf = (begin, seconds) => {
  const stride = STRIDES.find((each) => seconds / each <= 8) ?? seconds / 8;
  const found = [];
  for (let when = Math.ceil(begin / stride) * stride; when <= begin + seconds; when += stride) {
    const at = new Date(when * 1000);
    const label = stride >= 43200 ? day(at) : clock(at) + (stride < 60 ? `:${two(at.getUTCSeconds())}` : "");
    found.push([(100 * (when - begin)) / seconds, label]);
  }
  return found;
};

const place = (bar, begin, seconds) => {
  bar.style.left = `${((100 * begin) / data.timeline.seconds).toFixed(2)}%`;
  bar.style.width = `${((100 * seconds) / data.timeline.seconds).toFixed(2)}%`;
  return bar;
};

const barOf = ([begin, seconds, kind, step, position]) => {
  const row = position < 0 ? null : data.items[step][position];
  const what = row ? data.samples[row[0]] : plural(-position, "item");
  const from = data.timeline.begin + begin;
  const title = `${data.steps[step].name}: ${what}, ${data.kinds[kind]}, ${moment(from)} to ${moment(from + seconds)} UTC (${duration(seconds)})`;
  const bar = el(row ? "button" : "i", { className: `span ${classOf(kind)}`, title, data: { step } });
  if (row) {
    Object.assign(bar, { type: "button", tabIndex: -1 });
    bar.addEventListener("click", () => openCell(row[0], step));
  }
  return place(bar, begin, seconds);
};

const laneOf = (bars) => el("div", { className: "lane" }, ...bars.map(barOf));
const hostOf = ([name, items, lanes]) =>
  el("div", { className: "host" },
    el("div", { className: "host-name" }, el("span", {}, name || "–"),
      el("span", { className: "quiet" }, [lanes.length > 1 ? `${lanes.length} lanes` : "", plural(items, "item")].filter(Boolean).join(", "))),
    el("div", { className: "track" }, ...lanes.map(laneOf)));

const stepOf = (extent, step) => {
  const { timeline } = data;
  const track = el("div", { className: "lane" });
  if (extent.length) {
    const [begin, end] = extent;
    const title = `${moment(timeline.begin + begin)} to ${moment(timeline.begin + end)} UTC (${duration(end - begin)})`;
    track.append(place(el("i", { className: "span extent", title }), begin, end - begin));
  }
  return el("div", { className: "host" }, el("div", { className: "host-name" }, el("span", {}, data.steps[step].name)),
    el("div", { className: "track" }, track));
};

const axisOf = (ticks) => {
  const axis = el("div", { className: "axis times", aria: { hidden: "true" } },
    ...ticks.map(([, label]) => el("span", {}, label)));
  [...axis.children].forEach((each, k) => { each.style.left = `${ticks[k][0]}%`; });
  return el("div", { className: "host" }, el("div", { className: "host-name quiet" }, "time (UTC)"), el("div", { className: "track" }, axis));
};

const drawTimeline = () => {
  const { timeline } = data;
  if (!timeline.hosts) return;
  const hosts = view.hosts ? timeline.hosts : timeline.hosts.slice(0, SHOWN_HOSTS);
  const folded = timeline.hosts.length > SHOWN_HOSTS * 1.5;
  const shown = folded ? hosts : timeline.hosts;
  const choice = (text, step) => el("button", {
    type: "button", className: "chip", data: { only: step }, aria: { pressed: String(view.only === step) },
  }, text);
  const legend = el("p", { className: "tools" },
    el("span", { className: "chips", role: "group", aria: { label: "Which step to show" } }, choice("all steps", -1), ...data.steps.map((step, k) => choice(step.name, k))),
    el("span", { className: "legend" }, ...["done", "failed", "running"].map((kind) => el("span", {}, el("i", { className: `key ${kind}` }), kind))));
  const ticks = ticksOf(timeline.begin, timeline.seconds);
  const grid = el("div", { className: "lines", aria: { hidden: "true" } }, ...ticks.map(() => el("i")));
  [...grid.children].forEach((line, k) => { line.style.left = `${ticks[k][0]}%`; });
  const chart = el("div", { className: "chart", role: "group", aria: { label: "When each step ran, and which instance ran which items when" } },
    axisOf(ticks), el("div", { className: "host ground" }, el("div"), el("div", { className: "track" }, grid)),
    ...timeline.steps.map(stepOf), el("hr"), ...shown.map(hostOf));
  const more = el("button", { type: "button", className: "small-button", id: "fold-hosts", aria: { expanded: String(view.hosts) } },
    view.hosts ? "fold" : `show all ${timeline.hosts.length} instances`);
  more.addEventListener("click", () => { view.hosts = !view.hosts; keep(); drawTimeline(); });
  const hidden = timeline.hidden ? ` ${plural(timeline.hidden, "more instance")} that ran fewer items ${timeline.hidden > 1 ? "are" : "is"} left out.` : "";
  document.querySelector("#lanes").replaceChildren(legend, chart,
    folded ? el("p", { className: "more" }, more) : "",
    el("p", { className: "quiet small" }, `A bar is an item from its last claim to its end; a click opens it. Workers that run at once on an instance have a lane each.${hidden}`));
  for (const bar of chart.querySelectorAll(".span[data-step]")) {
    bar.classList.toggle("away-step", view.only >= 0 && Number(bar.dataset.step) !== view.only);
  }
  for (const button of legend.querySelectorAll(".chip")) {
    button.addEventListener("click", () => { view.only = Number(button.dataset.only); keep(); drawTimeline(); });
  }
};
drawTimeline();
