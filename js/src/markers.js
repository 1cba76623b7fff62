// Marks on the surface: the trained point, the critical points of the slice, and the cell under the pointer.
//
// Kinds differ by shape and by word, colours (Okabe and Ito 2008) only help. Marks behind the surface are drawn faintly.

/** @import { Critical } from "./types" */
import { h, svg } from "./dom.js";
import { formatValue } from "./numbers.js";

/** @type {Record<string, { path: string, color: string }>} */
const SHAPES = {
  minimum: { path: "M3.2 5h13.6L10 16.6z", color: "#56b4e9" },
  maximum: { path: "M3.2 15h13.6L10 3.4z", color: "#e78ac0" },
  saddle: { path: "M10 2.2 17.8 10 10 17.8 2.2 10z", color: "#f5a81c" },
  "monkey saddle": { path: "M7.4 2.6h5.2v5l4.4 2.6-2.6 4.4L10 12.1l-4.4 2.5L3 10.2l4.4-2.6z", color: "#f0e442" },
  origin: { path: "M10 5.4a4.6 4.6 0 1 1 0 9.2a4.6 4.6 0 1 1 0-9.2z", color: "#ffffff" },
};

/** @param {string} kind */
export function shape(kind) {
  const { path, color } = SHAPES[kind] ?? SHAPES.saddle;
  return svg(
    "svg",
    { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true", class: "lw-shape" },
    svg("path", { d: path, fill: color, stroke: "#14161c", "stroke-width": 1.6, "stroke-linejoin": "round" }),
  );
}

/**
 * @typedef {object} Mark
 * @property {string} kind
 * @property {string} text
 * @property {number} row
 * @property {number} column
 * @property {number} alpha
 * @property {number} beta
 */

export function createMarkers() {
  const object = h("div", { class: "lw-marks", "aria-hidden": "true" });
  const cursor = h("div", { class: "lw-cursor", hidden: true });
  object.append(cursor);

  /** @type {{ mark: Mark, element: HTMLElement }[]} */
  let entries = [];
  let now = "";

  return {
    object,

    /** @param {Mark[]} marks */
    update(marks) {
      const next = JSON.stringify(marks);
      if (next === now) return;
      now = next;
      for (const { element } of entries) element.remove();
      entries = marks.map((mark) => {
        const text = h("span", { class: "lw-mark-text" }, mark.text);
        const element = h("div", { class: "lw-mark", "data-kind": mark.kind }, shape(mark.kind), text);
        object.append(element);
        return { mark, element };
      });
    },

    /**
     * @param {(mark: Mark) => { x: number, y: number, hidden: boolean } | null} place
     */
    place(place) {
      for (const { mark, element } of entries) {
        const at = place(mark);
        element.hidden = at === null;
        if (!at) continue;
        element.classList.toggle("lw-behind", at.hidden);
        element.style.transform = `translate(${at.x.toFixed(1)}px, ${at.y.toFixed(1)}px)`;
      }
    },

    /** @param {{ x: number, y: number } | null} at */
    point(at) {
      cursor.hidden = at === null;
      if (at) cursor.style.transform = `translate(${at.x.toFixed(1)}px, ${at.y.toFixed(1)}px)`;
    },

    dispose() {
      object.remove();
    },
  };
}

/** The critical points as marks. @param {Critical[]} critical @returns {Mark[]} */
export function criticalMarks(critical) {
  return critical.map(({ kind, alpha, beta, row, column, loss }) => ({
    kind,
    text: `${kind} ${formatValue(loss, 3)}`,
    alpha,
    beta,
    row,
    column,
  }));
}
