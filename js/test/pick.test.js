import { expect, test } from "vitest";
import { triangulate } from "../src/mesh.js";
import { pick } from "../src/pick.js";

const even = (n) => Float64Array.from({ length: n }, (_, k) => k / (n - 1) - 0.5);

function surface(rows, columns, f, stateOf = () => 2) {
  const xs = even(columns);
  const ys = even(rows);
  const states = Uint8Array.from({ length: rows * columns }, (_, k) => stateOf(Math.floor(k / columns), k % columns));
  const strides = new Uint16Array((rows - 1) * (columns - 1));
  triangulate({ states, rows, columns, strides, index: new Uint32Array(6 * strides.length) });
  const elevation = (index) => f(xs[index % columns], ys[Math.floor(index / columns)]);
  return (origin, direction) => pick({ origin, direction, xs, ys, strides, elevation, span: [-2, 2] });
}

test("a slanted plane is met where algebra says", () => {
  const cast = surface(5, 9, (x, y) => 0.1 * x + 0.3 * y);
  for (const [x, y] of [
    [0.11, -0.37],
    [-0.49, 0.49],
    [0.3, 0.02],
    [0, 0],
  ]) {
    const target = [x, y, 0.1 * x + 0.3 * y];
    const origin = [1.4, -2.1, 1.7];
    const hit = cast(
      origin,
      target.map((value, axis) => value - origin[axis]),
    );
    expect(hit.point).toEqual(target.map((value) => expect.closeTo(value, 6)));
  }
});

test("rows and columns are told apart on a grid that is not square", () => {
  const cast = surface(5, 9, () => 0);
  const hit = cast([0.26, -0.24, 3], [0, 0, -1]);
  expect([hit.row, hit.column]).toEqual([1, 6]);
});

test("the first of several hits counts", () => {
  const wave = surface(65, 65, (x) => 0.2 * Math.cos(12 * x));
  const hit = wave([-2, 0, 0.1], [1, 0, 0]);
  expect(hit.point[0]).toBeLessThan(-0.3);
});

test("misses: beside, above, through a hole, on unknown ground", () => {
  const cast = surface(
    9,
    9,
    () => 0,
    (r, c) => (r === 4 && c === 4 ? 3 : 2),
  );
  expect(cast([2, 2, 1], [0, 0, -1])).toBeNull();
  expect(cast([0, 0, 1], [0, 0, 1])).toBeNull();
  expect(cast([0.02, 0.02, 1], [0, 0, -1])).toBeNull();
  expect(cast([0.2, 0.02, 1], [0, 0, -1])).not.toBeNull();
  expect(
    surface(
      9,
      9,
      () => 0,
      () => 0,
    )([0, 0, 1], [0, 0, -1]),
  ).toBeNull();
});

test("coarse quads are met, and the nearest known cell is named", () => {
  const cast = surface(
    65,
    65,
    (x) => x,
    (r, c) => (r % 16 === 0 && c % 16 === 0 ? 2 : 0),
  );
  const hit = cast([0.2, 0.1, 3], [0, 0, -1]);
  expect(hit.point[2]).toBeCloseTo(0.2);
  expect([hit.row % 16, hit.column % 16]).toEqual([0, 0]);
});
