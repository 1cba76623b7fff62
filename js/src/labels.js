// Text in the picture: ordinary elements laid over the canvas, so that it is crisp, themed and readable by machines.

import { h, setText } from "./dom.js";

/**
 * @typedef {object} Label
 * @property {string} key stays the same while the label does
 * @property {string} text
 * @property {string} [kind] class beside `lw-label`
 * @property {number} x pixels in the box
 * @property {number} y
 * @property {[number, number]} [push] direction in which the label stands off the point
 * @property {number} [gap] pixels between the point and the label
 * @property {boolean} [keep] shown even if it covers others, and kept inside the box
 */

/** How far a box of this size reaches from its centre in a direction. @param {[number, number]} push @param {number} width @param {number} height */
export const reach = ([x, y], width, height) => Math.abs(x) * (width / 2) + Math.abs(y) * (height / 2);

export function createLabels() {
  const object = h("div", { class: "lw-labels", "aria-hidden": "true" });
  /** @type {Map<string, { element: HTMLElement, text: string, width: number, height: number }>} */
  const pool = new Map();

  /** @param {Label} label */
  function entryOf({ key, text, kind = "" }) {
    let entry = pool.get(key);
    if (!entry) {
      entry = { element: h("div", { class: `lw-label ${kind}` }), text: "", width: 0, height: 0 };
      object.append(entry.element);
      pool.set(key, entry);
    }

    // Measuring makes the browser lay out the page: only when the text is new.
    if (entry.text !== text || entry.width === 0) {
      entry.text = text;
      setText(entry.element, text);
      entry.element.hidden = false;
      entry.width = entry.element.offsetWidth;
      entry.height = entry.element.offsetHeight;
    }
    return entry;
  }

  return {
    object,

    /** Width and height a label takes. @param {Label} label @returns {[number, number]} */
    measure(label) {
      const { width, height } = entryOf(label);
      return [width, height];
    },

    /**
     * Place labels; earlier ones have precedence over later ones that would cover them.
     *
     * @param {Label[]} labels
     * @param {{ width: number, height: number }} size of the box
     */
    update(labels, size) {
      /** @type {[number, number, number, number][]} */
      const taken = [];
      const used = new Set();
      for (const label of labels) {
        const entry = entryOf(label);
        const { push = [0, 0], gap = 0, keep = false } = label;
        const off = gap + reach(push, entry.width, entry.height);
        let x = label.x + push[0] * off;
        let y = label.y + push[1] * off;
        if (keep) {
          x = Math.min(size.width - entry.width / 2 - 4, Math.max(entry.width / 2 + 4, x));
          y = Math.min(size.height - entry.height / 2 - 3, Math.max(entry.height / 2 + 3, y));
        }
        const left = x - entry.width / 2 - 3;
        const top = y - entry.height / 2 - 1;
        const right = left + entry.width + 6;
        const bottom = top + entry.height + 2;
        const covered = taken.some(([l, t, r, b]) => left < r && right > l && top < b && bottom > t);
        const outside = !keep && (x < 6 || y < 6 || x > size.width - 6 || y > size.height - 6);
        used.add(label.key);
        entry.element.hidden = (covered && !keep) || outside;
        if (entry.element.hidden) continue;
        taken.push([left, top, right, bottom]);
        entry.element.style.transform = `translate(${(x - entry.width / 2).toFixed(1)}px, ${(y - entry.height / 2).toFixed(1)}px)`;
      }

      for (const [key, entry] of pool)
        if (!used.has(key)) {
          entry.element.remove();
          pool.delete(key);
        }
    },

    /** A change of font or size: measure again. */
    forget() {
      for (const entry of pool.values()) entry.width = 0;
    },

    dispose() {
      object.remove();
      pool.clear();
    },
  };
}
