// What the shader needs at each vertex besides its height: the slopes for the light and how much a saddle the slice is there.
//
// Taken from the lattice of known cells around the vertex, at whatever distance the nearest ones are.

/** @import { Grid } from "./types" */
import { saddleness, secondDerivatives } from "./curvature.js";
import { isKnown } from "./scale.js";

/** A curvature of this part of the range across the whole picture counts as flat. */
const FLAT = 0.02;

/**
 * Second differences are taken over at least a thirty-second of the picture: over single cells of a fine grid they would show how
 * the prediction was pieced together, and the rounding, rather than the shape.
 *
 * @param {number} rows
 * @param {number} columns
 */
export const bendStride = (rows, columns) => Math.max(1, Math.floor((Math.min(rows, columns) - 1) / 32));

/**
 * The width of the finest quad that has this vertex as a corner, 0 if none has.
 *
 * @param {Uint16Array} strides
 * @param {number} rows
 * @param {number} columns
 * @param {number} row
 * @param {number} column
 */
function strideAt(strides, rows, columns, row, column) {
  let finest = 0;
  for (let r = Math.max(0, row - 1); r <= Math.min(rows - 2, row); r++)
    for (let c = Math.max(0, column - 1); c <= Math.min(columns - 2, column); c++) {
      const stride = strides[r * (columns - 1) + c];
      if (stride > 0 && (finest === 0 || stride < finest)) finest = stride;
    }
  return finest;
}

/**
 * Update slopes and bends of the rows from `first` to `last`.
 *
 * @param {object} options
 * @param {Grid} options.grid
 * @param {Float32Array} options.values the heights that are shown
 * @param {number} options.range of the loss, to tell flat from bent
 * @param {Float64Array} options.xs places of the columns in the picture, ascending
 * @param {Float64Array} options.ys places of the rows
 * @param {Uint16Array} options.strides from triangulate
 * @param {Float32Array} options.slopes two numbers per vertex
 * @param {Float32Array} options.bends one number per vertex
 * @param {number} options.first
 * @param {number} options.last
 */
export function relieve({ grid, values, range, xs, ys, strides, slopes, bends, first, last }) {
  const { rows, columns, states, heights } = grid;

  /** @param {number} row @param {number} column */
  const known = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && isKnown(states[row * columns + column]);

  for (let row = first; row <= last; row++)
    for (let column = 0; column < columns; column++) {
      const stride = strideAt(strides, rows, columns, row, column);
      if (stride === 0) continue;

      // Central differences where both neighbours are known, one-sided ones at a border or a hole.
      const index = row * columns + column;
      const left = known(row, column - stride) ? column - stride : column;
      const right = known(row, column + stride) ? column + stride : column;
      const down = known(row - stride, column) ? row - stride : row;
      const up = known(row + stride, column) ? row + stride : row;
      slopes[2 * index] =
        right > left ? (values[row * columns + right] - values[row * columns + left]) / (xs[right] - xs[left]) : 0;
      slopes[2 * index + 1] =
        up > down ? (values[up * columns + column] - values[down * columns + column]) / (ys[up] - ys[down]) : 0;

      const wide = Math.max(stride, bendStride(rows, columns));
      bends[index] = bendAt(row, column, wide) ?? bendAt(row, column, stride) ?? 0;
    }

  /**
   * The bend at a border is that of the nearest inner vertex: one-sided second differences would be no better than that.
   *
   * @param {number} row
   * @param {number} column
   * @param {number} stride
   */
  function bendAt(row, column, stride) {
    const r = Math.min(rows - 1 - stride, Math.max(stride, row));
    const c = Math.min(columns - 1 - stride, Math.max(stride, column));
    for (let k = -stride; k <= stride; k += stride)
      for (let l = -stride; l <= stride; l += stride) if (!known(r + k, c + l)) return null;

    // Always of the loss itself, also where its logarithm is shown.
    const derivatives = secondDerivatives(
      (k, l) => heights[(r + k * stride) * columns + c + l * stride],
      [xs[c] - xs[c - stride], xs[c + stride] - xs[c]],
      [ys[r] - ys[r - stride], ys[r + stride] - ys[r]],
    );
    return saddleness(derivatives, FLAT * range);
  }
}
