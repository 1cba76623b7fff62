import { expect, test } from "vitest";
import { marksOf } from "../src/markers.js";

const axis = [-1, -0.5, 0, 0.5, 1];
const grid = (critical) => ({ rows: 5, columns: 5, header: { alphas: axis, betas: axis, critical } });
const saddle = (row, column) => ({ kind: "saddle", alpha: axis[column], beta: axis[row], loss: 2.3, row, column });
const words = (marks) => marks.map(({ kind, text }) => [kind, text]);

test("the trained point is marked beside the critical points", () => {
  expect(words(marksOf(grid([saddle(1, 3)]), true))).toEqual([
    ["saddle", "saddle 2.30"],
    ["origin", "θ*"],
  ]);
});

test("where it is a critical point itself, one mark says both", () => {
  expect(words(marksOf(grid([saddle(2, 2)]), true))).toEqual([["saddle", "θ*: saddle 2.30"]]);
});

test("without highlighting it is marked alone", () => {
  expect(words(marksOf(grid([saddle(2, 2)]), false))).toEqual([["origin", "θ*"]]);
});
