import axe from "axe-core";
import { expect, test } from "vitest";
import { page, userEvent } from "vitest/browser";
import { CATALOG, direction, makeGrid, SPECTRUM, sendGrid, sendPatch } from "../dev/model.js";
import { axisLabels, createScale, signedScale, spread, uncrowded } from "../src/spectrum-scale.js";
import { mount, painted, settle, slide, until } from "./harness.js";

const known = { spectrum: SPECTRUM, status: "done" };
const handle = (view, letter) => view.control(`${letter} handle`);
const mark = (view, key) => view.root.querySelector(`.lw-pair-mark[data-key="${key}"]`);
const strip = (view) => view.root.querySelector(".lw-strip");
const legend = (view) => view.root.querySelector(".lw-strip-legend").textContent;

/** Where a handle stands, against where its direction's dot is: pixels between them. */
function offset(view, letter) {
  const middle = (element) => {
    const { left, width } = element.getBoundingClientRect();
    return left + width / 2;
  };
  const element = handle(view, letter);
  return Math.abs(middle(element) - middle(mark(view, element.dataset.key).querySelector("circle")));
}

/** Every pair that `count` per end gives, in the order of the catalog. */
function manyPairs(count) {
  const ends = Array.from({ length: count }, (_, k) => k + 1);
  return [
    ...ends.map((k) => direction(`largest-${k}`, "hessian", `λ${k}`, `${k}. largest`, 4 / k)),
    ...ends
      .toReversed()
      .map((k) => direction(`smallest-${k}`, "hessian", `λₙ₋${k}`, `${k}. smallest`, -0.1 - 0.01 / k)),
    ...CATALOG.slice(5),
  ];
}

/** The newest message's parameters, once they are these. */
const asked = (view, params) =>
  until(() => expect(view.model.sentOf("set").at(-1)?.params).toEqual(expect.objectContaining(params)));

test.each([
  [-0.123, 3.86],
  [-2e-7, 5],
  [-0.24, 0.24],
  [-10, -1],
  [1e-12, 3e-12],
  [-1e9, 1e12],
  [0, 0],
])("the axis from %d to %d is true to order, and its labels leave each other room", (low, high) => {
  const scale = signedScale([low, high]);
  const axis = createScale({ low: Math.min(0, low), high: Math.max(0, high), scale, left: 20, right: 200 });
  const values = [low, low / 2, 0, high / 3, high].sort((a, b) => a - b);
  const places = values.map(axis.at);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  for (const x of places) expect(x).toBeGreaterThanOrEqual(20);
  for (const x of places) expect(x).toBeLessThanOrEqual(200);
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (size > 0) for (const value of values) expect(axis.invert(axis.at(value)) / size).toBeCloseTo(value / size, 9);

  const labels = axisLabels(axis, { left: 0, right: 220, measure: (text) => 7 * text.length });
  expect(labels.map(({ label }) => label)).toContain("0");
  for (const [k, { x, label, value }] of labels.entries()) {
    expect(axis.at(value)).toBe(x);
    expect(x - 3.5 * label.length).toBeGreaterThanOrEqual(-1e-9);
    if (k > 0)
      expect(x - labels[k - 1].x).toBeGreaterThanOrEqual(3.5 * (label.length + labels[k - 1].label.length) + 10);
  }
});

test("places are spread no further than they must be", () => {
  const inside = { gap: 10, left: 0, right: 100 };
  expect(spread([10, 30, 50], inside)).toEqual([10, 30, 50]);
  expect(spread([50, 50], inside)).toEqual([45, 55]);
  expect(spread([20, 50, 51, 52], inside)).toEqual([20, 41, 51, 61]);
  expect(spread([0, 1, 99, 100], inside)).toEqual([0, 10, 90, 100]);
  expect(spread([7, 7, 7], { gap: 60, left: 0, right: 100 })).toEqual([0, 50, 100]);
  expect(spread([130], inside)).toEqual([100]);
  expect(spread([], inside)).toEqual([]);
});

test("of crowded labels the important ones stay", () => {
  const at = (x, width = 20) => ({ x, width });
  expect(uncrowded([at(50), at(60), at(75), at(5), at(96)], { left: 0, right: 100 })).toEqual([at(50), at(75)]);
});

