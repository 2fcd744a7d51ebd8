// A report that is rewritten regularly reloads itself, and looks as the reader left it.

const pause = document.querySelector("#pause");
if (history.state?.y !== undefined) {
  scroller.scrollTop = history.state.rows ?? 0;
  scrollTo(0, history.state.y);
  if (history.state.focused === "search") search.focus({ preventScroll: true });
}
if (data.refresh) {
  // Not by the clock of the writer, which may be another
  const since = history.state?.written === data.now ? history.state.since : Date.now();
  keep({ written: data.now, since });
  const stale = Date.now() - since > 3000 * data.refresh + 60000;
  document.querySelector("#stale").hidden = !stale;
  const reload = () => {
    if (view.paused) return;
    // Not while something is being marked, and not unseen
    if (document.hidden || !getSelection().isCollapsed) { setTimeout(reload, 2000); return; }
    view.made = view.all ? made : 0;
    keep({ y: scrollY, rows: scroller.scrollTop, focused: document.activeElement?.id ?? "" });
    location.reload();
  };
  const plan = () => setTimeout(reload, 1000 * (stale ? Math.max(60, data.refresh) : data.refresh));
  const showPause = () => {
    pause.textContent = view.paused ? "resume" : "pause";
    pause.setAttribute("aria-pressed", String(view.paused));
  };
  let timer = plan();
  showPause();
  pause.addEventListener("click", () => {
    view.paused = !view.paused;
    clearTimeout(timer);
    if (!view.paused) timer = plan();
    showPause();
    keep();
  });
}
