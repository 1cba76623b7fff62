// Which quads are drawn. Only known cells become corners: nothing is invented between them.
//
// While a survey refines, the known cells form a coarse lattice with finer patches in it. A block of the lattice is divided as
// soon as all nine cells of its next finer level have been visited; until then it is drawn as one large quad.

import { isKnown } from "./scale.js";

const HOLE = 3;

/** The largest power of two that divides both sides of the grid. @param {number} rows @param {number} columns */
export function coarsest(rows, columns) {
  let stride = 1;
  while ((rows - 1) % (2 * stride) === 0 && (columns - 1) % (2 * stride) === 0 && 2 * stride < Math.max(rows, columns))
    stride *= 2;
  return stride;
}

/**
 * Fill the triangle index and tell for each of the finest squares how wide the quad is that covers it (0: none).
 *
 * Both triangles of a quad share the diagonal from its right to its upper corner, counterclockwise seen from above.
 *
 * @param {object} options
 * @param {Uint8Array} options.states
 * @param {number} options.rows
 * @param {number} options.columns
 * @param {Uint32Array} options.index filled from the start; 6 (rows − 1) (columns − 1) entries
 * @param {Uint16Array} options.strides (rows − 1) (columns − 1) entries
 * @returns {number} how many entries of the index are used
 */
export function triangulate({ states, rows, columns, index, strides }) {
  let count = 0;
  strides.fill(0);

  /** @param {number} r @param {number} c */
  const known = (r, c) => isKnown(states[r * columns + c]);

  /** @param {number} r @param {number} c @param {number} s */
  function emit(r, c, s) {
    const here = r * columns + c;
    const up = here + s * columns;
    index[count] = here;
    index[count + 1] = here + s;
    index[count + 2] = up;
    index[count + 3] = here + s;
    index[count + 4] = up + s;
    index[count + 5] = up;
    count += 6;
    for (let k = r; k < r + s; k++) strides.fill(s, k * (columns - 1) + c, k * (columns - 1) + c + s);
  }

  /** @param {number} r @param {number} c @param {number} s */
  function visit(r, c, s) {
    const whole = known(r, c) && known(r, c + s) && known(r + s, c) && known(r + s, c + s);
    if (s === 1) {
      if (whole) emit(r, c, 1);
      return;
    }

    // A hole among the nine must show, whatever else is still missing.
    const half = s / 2;
    let visited = true;
    let holed = false;
    for (let k = r; k <= r + s; k += half)
      for (let l = c; l <= c + s; l += half) {
        const state = states[k * columns + l];
        visited &&= state !== 0;
        holed ||= state === HOLE;
      }

    if (whole && !visited && !holed) {
      emit(r, c, s);
      return;
    }
    visit(r, c, half);
    visit(r, c + half, half);
    visit(r + half, c, half);
    visit(r + half, c + half, half);
  }

  const stride = coarsest(rows, columns);
  for (let r = 0; r + stride < rows; r += stride)
    for (let c = 0; c + stride < columns; c += stride) visit(r, c, stride);
  return count;
}

/** Is there anything to draw yet? @param {{ states: Uint8Array, rows: number, columns: number }} grid */
export function isDrawable({ states, rows, columns }) {
  const squares = (rows - 1) * (columns - 1);
  return (
    triangulate({ states, rows, columns, index: new Uint32Array(6 * squares), strides: new Uint16Array(squares) }) > 0
  );
}
