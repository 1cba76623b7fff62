import { expect, test } from "vitest";
import { makeGrid, saddle } from "../dev/model.js";
import { saddleness, secondDerivatives } from "../src/curvature.js";
import { triangulate } from "../src/mesh.js";
import { relieve } from "../src/relief.js";

test("second differences are exact for quadratics, also on an uneven lattice", () => {
  const f = (x, y) => 3 * x * x - 5 * x * y + 0.5 * y * y + 7 * x - y + 2;
  const xs = [-0.2, 0.1, 0.5];
  const ys = [1, 1.25, 1.3];
  const sample = (k, l) => f(xs[1 + l], ys[1 + k]);
  const [aa, , bb] = secondDerivatives(sample, [0.3, 0.4], [0.25, 0.05]);
  expect(aa).toBeCloseTo(6);
  expect(bb).toBeCloseTo(1);
  const even = secondDerivatives((k, l) => f(0.1 * l, 0.2 * k), [0.1, 0.1], [0.2, 0.2]);
  expect(even[1]).toBeCloseTo(-5);
});

test("saddles, bowls, domes and troughs", () => {
  expect(saddleness([1, 0, -1])).toBeCloseTo(1);
  expect(saddleness([0, 3, 0])).toBeCloseTo(1);
  expect(saddleness([2, 0, 2])).toBeCloseTo(-1);
  expect(saddleness([-2, 0, -2])).toBeCloseTo(-1);
  expect(saddleness([2, 0, 0])).toBeCloseTo(0);
  expect(saddleness([0, 0, 0])).toBe(0);
  expect(Math.abs(saddleness([1e-9, 0, -1e-9], 1))).toBeLessThan(1e-12);
});

test("the sign over a grid is that of f_aa f_bb − f_ab²", () => {
  const grid = makeGrid({ rows: 33, columns: 17 });
  const { rows, columns, alphas, betas } = { rows: 33, columns: 17, ...grid.header };
  const strides = new Uint16Array((rows - 1) * (columns - 1));
  triangulate({ states: grid.states, rows, columns, strides, index: new Uint32Array(6 * strides.length) });
  const bends = new Float32Array(rows * columns);
  relieve({
    grid: { ...grid, rows, columns },
    values: grid.heights,
    range: 1.5,
    xs: Float64Array.from(alphas),
    ys: Float64Array.from(betas),
    strides,
    slopes: new Float32Array(2 * rows * columns),
    bends,
    first: 0,
    last: rows - 1,
  });

  const h = 1e-3;
  let saddles = 0;
  for (let r = 1; r < rows - 1; r++)
    for (let c = 1; c < columns - 1; c++) {
      const [aa, ab, bb] = secondDerivatives((k, l) => saddle(alphas[c] + l * h, betas[r] + k * h), [h, h], [h, h]);
      const gauss = aa * bb - ab * ab;
      if (Math.abs(gauss) < 0.2) continue;
      expect(Math.sign(bends[r * columns + c])).toBe(-Math.sign(gauss));
      saddles += Number(gauss < 0);
    }
  expect(saddles).toBeGreaterThan(30);
});
