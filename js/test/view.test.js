import { expect, test } from "vitest";
import { CATALOG, makeGrid, saddle, saddlePoints, sendGrid, sendPatch } from "../dev/model.js";
import { covered, differing, mount, painted, pixels, until } from "./harness.js";

const labels = (root, kind) =>
  [...root.querySelectorAll(`.lw-label.${kind}`)]
    .filter((element) => !element.hidden)
    .map((element) => element.textContent);

test("nothing is drawn before there is a grid, and the page says what is going on", async () => {
  const view = mount({ status: "directions", catalog: [] });
  await until(() => expect(view.page.renderer).not.toBeNull());
  expect(covered(view)).toBe(0);
  expect(view.root.querySelector(".lw-empty").textContent).toContain("largest and smallest curvature");
  expect(view.root.dataset).toMatchObject({ epoch: "-1", status: "directions", live: "true" });
  expect(view.root.dataset.painted).toBeUndefined();
});

test("the first grid is painted, and the root tells of it", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17 }));
  await painted(view.root);
  expect(covered(view)).toBeGreaterThan(20_000);
  expect(view.root.dataset).toMatchObject({ epoch: "0", seq: "0", measured: "289", cells: "289", resolution: "65" });
  expect(view.root.querySelector(".lw-empty").hidden).toBe(true);
});

test("a grid of unknown cells is not painted; cells that arrive are", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17, stateOf: () => 0 }));
  await until(() => expect(view.page.renderer).not.toBeNull());
  expect(covered(view)).toBe(0);
  expect(view.root.dataset.painted).toBeUndefined();

  const full = makeGrid({ rows: 17, columns: 17 });
  const half = full.header.cells / 2;
  sendPatch(
    view.model,
    full,
    Array.from({ length: Math.ceil(half) }, (_, k) => k),
    { seq: 1 },
  );
  await painted(view.root);
  const some = covered(view);
  sendPatch(
    view.model,
    full,
    Array.from({ length: 289 }, (_, k) => k),
    { seq: 2 },
  );
  expect(covered(view)).toBeGreaterThan(1.4 * some);
  expect(some).toBeGreaterThan(5_000);
});

test("after patches the picture equals that of the whole grid", async () => {
  const full = makeGrid({ rows: 17, columns: 33 });
  const patched = mount();
  sendGrid(patched.model, makeGrid({ rows: 17, columns: 33, stateOf: (r, c) => (r % 8 === 0 && c % 8 === 0 ? 2 : 0) }));
  await painted(patched.root);
  const order = Array.from({ length: 17 * 33 }, (_, k) => (k * 100) % (17 * 33));
  for (let k = 0, seq = 1; k < order.length; k += 51, seq++) {
    sendPatch(patched.model, full, order.slice(k, k + 51), { seq });
    patched.page.scene.draw();
  }
  const whole = mount();
  sendGrid(whole.model, full);
  await painted(whole.root);
  expect(differing(pixels(patched), pixels(whole))).toBeLessThan(20);
});

test("holes are holes", async () => {
  const view = mount({ saddles: 0 });
  sendGrid(view.model, makeGrid({ rows: 33, columns: 33 }));
  await painted(view.root);
  const whole = covered(view);
  sendGrid(
    view.model,
    makeGrid({
      rows: 33,
      columns: 33,
      stateOf: (r, c) => (Math.hypot(r - 16, c - 16) < 6 ? 3 : 2),
      header: { epoch: 1 },
    }),
  );
  await painted(view.root, 1);
  expect(covered(view)).toBeLessThan(0.97 * whole);
  expect(view.page.scene.scale.max).toBeLessThan(10);
});

test("the camera stays through patches, other planes and other resolutions", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  view.page.scene.camera.position.set(0.7, 1.1, -1.3);
  view.page.scene.invalidate();
  sendPatch(view.model, makeGrid({ rows: 9, columns: 9 }), [1, 2], { seq: 1 });
  sendGrid(view.model, makeGrid({ rows: 33, columns: 33, halfA: 4, header: { epoch: 1 } }));
  await painted(view.root, 1);
  view.model.set("height", 300);
  view.model.set("log_scale", true);
  view.page.scene.draw();
  expect(view.page.camera).toEqual([0.7, 1.1, -1.3]);
});

