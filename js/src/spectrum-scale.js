// The strip's axis: asinh(λ/c), linear around zero and logarithmic beyond, so that the bulk and a far outlier are both seen; and
// the arithmetic of placing things along a line so that none covers another.

import { formatTick } from "./numbers.js";

/** The axis shows at most so many orders of magnitude on each side of zero. */
const DECADES = 3;

/** @typedef {{ at: (value: number) => number, invert: (x: number) => number, low: number, high: number }} SignedScale */

/**
 * Where the axis goes over from linear to logarithmic, if the kernel has not said so: the least of the magnitudes that matter.
 *
 * @param {number[]} values
 */
export function signedScale(values) {
  const sizes = values.map(Math.abs).filter((size) => size > 1e-290 && size < Infinity);
  return sizes.length > 0 ? Math.max(Math.min(...sizes), 10 ** -DECADES * Math.max(...sizes)) : 1;
}

/**
 * Positions from `left` to `right` for the values from `low` to `high`.
 *
 * @param {object} options
 * @param {number} options.low
 * @param {number} options.high
 * @param {number} options.scale c of asinh(λ/c)
 * @param {number} options.left
 * @param {number} options.right
 * @returns {SignedScale}
 */
export function createScale({ low, high, scale, left, right }) {
  const first = Math.asinh(low / scale);
  const last = Math.asinh(high / scale);
  const stretch = last > first ? (right - left) / (last - first) : 0;
  return {
    low,
    high,
    at: (value) =>
      stretch > 0
        ? left + (Math.asinh(Math.min(high, Math.max(low, value)) / scale) - first) * stretch
        : (left + right) / 2,
    invert: (x) => (stretch > 0 ? scale * Math.sinh(first + (x - left) / stretch) : low),
  };
}

/**
 * Labels of an axis, none touching another: zero, then powers of ten from the greatest down, then 5, 2 and 3 times those.
 *
 * @param {SignedScale} axis
 * @param {object} options
 * @param {number} options.left which no label may cross
 * @param {number} options.right
 * @param {(text: string) => number} options.measure pixels of a text
 * @returns {{ value: number, x: number, label: string }[]}
 */
export function axisLabels({ at, low, high }, { left, right, measure }) {
  const greatest = Math.floor(Math.log10(Math.max(Math.abs(low), Math.abs(high))) + 1e-9);
  const values = low <= 0 && high >= 0 ? [0] : [];
  if (Number.isFinite(greatest))
    for (const digit of [1, 5, 2, 3])
      for (let exponent = greatest; exponent >= greatest - DECADES - 1; exponent--)
        for (const sign of [1, -1]) {
          // Ten to a negative power is no binary fraction: the quotient is the nearest number to what is meant.
          const value = sign * (exponent < 0 ? digit / 10 ** -exponent : digit * 10 ** exponent);
          if (value >= low && value <= high) values.push(value);
        }
  const wanted = values.map((value) => {
    const label = formatTick(value, 0);
    return { value, label, x: at(value), width: measure(label) + 10 };
  });
  return uncrowded(wanted, { left: left - 5, right: right + 5 }).map(({ value, label, x }) => ({ value, label, x }));
}

/**
 * Of labels in order of importance those that cover no more important one and stay inside, in order of place.
 *
 * @template {{ x: number, width: number }} T
 * @param {T[]} labels
 * @param {{ left: number, right: number }} inside
 * @returns {T[]}
 */
export function uncrowded(labels, { left, right }) {
  /** @type {T[]} */
  const kept = [];
  for (const label of labels) {
    const fits = label.x - label.width / 2 >= left && label.x + label.width / 2 <= right;
    if (fits && kept.every(({ x, width }) => Math.abs(x - label.x) >= (width + label.width) / 2)) kept.push(label);
  }
  return kept.sort((a, b) => a.x - b.x);
}

/**
 * The places nearest to ascending ones (least squares) that keep a distance and stay inside; the distance shrinks where there is
 * no room for it.
 *
 * @param {number[]} places
 * @param {object} options
 * @param {number} options.gap
 * @param {number} options.left
 * @param {number} options.right
 */
export function spread(places, { gap, left, right }) {
  if (places.length < 2) return places.map((x) => Math.min(right, Math.max(left, x)));
  const step = Math.min(gap, (right - left) / (places.length - 1));

  // Less its share of the distances, the sequence must only not fall: neighbours that do are pooled into their mean.
  /** @type {{ sum: number, count: number }[]} */
  const pools = [];
  for (const [k, x] of places.entries()) {
    pools.push({ sum: x - k * step, count: 1 });
    for (
      let n = pools.length;
      n > 1 && pools[n - 2].sum / pools[n - 2].count > pools[n - 1].sum / pools[n - 1].count;
      n--
    ) {
      const { sum, count } = /** @type {{ sum: number, count: number }} */ (pools.pop());
      pools[n - 2].sum += sum;
      pools[n - 2].count += count;
    }
  }
  const last = right - (places.length - 1) * step;
  const means = pools.flatMap(({ sum, count }) => Array(count).fill(Math.min(last, Math.max(left, sum / count))));
  return means.map((mean, k) => mean + k * step);
}
