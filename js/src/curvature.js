// Where the slice is a saddle: the sign of its Gaussian curvature, f_aa f_bb − f_ab², from second differences of the heights.
//
// The sign does not depend on how the axes are scaled, so the unit square of the picture serves as well as (α, β).

/**
 * Second derivatives at a point from its eight neighbours on a possibly uneven lattice.
 *
 * @param {(row: number, column: number) => number} f value at −1, 0, 1 steps up and to the right
 * @param {[number, number]} h distances to the left and to the right neighbour
 * @param {[number, number]} k distances to the lower and to the upper neighbour
 * @returns {[number, number, number]} f_aa, f_ab, f_bb
 */
export function secondDerivatives(f, [left, right], [down, up]) {
  const aa = (2 * ((f(0, 1) - f(0, 0)) / right - (f(0, 0) - f(0, -1)) / left)) / (left + right);
  const bb = (2 * ((f(1, 0) - f(0, 0)) / up - (f(0, 0) - f(-1, 0)) / down)) / (down + up);
  const ab = (f(1, 1) - f(1, -1) - f(-1, 1) + f(-1, -1)) / ((left + right) * (down + up));
  return [aa, ab, bb];
}

/**
 * How much a saddle: −2 k₁ k₂ / (k₁² + k₂²) of the two principal curvatures, from −1 (a round bowl or dome) over 0 (a trough) to 1
 * (as much down as up).
 *
 * Where the surface is flat to within `noise`, rounding would decide; there the answer fades to 0.
 *
 * @param {[number, number, number]} derivatives f_aa, f_ab, f_bb
 * @param {number} [noise] curvature that counts as none
 */
export function saddleness([aa, ab, bb], noise = 0) {
  const squares = aa * aa + 2 * ab * ab + bb * bb;
  if (!(squares > 0)) return 0;
  const fade = squares / (squares + noise * noise);
  return (-2 * (aa * bb - ab * ab) * fade) / squares;
}
