// Marks on the surface: the trained point, the critical points of the slice, and the cell under the pointer.
//
// Kinds differ by shape and by word, colours (Okabe and Ito 2008) only help. Marks behind the surface are drawn faintly.

/** @import { Critical, Grid } from "./types" */
import { h, setText, svg } from "./dom.js";
import { formatValue } from "./numbers.js";
import { nearestCell } from "./reading.js";

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

/** Marks whose centres are nearer than this, in pixels, share their words: there is no room for two. */
const NEAR = 12;

/** @typedef {[number, number, number, number]} Box left, top, right, bottom */

/** @param {Box} a @param {Box} b */
const overlap = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];

export function createMarkers() {
  const object = h("div", { class: "lw-marks", "aria-hidden": "true" });
  const cursor = h("div", { class: "lw-cursor", hidden: true });
  object.append(cursor);

  /** @type {{ mark: Mark, element: HTMLElement, text: HTMLElement }[]} */
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
        return { mark, element, text };
      });
    },

    /**
     * Put the marks where they belong. The trained point and a critical point that all but covers it share their words. Words that
     * would cover another mark go below their own; where that is taken too they are left out, and the table under the picture has
     * them.
     *
     * @param {(mark: Mark) => { x: number, y: number, hidden: boolean } | null} place
     */
    place(place) {
      const placed = entries.flatMap((entry) => {
        const at = place(entry.mark);
        entry.element.hidden = at === null;
        return at ? [{ ...entry, ...at }] : [];
      });

      const visible = placed.filter(({ hidden }) => !hidden);
      const origin = visible.find(({ mark }) => mark.kind === "origin");
      const twin = visible.find(
        (other) => origin && other !== origin && Math.hypot(other.x - origin.x, other.y - origin.y) < NEAR,
      );

      /** @type {Box[]} */
      const taken = [];
      for (const { mark, element, text, x, y, hidden } of placed) {
        element.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
        element.classList.toggle("lw-behind", hidden);
        if (hidden) continue;
        const shared = element === twin?.element;
        setText(text, shared ? `${origin?.mark.text}, ${mark.text}` : mark.text);
        if (twin && element === origin?.element) {
          element.classList.remove("lw-below");
          element.classList.add("lw-crowded");
          continue;
        }
        const half = text.offsetWidth / 2;
        const above = /** @type {Box} */ ([x - half, y - 28, x + half, y - 10]);
        const below = /** @type {Box} */ ([x - half, y + 10, x + half, y + 28]);
        const others = placed.filter((other) => other.element !== element && !(shared && other === origin));
        const shapes = others.map((other) => /** @type {Box} */ ([other.x - 9, other.y - 9, other.x + 9, other.y + 9]));
        /** @param {Box} box */
        const free = (box) => ![...taken, ...shapes].some((other) => overlap(box, other));
        const side = free(above) ? above : free(below) ? below : null;
        element.classList.toggle("lw-below", side === below);
        element.classList.toggle("lw-crowded", side === null);
        if (side) taken.push(side);
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

/**
 * What is marked: the critical points where they are asked for, and always the trained point: as one of them where it is one.
 *
 * @param {Grid} grid
 * @param {boolean} all
 */
export function marksOf(grid, all) {
  const { rows, columns, header } = grid;
  const critical = all
    ? criticalMarks(header.critical).filter(({ row, column }) => row < rows && column < columns)
    : [];
  const origin = { kind: "origin", text: "θ*", alpha: 0, beta: 0, ...nearestCell(grid, 0, 0) };
  const same = critical.find(({ row, column }) => row === origin.row && column === origin.column);
  if (!same) return [...critical, origin];
  same.text = `${origin.text}: ${same.text}`;
  return critical;
}