test("between two planes the old picture stays, faintly, until there is something new to draw", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  const before = covered(view);
  const box = view.root.querySelector(".lw-box");
  const next = makeGrid({ rows: 17, columns: 17, f: () => 1 });
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17, stateOf: () => 0, header: { epoch: 1 } }));
  expect(covered(view)).toBe(before);
  expect(box.hasAttribute("data-waiting")).toBe(true);
  sendPatch(view.model, next, [0], { epoch: 1, seq: 1 });
  expect(covered(view)).toBe(before);
  expect(view.root.dataset.painted).toBe("0");

  sendPatch(view.model, next, [1, 17, 18], { epoch: 1, seq: 2 });
  await painted(view.root, 1);
  expect(box.hasAttribute("data-waiting")).toBe(false);
  expect(covered(view)).toBeLessThan(before / 20);
});

test("words of marks never cover each other", async () => {
  const view = mount({ saddles: 1 }, { width: 480 });
  sendGrid(view.model, makeGrid({ header: { critical: saddlePoints() } }));
  await painted(view.root);
  const boxes = [...view.root.querySelectorAll(".lw-mark:not(.lw-behind, .lw-crowded) .lw-mark-text")].map((element) =>
    element.getBoundingClientRect(),
  );
  expect(boxes.length).toBeGreaterThan(0);
  for (const a of boxes)
    for (const b of boxes)
      if (a !== b)
        expect(a.left < b.right && a.right > b.left && a.top + 2 < b.bottom && a.bottom > b.top + 2).toBe(false);
});

test("predicted cells are paler, and that is said", async () => {
  const view = mount({ contours: false });
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17 }));
  await painted(view.root);
  const measured = pixels(view);
  const note = view.root.querySelector(".lw-bar-note");
  expect(note.hidden).toBe(true);
  sendPatch(
    view.model,
    makeGrid({ rows: 17, columns: 17, stateOf: () => 1 }),
    Array.from({ length: 289 }, (_, k) => k),
    { seq: 1 },
  );
  const predicted = pixels(view);
  expect(note.hidden).toBe(false);
  expect(differing(measured, predicted)).toBeGreaterThan(5_000);
  const spread = ({ data }) => {
    let sum = 0;
    for (let k = 0; k < data.length; k += 4)
      if (data[k + 3] > 250)
        sum += Math.max(data[k], data[k + 1], data[k + 2]) - Math.min(data[k], data[k + 1], data[k + 2]);
    return sum;
  };
  expect(spread(predicted)).toBeLessThan(0.9 * spread(measured));
});

test("cells from a part of the data are seen through, half of their pixels", async () => {
  const view = mount({ contours: false });
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17 }));
  await painted(view.root);
  const whole = covered(view);
  sendPatch(
    view.model,
    makeGrid({ rows: 17, columns: 17, stateOf: () => 4 }),
    Array.from({ length: 289 }, (_, k) => k),
    { seq: 1 },
  );
  // At an angle other parts of the surface are seen through the gaps.
  expect(covered(view)).toBeGreaterThan(0.45 * whole);
  expect(covered(view)).toBeLessThan(0.9 * whole);
  expect(view.root.querySelector(".lw-bar-note").textContent).toBe("see-through: from a part of the data");
});

test("saddle highlighting changes pixels and marks critical points; off leaves the trained point alone", async () => {
  const view = mount({ saddles: 0 });
  sendGrid(view.model, makeGrid({ header: { critical: saddlePoints() } }));
  await painted(view.root);
  const off = pixels(view);
  const kinds = () => [...view.root.querySelectorAll(".lw-mark")].map((element) => element.dataset.kind);
  expect(kinds()).toEqual(["origin"]);
  view.model.set("saddles", 1);
  const strong = pixels(view);
  expect(differing(off, strong)).toBeGreaterThan(5_000);
  expect(kinds().sort()).toEqual(["minimum", "minimum", "saddle"]);
  expect(view.root.querySelector('[data-kind="saddle"]').textContent).toBe("θ*: saddle 0.412");
  view.model.set("saddles", 0.5);
  expect(differing(off, pixels(view))).toBeGreaterThan(2_000);
  view.model.set("saddles", 0);
  expect(differing(off, pixels(view))).toBe(0);
});

