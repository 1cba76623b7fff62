// A labelled native range input over a list of choices.

import { freshId, h, setText } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.name accessible name
 * @param {string} options.title what a newcomer reads
 * @param {string} options.hint one sentence that teaches
 * @param {(index: number) => void} options.oninput
 * @param {AbortSignal} options.signal
 */
export function createSlider({ name, title, hint, oninput, signal }) {
  const id = freshId("slider");
  const input = h("input", {
    type: "range",
    id,
    min: 0,
    max: 0,
    step: 1,
    "aria-label": name,
    "data-control": name,
    "data-lm-suppress-shortcuts": "true",
  });
  const heading = h("label", { class: "lw-slider-title", for: id }, title);
  const value = h("span", { class: "lw-slider-value" });
  const badge = h("span", { class: "lw-badge", hidden: true });
  const marks = h("div", { class: "lw-slider-marks", "aria-hidden": "true" });
  const object = h(
    "div",
    { class: "lw-slider", title: hint },
    h("div", { class: "lw-slider-head" }, heading, value),
    input,
    marks,
    badge,
  );
  input.addEventListener("input", () => oninput(Number(input.value)), { signal });
  let marked = "";

  return {
    object,
    input,

    /**
     * @param {object} options
     * @param {number} options.index
     * @param {number} options.count of choices
     * @param {string} options.text the present choice in words
     * @param {string} [options.spoken] the same for a screen reader
     * @param {string} [options.note] something to know about it
     * @param {string[]} [options.ticks] one short text per choice, or none at all
     * @param {boolean} options.disabled
     */
    update({ index, count, text, spoken = text, note = "", ticks = [], disabled }) {
      input.max = String(Math.max(0, count - 1));
      if (input.value !== String(index)) input.value = String(index);
      input.style.setProperty("--lw-part", String(count > 1 ? index / (count - 1) : 0));
      input.disabled = disabled || count < 2;
      input.setAttribute("aria-valuetext", note ? `${spoken}, ${note}` : spoken);
      setText(value, text);
      setText(badge, note);
      badge.hidden = !note;

      const key = JSON.stringify(ticks);
      if (key !== marked) {
        marked = key;
        marks.replaceChildren(
          ...ticks.map((tick, k) => {
            const element = h("span", {}, tick);
            element.style.setProperty("--lw-at", String(ticks.length > 1 ? k / (ticks.length - 1) : 0));
            return element;
          }),
        );
      }
      [...marks.children].forEach((element, k) => {
        element.toggleAttribute("data-on", k === index);
      });
    },
  };
}
