// Reading a grid: the loss at a cell, the coordinate at a place, the cell at a coordinate.

/** @import { Grid } from "./types" */

/** The loss at a cell: exact relative to the center where that is known. @param {Grid} grid @param {number} index */
export function lossAt({ header, heights, logHeights }, index) {
  if (header.center_loss !== null) return header.center_loss + heights[index];
  return header.log_ok ? 10 ** logHeights[index] : null;
}

/** A place from −½ to ½ as a coordinate. @param {number[]} coordinates @param {number} place */
export function coordinateAt(coordinates, place) {
  const first = coordinates[0];
  return first + (place + 0.5) * (coordinates[coordinates.length - 1] - first);
}

/** The cell nearest to (α, β). @param {Grid} grid @param {number} alpha @param {number} beta */
export function nearestCell({ header }, alpha, beta) {
  /** @param {number[]} list @param {number} value */
  const closest = (list, value) =>
    list.reduce((best, candidate, k) => (Math.abs(candidate - value) < Math.abs(list[best] - value) ? k : best), 0);
  return { row: closest(header.betas, beta), column: closest(header.alphas, alpha) };
}