test("ticks stand at their eigenvalues, with the residual as error bar", async () => {
  const wide = CATALOG.map((entry) => (entry.key === "largest-2" ? { ...entry, residual: 0.4 } : entry));
  const view = mount({ ...known, catalog: wide });
  const { scale, grid } = SPECTRUM;
  const bars = strip(view).querySelector(".lw-strip-paper").getBBox();
  const place = (value) => {
    const air = 0.025 * (Math.asinh(grid.at(-1) / scale) - Math.asinh(grid[0] / scale));
    const [first, last] = [Math.asinh(grid[0] / scale) - air, Math.asinh(grid.at(-1) / scale) + air];
    return bars.x + (bars.width * (Math.asinh(value / scale) - first)) / (last - first);
  };
  for (const { key, curvature, label } of wide.slice(0, 5)) {
    const line = mark(view, key).querySelector(".lw-pair-line");
    expect(line.getPointAtLength(line.getTotalLength()).x).toBeCloseTo(place(curvature), 0);
    expect(mark(view, key).querySelector("title").textContent).toContain(label);
  }
  const { x, width } = mark(view, "largest-2").querySelector(".lw-pair-error").getBBox();
  expect(x).toBeCloseTo(place(0.91), 0);
  expect(x + width).toBeCloseTo(place(1.71), 0);
  expect(mark(view, "largest-1").querySelector(".lw-pair-error")).toBeNull();
  expect(strip(view).querySelectorAll(".lw-outlier").length).toBe(5);
});

test("the density has two hues, cut where negative curvature can be told from a broadened zero", () => {
  const view = mount(known);
  const zero = strip(view).querySelector(".lw-zero").getBBox().x;
  const [below, above] = [".lw-below-zero", ".lw-above-zero"].map((side) =>
    strip(view).querySelector(`.lw-density-line${side}`).getBBox(),
  );
  const paper = strip(view).querySelector(".lw-strip-paper").getBBox();
  const { scale, bandwidth, grid } = SPECTRUM;
  const span = 1.05 * (Math.asinh(grid.at(-1) / scale) - Math.asinh(grid[0] / scale));
  const edge = zero - (paper.width * 4 * bandwidth) / span;
  expect(below.x + below.width).toBeCloseTo(edge, 0);
  expect(above.x).toBeCloseTo(edge, 0);
  expect(above.y).toBeCloseTo(paper.y, 0);
  const area = strip(view).querySelector(".lw-negative").getBBox();
  expect(area.x + area.width).toBeCloseTo(zero, 0);
  expect(legend(view)).toContain("negative curvature");
});

test("what cannot be told from zero is no negative curvature", async () => {
  const catalog = CATALOG.slice(0, 3).concat(direction("smallest-1", "hessian", "λₙ", "smallest", -1e-5));
  const view = mount({
    catalog,
    direction_y: "smallest-1",
    spectrum: { ...SPECTRUM, noise: 1e-4, bulk: [-1e-5, 0.4], outliers: [2.84] },
  });
  expect(strip(view).querySelector(".lw-negative")).toBeNull();
  expect(strip(view).querySelector(".lw-below-zero")).toBeNull();
  expect(legend(view)).not.toContain("negative curvature");
});

test("handles sit on their directions, and follow the sliders and Python", async () => {
  const view = mount(known);
  expect(handle(view, "x").dataset.key).toBe("largest-1");
  expect(handle(view, "y").dataset.key).toBe("smallest-1");
  expect(handle(view, "x").getAttribute("aria-valuetext")).toBe("direction x: largest curvature (λ₁ = 2.84 ± 0.002)");
  slide(view.control("x direction"), 2);
  await settle();
  expect(handle(view, "x").dataset.key).toBe("largest-3");
  await asked(view, { direction_x: "largest-3" });
  view.model.set("direction_x", "largest-3");
  view.model.set("_confirmed", { [view.page.state.client]: 1 });
  view.model.set("direction_y", "random-2");
  await settle();
  expect(handle(view, "y").dataset.key).toBe("random-2");
  for (const letter of ["x", "y"]) await until(() => expect(offset(view, letter)).toBeLessThan(1));
});

test("arrows step through the eigenvalues in their order, Home and End go to the ends, no key leaks", async () => {
  const view = mount(known);
  const heard = [];
  const listener = (event) => heard.push(event.key);
  document.body.addEventListener("keydown", listener);
  handle(view, "x").focus();
  await userEvent.keyboard("{ArrowLeft}");
  expect(handle(view, "x").dataset.key).toBe("largest-2");
  await userEvent.keyboard("{ArrowDown}{ArrowUp}{ArrowRight}{ArrowRight}dd");
  expect(handle(view, "x").dataset.key).toBe("random-1");
  await userEvent.keyboard("{End}{ArrowRight}");
  expect(handle(view, "x").dataset.key).toBe("gradient");
  expect(handle(view, "x").getAttribute("aria-valuenow")).toBe("7");
  await userEvent.keyboard("{Home}");
  expect(heard).toEqual([]);
  document.body.removeEventListener("keydown", listener);

  // Home is where y was: the two have changed places.
  await asked(view, { direction_x: "smallest-1", direction_y: "gradient" });
  expect(view.control("x direction").value).toBe("4");
  expect(document.activeElement).toBe(handle(view, "x"));
});

