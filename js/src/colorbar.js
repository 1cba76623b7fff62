// The colour bar: the map with the true loss beside it; upright in a wide box, lying in a narrow one (the style sheet decides).

/** @import { Scale } from "./types" */
import { cssGradient } from "./colors.js";
import { h } from "./dom.js";

export function createColorbar() {
  const bar = h("div", { class: "lw-bar" });
  const labels = h("div", { class: "lw-bar-labels" });
  const title = h("div", { class: "lw-bar-title" });
  const note = h("div", { class: "lw-bar-note" });
  const object = h("div", { class: "lw-colorbar", "aria-hidden": "true", hidden: true }, title, bar, labels, note);

  return {
    object,

    /**
     * @param {Scale} scale
     * @param {string} colormap
     * @param {Uint8Array} states of the cells
     */
    update(scale, colormap, states) {
      object.hidden = false;
      const words = states.includes(4)
        ? "see-through: from a part of the data"
        : states.includes(1)
          ? "paler: predicted"
          : "";
      note.hidden = !words;
      note.textContent = words;
      title.textContent = scale.title;
      bar.style.background = cssGradient(colormap);
      labels.replaceChildren(
        ...scale.ticks(6).map(({ at, label }) => {
          const tick = h("span", { class: "lw-bar-tick" }, label);
          tick.style.setProperty("--lw-at", String((at - scale.min) / (scale.max - scale.min)));
          return tick;
        }),
      );
    },

    dispose() {
      object.remove();
    },
  };
}
