import { expect, test } from "vitest";
import { coarsest, triangulate } from "../src/mesh.js";

function drawn(rows, columns, stateOf) {
  const states = Uint8Array.from({ length: rows * columns }, (_, k) => stateOf(Math.floor(k / columns), k % columns));
  const strides = new Uint16Array((rows - 1) * (columns - 1));
  const index = new Uint32Array(6 * strides.length);
  const count = triangulate({ states, rows, columns, index, strides });
  return { states, strides, index: index.subarray(0, count), triangles: count / 3 };
}

test("the coarsest lattice divides both sides", () => {
  expect(coarsest(65, 65)).toBe(64);
  expect(coarsest(5, 9)).toBe(4);
  expect(coarsest(51, 51)).toBe(2);
  expect(coarsest(4, 4)).toBe(1);
});

test("a full grid is drawn at full resolution, an unknown one not at all", () => {
  expect(drawn(9, 5, () => 2).triangles).toBe(2 * 8 * 4);
  expect(drawn(9, 5, () => 0).triangles).toBe(0);
});

test("five by five known cells of a fine grid are sixteen large quads", () => {
  const { triangles, strides } = drawn(65, 65, (r, c) => (r % 16 === 0 && c % 16 === 0 ? 2 : 0));
  expect(triangles).toBe(32);
  expect(new Set(strides)).toEqual(new Set([16]));
});

test("no corner of a triangle is unknown or a hole, whatever the states", () => {
  let seed = 7;
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  for (let round = 0; round < 30; round++) {
    const { states, index } = drawn(17, 9, () => [0, 1, 2, 2, 2, 3, 4][Math.floor(7 * random())]);
    for (const corner of index) expect([1, 2, 4]).toContain(states[corner]);
  }
});

test("a hole takes away the four squares around it and nothing else", () => {
  const { triangles, strides } = drawn(9, 9, (r, c) => (r === 4 && c === 3 ? 3 : 2));
  expect(triangles).toBe(2 * (64 - 4));
  expect(strides[3 * 8 + 2] + strides[3 * 8 + 3] + strides[4 * 8 + 2] + strides[4 * 8 + 3]).toBe(0);
});

test("a measured hole shows before its surroundings are finished", () => {
  const { strides } = drawn(9, 9, (r, c) => (r === 4 && c === 4 ? 3 : r % 8 === 0 && c % 8 === 0 ? 2 : 0));
  expect(Math.max(...strides)).toBe(0);
});