test("a handle is dragged to the nearest eigenvalue", async () => {
  const view = mount(known);
  await userEvent.dragAndDrop(handle(view, "x"), mark(view, "largest-3").querySelector("circle"));
  await asked(view, { direction_x: "largest-3", direction_y: "smallest-1" });
  await settle();
  expect(handle(view, "x").dataset.key).toBe("largest-3");
  expect("dragged" in handle(view, "x").dataset).toBe(false);
});

test("dragged over the other handle it takes only the place where it is dropped", async () => {
  const view = mount({ ...known, direction_y: "largest-2" });
  await userEvent.dragAndDrop(handle(view, "x"), mark(view, "smallest-2").querySelector("circle"));
  await asked(view, { direction_x: "smallest-2", direction_y: "largest-2" });
  await until(() => expect(offset(view, "x")).toBeLessThan(1));
  await userEvent.dragAndDrop(handle(view, "x"), handle(view, "y"));
  await asked(view, { direction_x: "largest-2", direction_y: "smallest-2" });
});

test("a tap on the plot calls the nearer handle to the eigenvalue there", async () => {
  const view = mount(known);
  const line = mark(view, "smallest-2").querySelector(".lw-pair-line");
  const { x, y } = line.getPointAtLength(line.getTotalLength() - 20);
  await userEvent.click(strip(view), { position: { x: x + 2, y } });
  await asked(view, { direction_x: "largest-1", direction_y: "smallest-2" });
  await settle();
  expect(document.activeElement).toBe(handle(view, "y"));
});

test("what has not converged says so in words, not by its look alone", async () => {
  const view = mount({ ...known, direction_x: "smallest-2" });
  expect(legend(view)).toContain("λₙ₋₁ not converged yet");
  expect(legend(view)).toContain("λₙ still sharpening");
  expect(handle(view, "x").getAttribute("aria-valuetext")).toMatch(/not converged yet$/);
  expect(mark(view, "smallest-2").querySelector("title").textContent).toMatch(/not converged yet$/);
  expect(mark(view, "smallest-2").hasAttribute("data-doubt")).toBe(true);
  expect(getComputedStyle(mark(view, "smallest-2").querySelector(".lw-pair-line")).strokeDasharray).not.toBe("none");
});

test("nothing jumps: empty, ticks alone, and the whole have one height", async () => {
  const view = mount({ catalog: [], status: "directions" });
  const box = view.root.querySelector(".lw-spectrum");
  const waiting = view.root.querySelector(".lw-strip-message");
  const height = box.offsetHeight;
  expect(waiting.hidden).toBe(false);
  expect(waiting.textContent).toBe("The eigenvalues of the Hessian appear here.");
  expect(handle(view, "x").hidden).toBe(true);
  expect([...view.root.querySelectorAll(".lw-numbers dd")].map(({ textContent }) => textContent)).toEqual(
    Array(7).fill("…"),
  );

  view.model.set(
    "catalog",
    CATALOG.map((entry) => ({ ...entry, converged: true, preliminary: false })),
  );
  await settle();
  expect(waiting.hidden).toBe(true);
  expect(legend(view)).toContain("density: being estimated…");
  expect(strip(view).querySelectorAll(".lw-pair-line").length).toBe(5);
  expect(handle(view, "x").hidden).toBe(false);
  expect(box.offsetHeight).toBe(height);

  view.model.set("spectrum", { ...SPECTRUM, done: false, num_probes: 3 });
  await settle();
  expect(legend(view)).toContain("3 probes so far");
  expect(legend(view)).not.toContain("being estimated");
  expect(box.offsetHeight).toBe(height);
  view.model.set("spectrum", SPECTRUM);
  await settle();
  expect(legend(view)).not.toContain("so far");
});

test("the numbers stand beside the strip, each with its meaning, and below it where it is narrow", async () => {
  const view = mount(known, { width: 800 });
  const numbers = view.root.querySelector(".lw-numbers");
  const text = Object.fromEntries(
    [...numbers.children].map((row) => [row.dataset.number, row.querySelector("dd").textContent]),
  );
  expect(text.trace).toBe("14.1 ± 0.8");
  expect(text.planes).toContain("(Gaussian\u00a0axes,\u00a0sampled)");
  expect(numbers.querySelector('[data-number="planes"]').title).toContain(SPECTRUM.planes);
  expect(numbers.querySelector("dt").innerHTML).toBe("λ<sub>max</sub>");
  expect(numbers.getBoundingClientRect().left).toBeGreaterThan(strip(view).getBoundingClientRect().right);
  view.el.style.width = "480px";
  await until(() =>
    expect(numbers.getBoundingClientRect().top).toBeGreaterThan(strip(view).getBoundingClientRect().bottom),
  );
});

