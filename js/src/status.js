// What is going on, in words: status, progress, time to go, Stop or Continue; and the same for a screen reader, now and then.

/** @import { State } from "./types" */
import { h, setText } from "./dom.js";
import { formatCount, formatDuration } from "./numbers.js";

/** A screen reader hears of progress at most this often, in milliseconds. */
const SPOKEN = 2000;

/** @param {State} state */
export function statusText(state) {
  const header = state.grid?.header;
  const cells = header ? `${formatCount(header.measured)} of ${formatCount(header.cells)} cells` : "";
  switch (state.get("status")) {
    case "directions":
      return "Finding the directions of largest and smallest curvature…";
    case "window":
      return "Finding out how far the dip reaches…";
    case "survey":
      return header ? `Measuring: ${cells}` : "Measuring the first cells…";
    case "paused":
      return header
        ? `Stopped at ${cells}. What was measured is kept; what you choose now is measured after Continue.`
        : "Stopped.";
    case "done":
      return header ? `Done: ${cells} measured` : "Done.";
    case "error":
      return "Something went wrong.";
    default:
      return header ? `${cells} measured` : "Waiting for the kernel…";
  }
}

/**
 * @param {object} options
 * @param {State} options.state
 * @param {AbortSignal} options.signal
 */
export function createStatus({ state, signal }) {
  const words = h("span", { class: "lw-words" });
  const eta = h("span", { class: "lw-eta" });
  const bar = h("progress", { class: "lw-progress", max: 1, value: 0, "aria-label": "progress of the survey" });
  const toggle = h("button", { type: "button", class: "lw-button lw-stop", "data-lm-suppress-shortcuts": "true" });
  const spoken = h("div", { class: "lw-spoken", role: "status", "aria-live": "polite" });
  const object = h(
    "div",
    { class: "lw-status" },
    toggle,
    h("div", { class: "lw-status-text" }, words, eta, bar),
    spoken,
  );
  toggle.addEventListener("click", () => state.want({ running: !state.get("running") }), { signal });

  let spokenAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function speak() {
    timer = undefined;
    spokenAt = performance.now();
    setText(spoken, statusText(state));
  }

  signal.addEventListener("abort", () => clearTimeout(timer));

  return {
    object,

    update() {
      const live = Boolean(state.get("live"));
      const status = state.get("status");
      const running = Boolean(state.get("running"));
      const progress = state.get("progress") ?? 0;
      setText(words, live ? statusText(state) : "A saved landscape: nothing is being measured.");
      setText(eta, live && status === "survey" ? formatDuration(state.get("eta")) : "");
      bar.value = Math.min(1, Math.max(0, progress));
      bar.hidden = !live || status === "done" || status === "idle" || status === "error";
      const name = running ? "stop" : "continue";
      setText(toggle, running ? "Stop" : "Continue");
      toggle.setAttribute("aria-label", name);
      toggle.dataset.control = name;
      toggle.title = running ? "Stop measuring; what was measured is kept." : "Go on where the measuring stopped.";
      toggle.disabled = !live;
      toggle.hidden = !live || status === "done" || status === "error";

      if (!timer) timer = setTimeout(speak, Math.max(0, spokenAt + SPOKEN - performance.now()));
    },
  };
}
