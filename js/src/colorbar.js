// The colour bar: the map with the true loss beside it; upright in a wide box, lying in a narrow one (the style sheet decides).

/** @import { Scale } from "./types" */
import { cssGradient } from "./colors.js";
import { h } from "./dom.js";

export function createColorbar() {
  const bar = h("div", { class: "lw-bar" });
  const labels = h("div", { class: "lw-bar-labels" });
  const title = h("div", { class: "lw-bar-title" });
  const note = h("div", { class: "lw-bar-note" }, "paler: predicted");
  const object = h("div", { class: "lw-colorbar", "aria-hidden": "true", hidden: true }, title, bar, labels, note);

  return {
    object,

    /**
     * @param {Scale} scale
     * @param {string} colormap
     * @param {boolean} predicted are there cells that were not measured?
     */
    update(scale, colormap, predicted) {
      object.hidden = false;
      note.hidden = !predicted;
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
