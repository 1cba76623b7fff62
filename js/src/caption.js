// The caption in plain words, and the critical points of the slice as a table: the picture for those who cannot see it.

/** @import { State } from "./types" */
import { h } from "./dom.js";
import { shape } from "./markers.js";
import { formatValue } from "./numbers.js";

/** @param {{ state: State }} options */
export function createCaption({ state }) {
  const sentences = h("div", { class: "lw-sentences" });
  const rows = h("tbody");
  const summary = h("summary", { "data-lm-suppress-shortcuts": "true" });
  const table = h(
    "table",
    {},
    h(
      "thead",
      {},
      h("tr", {}, ...["kind in this slice", "α", "β", "loss"].map((text) => h("th", { scope: "col" }, text))),
    ),
    rows,
  );
  const points = h("details", { class: "lw-points", hidden: true }, summary, table);
  const object = h("div", { class: "lw-caption" }, sentences, points);
  let shown = "";

  return {
    object,

    update() {
      /** @type {string[]} */
      const caption = state.get("caption") ?? [];
      const critical = state.grid?.header.critical ?? [];
      const now = JSON.stringify([caption, critical]);
      if (now === shown) return;
      shown = now;
      sentences.replaceChildren(...caption.map((sentence) => h("p", {}, sentence)));
      points.hidden = critical.length === 0;
      summary.textContent = `${critical.length} critical ${critical.length === 1 ? "point" : "points"} of this slice`;
      rows.replaceChildren(
        ...critical.map(({ kind, alpha, beta, loss }) =>
          h(
            "tr",
            {},
            h("td", {}, shape(kind), ` ${kind}`),
            ...[alpha, beta, loss].map((value) => h("td", {}, formatValue(value))),
          ),
        ),
      );
    },
  };
}
