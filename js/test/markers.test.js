import { expect, test } from "vitest";
import { createMarkers, marksOf } from "../src/markers.js";

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

/** Whose words are seen, with marks drawn at the given pixels. */
function shown(marks, places) {
  const markers = createMarkers();
  document.body.append(markers.object);
  markers.update(marks);
  markers.place((mark) => ({ hidden: false, ...places[marks.indexOf(mark)] }));
  const elements = [...markers.object.querySelectorAll(".lw-mark:not(.lw-crowded, .lw-behind)")];
  const texts = elements.map((element) => element.textContent);
  markers.dispose();
  return texts;
}

test("the trained point and a saddle that all but covers it share their words", () => {
  const marks = marksOf(grid([saddle(1, 3)]), true);
  const at = { x: 200, y: 200 };
  expect(shown(marks, [{ x: 193, y: 199 }, at])).toEqual(["θ*, saddle 2.30"]);
  expect(shown(marks, [{ x: 100, y: 199 }, at])).toEqual(["saddle 2.30", "θ*"]);
  expect(shown(marks, [{ x: 193, y: 199, hidden: true }, at])).toEqual(["θ*"]);
});

test("words are their own again when the marks come apart", () => {
  const marks = marksOf(grid([saddle(1, 3)]), true);
  const markers = createMarkers();
  document.body.append(markers.object);
  markers.update(marks);
  const texts = () => [...markers.object.querySelectorAll(".lw-mark")].map(({ textContent }) => textContent);
  for (const [x, first] of [
    [195, "θ*, saddle 2.30"],
    [20, "saddle 2.30"],
  ]) {
    markers.place((mark) => ({ x: mark.kind === "origin" ? 200 : x, y: 200, hidden: false }));
    expect(texts()).toEqual([first, "θ*"]);
  }
  expect(markers.object.querySelectorAll(".lw-crowded")).toHaveLength(0);
  markers.dispose();
});
