import axe from "axe-core";
import { expect, test } from "vitest";
import { makeGrid, saddlePoints, sendGrid } from "../dev/model.js";
import { mount, painted } from "./harness.js";

/** Rules about whole pages do not concern a widget. */
const rules = {
  region: { enabled: false },
  "page-has-heading-one": { enabled: false },
  "landmark-one-main": { enabled: false },
};

const found = async (root) =>
  (await axe.run(root, { rules })).violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
  );

test.each([
  ["a survey, light", { status: "survey" }, ""],
  ["a survey, dark", { status: "survey" }, "background: #111"],
  ["a saved landscape", { live: false }, ""],
  ["an error", { status: "error", error: "expected a finite loss, got nan" }, ""],
])("axe finds nothing wrong with %s", async (_name, traits, style) => {
  const into = document.createElement("div");
  into.style.cssText = style || "background: #fff";
  document.body.append(into);
  const { root, model } = mount(traits, { into });
  sendGrid(model, makeGrid({ rows: 17, columns: 17, header: { critical: saddlePoints(17) } }));
  await painted(root);
  root.querySelector("details").open = true;
  expect(await found(root)).toEqual([]);
  into.remove();
});

test("axe finds nothing wrong with the empty state", async () => {
  const { root } = mount({ status: "directions", catalog: [] });
  expect(await found(root)).toEqual([]);
});

test("the picture is described in words, and is an application only while it takes keys", async () => {
  const { root, model } = mount();
  sendGrid(model, makeGrid({ header: { critical: saddlePoints() } }));
  await painted(root);
  const canvas = root.querySelector(".lw-canvas");
  expect(canvas.getAttribute("role")).toBe("img");
  expect(canvas.getAttribute("aria-label")).toMatch(
    /65 by 65 cells, 4225 measured, lowest 0.2817, highest 1.7\d+, 1 saddle in this slice/,
  );
  canvas.focus();
  expect(canvas.getAttribute("role")).toBe("application");
  canvas.blur();
  expect(canvas.getAttribute("role")).toBe("img");
});

test("targets are at least 24 pixels", () => {
  const { root } = mount();
  for (const element of root.querySelectorAll("button, select, input[type=range], label.lw-check")) {
    if (element.hidden) continue;
    const { width, height } = element.getBoundingClientRect();
    expect(Math.min(width, height), element.outerHTML).toBeGreaterThanOrEqual(24);
  }
});