test("the tint lies where the curvature is negative: a bowl has none", async () => {
  const view = mount({ saddles: 0 });
  sendGrid(view.model, makeGrid({ rows: 33, columns: 33, f: (a, b) => 1 + a * a + 0.3 * b * b }));
  await painted(view.root);
  const off = pixels(view);
  view.model.set("saddles", 1);
  expect(differing(off, pixels(view))).toBe(0);
});

test("contours and colour maps change pixels", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 33, columns: 33 }));
  await painted(view.root);
  const before = pixels(view);
  view.model.set("contours", false);
  const plain = pixels(view);
  expect(differing(before, plain)).toBeGreaterThan(1_000);
  view.model.set("colormap", "magma");
  expect(differing(plain, pixels(view))).toBeGreaterThan(20_000);
});

test("the logarithmic scale relabels axis and colour bar with true losses", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 33, columns: 33, f: (a, b) => 1e-4 * 10 ** (3 * saddle(a, b)) }));
  await painted(view.root);
  const bar = () => [...view.root.querySelectorAll(".lw-bar-tick")].map((element) => element.textContent);
  const linear = pixels(view);
  expect(view.root.querySelector(".lw-bar-title").textContent).toBe("loss");
  expect(bar()).not.toContain("0.01");

  view.model.set("log_scale", true);
  expect(differing(linear, pixels(view))).toBeGreaterThan(5_000);
  expect(bar()).toEqual(["0.001", "0.01", "0.1", "1", "10"]);
  expect(view.root.querySelector(".lw-bar-title").textContent).toBe("loss (log scale)");
  expect(labels(view.root, "lw-tick")).toEqual(expect.arrayContaining(["0.01", "1"]));
});

test("where some loss is zero there is no logarithmic scale", async () => {
  const view = mount({ log_scale: true });
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9, f: (a, b) => a - b, header: { log_ok: false } }));
  await painted(view.root);
  expect(view.page.scene.scale.log).toBe(false);
  expect(view.control("log scale").disabled).toBe(true);
});

test("axes carry their directions, units and ticks", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ header: { y: { ...CATALOG[3] } } }));
  await painted(view.root);
  const titles = labels(view.root, "lw-title");
  expect(titles).toEqual([
    "α · largest curvature\n(λ₁ = 2.84 ± 0.002), ‖Δθ‖",
    "β · 2nd smallest curvature\n(λ = −0.21 ± 0.03), ‖Δθ‖",
    "loss",
  ]);
  expect(labels(view.root, "lw-tick")).toEqual(expect.arrayContaining(["−0.4", "0", "0.4", "−0.5", "1.5"]));
});

test("ticks of a loss far from zero are differences, and say so", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9, f: (a, b) => 1e4 + 1e-3 * (a * a - b * b) }));
  await painted(view.root);
  expect(labels(view.root, "lw-title")).toContain("loss − loss(θ*)");
});

test.each([
  ["home", [25, 55]],
  ["top", [0, 0]],
  ["front", [0, 86]],
  ["side", [90, 86]],
])("the %s view", async (name, [azimuth, polar]) => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  view.page.scene.camera.position.set(0.7, 1.1, -1.3);
  view.control(name).click();
  const [x, y, z] = view.page.camera;
  expect((Math.atan2(x, z) * 180) / Math.PI).toBeCloseTo(azimuth, 0);
  expect((Math.atan2(Math.hypot(x, z), y - 0.14) * 180) / Math.PI).toBeCloseTo(polar, 0);
});

