// Where a ray meets the surface: a walk over the squares under the ray, with two triangle tests in each.
//
// A hundred squares take some microseconds; a general ray caster would test every triangle, and does not know the heights,
// which are only raised in the vertex shader.

/** @typedef {[number, number, number]} Point x to the right, y (β) away from the viewer, z up */

/**
 * Distance along the ray to a triangle, or infinity (Möller and Trumbore 1997).
 *
 * @param {Point} o
 * @param {Point} d
 * @param {Point} a
 * @param {Point} b
 * @param {Point} c
 */
function meet(o, d, a, b, c) {
  const e1 = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
  const e2 = [c[0] - a[0], c[1] - a[1], c[2] - a[2]];
  const p = [d[1] * e2[2] - d[2] * e2[1], d[2] * e2[0] - d[0] * e2[2], d[0] * e2[1] - d[1] * e2[0]];
  const determinant = e1[0] * p[0] + e1[1] * p[1] + e1[2] * p[2];
  if (Math.abs(determinant) < 1e-14) return Infinity;
  const s = [o[0] - a[0], o[1] - a[1], o[2] - a[2]];
  const u = (s[0] * p[0] + s[1] * p[1] + s[2] * p[2]) / determinant;
  const q = [s[1] * e1[2] - s[2] * e1[1], s[2] * e1[0] - s[0] * e1[2], s[0] * e1[1] - s[1] * e1[0]];
  const v = (d[0] * q[0] + d[1] * q[1] + d[2] * q[2]) / determinant;
  const t = (e2[0] * q[0] + e2[1] * q[1] + e2[2] * q[2]) / determinant;
  return u >= -1e-9 && v >= -1e-9 && u + v <= 1 + 1e-9 && t >= 0 ? t : Infinity;
}

/** The square that holds x in ascending places. @param {Float64Array} places @param {number} x */
function squareOf(places, x) {
  let low = 0;
  let high = places.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (places[middle] <= x) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The first point of the surface on a ray.
 *
 * @param {object} options
 * @param {Point} options.origin
 * @param {Point} options.direction
 * @param {Float64Array} options.xs places of the columns, ascending
 * @param {Float64Array} options.ys places of the rows, ascending
 * @param {Uint16Array} options.strides from triangulate
 * @param {(index: number) => number} options.elevation of a vertex
 * @param {[number, number]} options.span lowest and highest elevation
 * @returns {{ point: Point, row: number, column: number, distance: number } | null} row and column: the nearest corner
 */
export function pick({ origin, direction, xs, ys, strides, elevation, span }) {
  const columns = xs.length;
  const rows = ys.length;

  // Clip the ray to the box that holds the surface.
  let enter = 0;
  let leave = Infinity;
  const box = [
    [xs[0], xs[columns - 1]],
    [ys[0], ys[rows - 1]],
    [span[0] - 1e-6, span[1] + 1e-6],
  ];
  for (let axis = 0; axis < 3; axis++) {
    const [low, high] = box[axis];
    const o = origin[axis];
    const d = direction[axis];
    if (Math.abs(d) < 1e-12) {
      if (o < low || o > high) return null;
      continue;
    }
    const near = (low - o) / d;
    const far = (high - o) / d;
    enter = Math.max(enter, Math.min(near, far));
    leave = Math.min(leave, Math.max(near, far));
  }
  if (enter > leave) return null;

  let column = squareOf(xs, origin[0] + enter * direction[0]);
  let row = squareOf(ys, origin[1] + enter * direction[1]);
  const right = direction[0] > 0 ? 1 : 0;
  const up = direction[1] > 0 ? 1 : 0;

  /** @param {number} r @param {number} c @returns {Point} */
  const corner = (r, c) => [xs[c], ys[r], elevation(r * columns + c)];

  while (column >= 0 && row >= 0 && column < columns - 1 && row < rows - 1) {
    const stride = strides[row * (columns - 1) + column];
    if (stride > 0) {
      const r = row - (row % stride);
      const c = column - (column % stride);
      const a = corner(r, c);
      const b = corner(r, c + stride);
      const e = corner(r + stride, c);
      const f = corner(r + stride, c + stride);
      const distance = Math.min(meet(origin, direction, a, b, e), meet(origin, direction, b, f, e));
      if (distance < Infinity) {
        const x = origin[0] + distance * direction[0];
        const y = origin[1] + distance * direction[1];
        return {
          point: [x, y, origin[2] + distance * direction[2]],
          row: 2 * (y - ys[r]) > ys[r + stride] - ys[r] ? r + stride : r,
          column: 2 * (x - xs[c]) > xs[c + stride] - xs[c] ? c + stride : c,
          distance,
        };
      }
    }

    // Step over whichever line of the lattice comes first.
    const tx = direction[0] === 0 ? Infinity : (xs[column + right] - origin[0]) / direction[0];
    const ty = direction[1] === 0 ? Infinity : (ys[row + up] - origin[1]) / direction[1];
    if (Math.min(tx, ty) > leave) return null;
    if (tx < ty) column += right ? 1 : -1;
    else row += up ? 1 : -1;
  }
  return null;
}