test("text from the kernel is text", async () => {
  const numbers = [{ key: "trace", symbol: "<b>tr</b>", label: "", text: "<img src=x>", help: "<i>" }];
  const view = mount({ ...known, spectrum: { ...SPECTRUM, numbers } });
  expect(view.root.querySelector(".lw-numbers").textContent).toContain("<img src=x>");
  expect(view.root.querySelector(".lw-numbers img")).toBeNull();
});

test("along a random direction the picture's curvature is marked on the axis", async () => {
  const view = mount({ ...known, direction_x: "random-1" });
  const random = CATALOG[5];
  sendGrid(
    view.model,
    makeGrid({ rows: 9, columns: 9, header: { x: random, curvature: [2, 0, -0.42], norms: [2, 1] } }),
  );
  await settle();
  expect(strip(view).querySelectorAll(".lw-slope").length).toBe(1);
  expect(strip(view).querySelector(".lw-slope-letter").textContent).toBe("x");
  expect(legend(view)).toContain("along x: vᵀHv = 0.500");
});

test("without an engine the handles are off, with the reason; without anything to show there is no strip", async () => {
  const view = mount({ ...known, live: false });
  expect(handle(view, "x").getAttribute("aria-disabled")).toBe("true");
  expect(handle(view, "x").title).toContain("No engine behind this picture");
  await userEvent.click(mark(view, "largest-3").querySelector("circle"), { force: true });
  handle(view, "x").focus();
  await userEvent.keyboard("{ArrowLeft}");
  expect(handle(view, "x").dataset.key).toBe("largest-1");
  expect(view.model.sentOf("set")).toEqual([]);

  const bare = mount({ live: false, catalog: CATALOG.slice(5, 7), direction_x: "random-1", direction_y: "random-2" });
  expect(bare.root.querySelector(".lw-spectrum").hidden).toBe(true);
  bare.end();
  const ends = mount({
    live: false,
    catalog: [CATALOG[0], CATALOG[4]],
    spectrum: { done: true, numbers: SPECTRUM.numbers.slice(0, 2) },
  });
  expect(strip(ends).querySelectorAll(".lw-pair-line").length).toBe(2);
  expect(ends.root.querySelector(".lw-strip-message").hidden).toBe(true);
  expect(legend(ends)).toBe("negative curvatureλₙ still sharpening");
});

test.each([272, 336, 480, 800])("at %d pixels no letters cover others, and nothing is cut off", async (width) => {
  for (const catalog of [CATALOG, manyPairs(3), manyPairs(10), [CATALOG[0], CATALOG[4]]]) {
    const view = mount({ ...known, catalog, direction_x: catalog[0].key, direction_y: catalog[1].key }, { width });
    const frame = strip(view).getBoundingClientRect();
    const texts = [...strip(view).querySelectorAll("text")].map((element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      return { left, right, top: top + 2, bottom: bottom - 2, text: element.textContent };
    });
    expect(texts.length).toBeGreaterThan(6);
    for (const [k, a] of texts.entries()) {
      expect(a.left, a.text).toBeGreaterThanOrEqual(frame.left - 4);
      expect(a.right, a.text).toBeLessThanOrEqual(frame.right + 4);
      for (const b of texts.slice(k + 1)) {
        const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        expect(apart, `${a.text} over ${b.text}`).toBe(true);
      }
    }
    const { width: across, height: down } = handle(view, "x").getBoundingClientRect();
    expect(Math.min(across, down)).toBeGreaterThanOrEqual(24);
    view.end();
  }
});

test("a patch of the surface draws no spectrum anew", async () => {
  const view = mount(known);
  const grid = makeGrid({ rows: 9, columns: 9 });
  sendGrid(view.model, grid);
  await painted(view.root);
  const before = strip(view).querySelector(".lw-density-line");
  sendPatch(view.model, grid, [3, 4], { seq: 1 });
  await settle();
  expect(strip(view).querySelector(".lw-density-line")).toBe(before);
});

test.each(["#fff", "#111"])("axe finds nothing wrong with the strip on %s", async (background) => {
  const into = document.createElement("div");
  into.style.background = background;
  document.body.append(into);
  const { root } = mount({ ...known, catalog: CATALOG }, { into });
  const { violations } = await axe.run(root.querySelector(".lw-spectrum"));
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
  into.remove();
});

test("a finger scrolls the page over the plot, and drags a handle", async () => {
  await page.viewport(480, 800);
  const view = mount(known, { width: 460 });
  expect(getComputedStyle(handle(view, "x")).touchAction).toBe("none");
  expect(getComputedStyle(view.root.querySelector(".lw-strip-plot")).touchAction).toBe("auto");
  await page.viewport(1200, 900);
});