test("the pointer reads an asymmetric slanted plane: rows are β, columns are α", async () => {
  const view = mount();
  const plane = (a, b) => a + 10 * b;
  const grid = makeGrid({ rows: 5, columns: 9, halfA: 1, halfB: 2, f: plane, header: { log_ok: false } });
  sendGrid(view.model, grid);
  await painted(view.root);
  view.page.scene.view("home");
  view.page.scene.draw();
  const rect = view.root.querySelector(".lw-box").getBoundingClientRect();
  let hits = 0;
  for (let u = 0.2; u < 0.8; u += 0.05)
    for (let v = 0.1; v < 0.9; v += 0.05) {
      const cursor = view.page.cursorAt(rect.left + u * rect.width, rect.top + v * rect.height);
      if (!cursor) continue;
      hits += 1;
      expect(cursor.at.loss).toBeCloseTo(plane(cursor.at.alpha, cursor.at.beta), 4);
      expect(cursor.loss).toBeCloseTo(plane(cursor.alpha, cursor.beta), 4);
      expect(cursor.alpha).toBe(grid.header.alphas[cursor.column]);
      expect(cursor.beta).toBe(grid.header.betas[cursor.row]);
      expect(Math.abs(cursor.at.alpha - cursor.alpha)).toBeLessThanOrEqual(0.125 + 1e-9);
      expect(Math.abs(cursor.at.beta - cursor.beta)).toBeLessThanOrEqual(0.5 + 1e-9);
    }
  expect(hits).toBeGreaterThan(40);
});

test("from above the pointer finds α to the right and β upwards", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 5, halfA: 1, halfB: 1, f: () => 1 }));
  await painted(view.root);
  view.page.scene.view("top");
  view.page.scene.draw();
  const rect = view.root.querySelector(".lw-box").getBoundingClientRect();
  const at = (dx, dy) => view.page.cursorAt(rect.left + rect.width / 2 + dx, rect.top + rect.height / 2 - dy);
  expect(at(90, 0).at.alpha).toBeGreaterThan(at(0, 0).at.alpha + 0.2);
  expect(at(90, 0).at.beta).toBeCloseTo(at(0, 0).at.beta, 2);
  expect(at(0, 90).at.beta).toBeGreaterThan(at(0, 0).at.beta + 0.2);
});

test("moving the pointer over the surface shows α, β, loss and how it is known", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9, stateOf: () => 1 }));
  await painted(view.root);
  const canvas = view.root.querySelector(".lw-canvas");
  const rect = canvas.getBoundingClientRect();
  const [clientX, clientY] = [rect.left + rect.width / 2, rect.top + rect.height / 2];
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
  const readout = view.root.querySelector(".lw-readout");
  await until(() => expect(readout.hidden).toBe(false));
  expect(readout.textContent).toMatch(/α .+ β .+ loss .+predicted/);
  expect(view.root.querySelector(".lw-cursor").hidden).toBe(false);
  canvas.dispatchEvent(new PointerEvent("pointerleave"));
  await until(() => expect(readout.hidden).toBe(true));
});

test("caption, error, height and the table of critical points", async () => {
  const view = mount({ error: "expected a finite loss, got nan", height: 320 });
  sendGrid(view.model, makeGrid({ header: { critical: saddlePoints() } }));
  await painted(view.root);
  expect(view.root.querySelector(".lw-error").textContent).toBe("expected a finite loss, got nan");
  expect(view.root.querySelectorAll(".lw-sentences p").length).toBe(4);
  expect(view.root.querySelector(".lw-box").getBoundingClientRect().height).toBe(320);
  expect(view.root.querySelectorAll(".lw-points tbody tr").length).toBe(3);
  view.model.set("error", "");
  await until(() => expect(view.root.querySelector(".lw-error").hidden).toBe(true));
});

test("wide pages have the controls beside the picture, narrow ones below", async () => {
  const wide = mount({}, { width: 1100 });
  const narrow = mount({}, { width: 480 });
  await until(() => expect(wide.root.classList.contains("lw-wide")).toBe(true));
  const place = ({ root }, name) => root.querySelector(name).getBoundingClientRect();
  expect(place(wide, ".lw-panel").left).toBeGreaterThan(place(wide, ".lw-box").right);
  expect(place(narrow, ".lw-panel").top).toBeGreaterThan(place(narrow, ".lw-box").bottom);
  expect(narrow.root.scrollWidth).toBeLessThanOrEqual(480);
});

test("markup in texts stays text", async () => {
  const view = mount({ caption: ["<img src=x onerror=alert(1)>"], error: "<b>bold</b>" });
  await until(() => expect(view.root.querySelector(".lw-error").textContent).toBe("<b>bold</b>"));
  expect(view.root.querySelector(".lw-sentences img")).toBeNull();
});
