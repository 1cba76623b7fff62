// Where everything on the spectrum strip stands: the axis, the stops of the handles above it, and the places beside it for
// directions that are no eigenvectors.
//
// Eigenvalues of one end often lie closer together than a finger is wide. So the stops keep their distance on a rail of their own,
// in the order of the eigenvalues, and a line leads from each down to its true place on the axis.

/** @import { Direction, Spectrum } from "./types" */
import { createScale, signedScale, spread } from "./spectrum-scale.js";

/** Pixels, from the top: baseline of the symbols, middle of the rail, top and foot of the plot, baseline of the axis labels. */
export const ROWS = { symbols: 11, rail: 28, top: 54, foot: 116, labels: 131, height: 136 };
/** Distance between two stops: what a finger can tell apart. */
const GAP = 26;
/** Room at the left for the labels of the height. */
const LEFT = 26;
const MARGIN = 8;
/** Room for the words below the places beside the axis. */
const BESIDE = 66;

/**
 * A place where a handle can stand.
 *
 * @typedef {object} Stop
 * @property {Direction} entry
 * @property {number} x on the rail
 * @property {number | null} tick on the axis; null for what has no known curvature
 * @property {[number, number] | null} error from where to where the eigenvalue may lie, in pixels of the axis
 */

/** @typedef {{ axis: import("./spectrum-scale.js").SignedScale, left: number, right: number, lowest: number, beside: number | null, stops: Stop[] }} Layout */

/**
 * @param {object} options
 * @param {Direction[]} options.entries
 * @param {Spectrum} options.spectrum
 * @param {number} options.width
 * @returns {Layout}
 */
export function layoutOf({ entries, spectrum, width }) {
  const placed = entries
    .filter(({ curvature }) => curvature !== null)
    .sort((a, b) => Number(a.curvature) - Number(b.curvature));
  const parked = entries.filter(({ curvature }) => curvature === null);

  // Beside the axis there is room for what has no place on it; with very many of both, each gets its share.
  const wanted = parked.length > 0 ? Math.max(BESIDE, parked.length * GAP) : 0;
  const room = Math.min(wanted, (width - LEFT - MARGIN) * Math.max(0.3, parked.length / Math.max(1, entries.length)));
  const right = width - MARGIN - room - (room > 0 ? MARGIN + 4 : 0);
  const axis = axisOf(placed, spectrum, right);

  const ticks = placed.map(({ curvature }) => axis.at(Number(curvature)));
  const rail = spread(ticks, { gap: GAP, left: GAP / 2, right: Math.max(GAP / 2, right - GAP / 2 + MARGIN) });
  const beside = width - MARGIN - room;
  const step = Math.min(GAP, room / Math.max(1, parked.length));
  const first = beside + room / 2 - ((parked.length - 1) * step) / 2;
  return {
    axis,
    left: LEFT,
    right,
    lowest: lowestOf(placed, spectrum),
    beside: parked.length > 0 ? beside : null,
    stops: [
      ...placed.map((entry, k) => ({ entry, x: rail[k], tick: ticks[k], error: errorOf(entry, axis) })),
      ...parked.map((entry, k) => ({ entry, x: first + k * step, tick: null, error: null })),
    ],
  };
}

/** The axis holds zero, the density and all that is known of eigenvalues. @param {Direction[]} placed @param {Spectrum} spectrum @param {number} right */
function axisOf(placed, { grid, scale, bulk, outliers }, right) {
  const values = [...placed.map(({ curvature }) => Number(curvature)), ...(bulk ?? []), ...(outliers ?? [])];
  const known = scale ?? signedScale(values);
  const ends = [0, ...values, ...(grid?.length ? [grid[0], grid[grid.length - 1]] : [])];
  const low = Math.min(...ends);
  const high = Math.max(...ends);

  // A little air at both ends, in units of the axis.
  const [first, last] = [Math.asinh(low / known), Math.asinh(high / known)];
  const air = 0.025 * (last - first || 1);
  return createScale({
    low: known * Math.sinh(first - air),
    high: known * Math.sinh(last + air),
    scale: known,
    left: LEFT,
    right,
  });
}

/** The lowest curvature there is; zero where it cannot be told from it. @param {Direction[]} placed @param {Spectrum} spectrum */
function lowestOf(placed, { bulk, outliers, noise }) {
  const values = [...placed.map(({ curvature }) => Number(curvature)), ...(bulk ?? []), ...(outliers ?? [])];
  const lowest = Math.min(0, ...values);
  return lowest < -(noise ?? 0) ? lowest : 0;
}

/** @param {Direction} entry @param {import("./spectrum-scale.js").SignedScale} axis @returns {[number, number] | null} */
function errorOf({ curvature, residual }, axis) {
  if (curvature === null || residual === null) return null;
  return [axis.at(curvature - residual), axis.at(curvature + residual)];
}

/** What is not final about a direction, in words. @param {Direction} entry */
export function doubt({ preliminary, converged }) {
  return preliminary ? "still sharpening" : converged === false ? "not converged yet" : "";
}
