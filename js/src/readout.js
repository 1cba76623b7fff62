// The value under the pointer, always that of a cell: what is read off was measured or is said to be predicted.

/** @import { Cursor } from "./types" */
import { h, setText } from "./dom.js";
import { formatValue } from "./numbers.js";

export const STATES = ["unknown", "predicted", "measured", "not finite", "from a part of the data"];

/**
 * @param {object} options
 * @param {HTMLElement} options.element over which the pointer moves
 * @param {(x: number, y: number) => Cursor | null} options.cursorAt
 * @param {(cursor: Cursor | null) => void} options.onmove
 * @param {AbortSignal} options.signal
 */
export function createReadout({ element, cursorAt, onmove, signal }) {
  const text = h("span", { class: "lw-readout-text" });
  const word = h("span", { class: "lw-readout-state" });
  const object = h("div", { class: "lw-readout", hidden: true }, text, "   ", word);
  /** @type {[number, number] | null} */
  let place = null;
  let frame = 0;

  function show() {
    frame = 0;
    const cursor = place && cursorAt(...place);
    object.hidden = !cursor;
    onmove(cursor ?? null);
    if (!cursor) return;
    setText(
      text,
      `α ${formatValue(cursor.alpha, 3)}   β ${formatValue(cursor.beta, 3)}   loss ${formatValue(cursor.loss, 5)}`,
    );
    setText(word, STATES[cursor.state] ?? "");
  }

  // Moves come faster than frames; only the newest counts.
  /** @param {[number, number] | null} next */
  function schedule(next) {
    place = next;
    frame ||= requestAnimationFrame(show);
  }

  element.addEventListener("pointermove", (event) => schedule(event.buttons ? null : [event.clientX, event.clientY]), {
    signal,
  });
  element.addEventListener("pointerleave", () => schedule(null), { signal });
  signal.addEventListener("abort", () => cancelAnimationFrame(frame));

  return {
    object,
    /** The surface under a resting pointer has changed. */
    refresh: () => place && schedule(place),
  };
}
