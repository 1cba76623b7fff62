import { expect, test, vi } from "vitest";
import { fakeModel, makeGrid, sendGrid } from "../dev/model.js";
import factory from "../src/index.js";
import { tenants } from "../src/pool.js";
import { covered, mount, painted, until } from "./harness.js";

const lost = (context) => context.isContextLost();

test("the end of a view gives back its context and its listeners", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  const context = view.page.renderer.getContext();
  expect(lost(context)).toBe(false);
  view.end();
  await until(() => expect(lost(context)).toBe(true));
  expect(view.model.listeners()).toBe(0);
  expect(tenants().size).toBe(0);
  expect(document.querySelector(".lw")).toBeNull();
});

test("hosts without a signal end a view by the function that render returned", async () => {
  const model = fakeModel();
  const widget = factory();
  const endModel = widget.initialize({ model });
  const el = document.createElement("div");
  document.body.append(el);
  const endView = widget.render({ model, el });
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(el.firstChild);
  endView();
  expect(el.childElementCount).toBe(0);
  expect(tenants().size).toBe(0);
  endModel();
  expect(model.listeners()).toBe(0);
  el.remove();
});

test("a host that skips initialize gets a state all the same", async () => {
  const model = fakeModel();
  const el = document.createElement("div");
  document.body.append(el);
  const controller = new AbortController();
  factory().render({ model, el, signal: controller.signal });
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(el.firstChild);
  controller.abort();
  el.remove();
});

test("two views of one model show the same", async () => {
  const view = mount();
  const el = document.createElement("div");
  document.body.append(el);
  const end = view.widget.render({ model: view.model, el });
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  await painted(el.firstChild);
  expect(el.firstChild.landscapeWidget.state).toBe(view.page.state);
  end();
  expect(covered(view)).toBeGreaterThan(1000);
  el.remove();
});

test("thirty re-runs leave nothing behind", async () => {
  for (let round = 0; round < 30; round++) {
    const view = mount({}, { width: 300 });
    sendGrid(view.model, makeGrid({ rows: 5, columns: 5 }));
    view.page.scene.draw();
    view.end();
    expect(view.model.listeners()).toBe(0);
  }
  expect(tenants().size).toBe(0);
});

test("twenty widgets: at most eight live contexts, and none is blank", async () => {
  const views = Array.from({ length: 20 }, () => mount({ height: 120 }, { width: 320 }));
  for (const view of views) sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  for (const view of views) {
    await painted(view.root);
    expect(tenants().size).toBeLessThanOrEqual(8);
  }
  const live = views.filter(({ page }) => page.renderer);
  expect(live.length).toBe(8);
  for (const { page } of live) expect(lost(page.renderer.getContext())).toBe(false);

  // The others show a still, which is a picture and not an empty sheet.
  for (const view of views.filter(({ page }) => !page.renderer)) {
    const still = view.root.querySelector(".lw-still");
    await still.decode();
    const canvas = new OffscreenCanvas(still.naturalWidth, still.naturalHeight);
    const context = canvas.getContext("2d");
    context.drawImage(still, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    expect(data.filter((value, k) => k % 4 === 3 && value > 250).length).toBeGreaterThan(500);
  }

  // A pointer brings one back; somebody else leaves.
  const sleeping = views.find(({ page }) => !page.renderer);
  sleeping.root.querySelector(".lw-canvas").dispatchEvent(new PointerEvent("pointerenter"));
  await until(() => expect(sleeping.page.renderer).not.toBeNull());
  expect(sleeping.root.querySelector(".lw-still")).toBeNull();
  expect(covered(sleeping)).toBeGreaterThan(500);
  expect(tenants().size).toBe(8);
});

test("a context that the browser takes away is taken anew", async () => {
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 17, columns: 17 }));
  await painted(view.root);
  const before = covered(view);
  const first = view.page.renderer;
  first.getContext().getExtension("WEBGL_lose_context").loseContext();
  await until(() => expect(view.page.renderer !== null && view.page.renderer !== first).toBe(true));
  expect(covered(view)).toBe(before);
});

test("without WebGL the landscape is a flat map with the same controls", async () => {
  const original = HTMLCanvasElement.prototype.getContext;
  const stub = vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockImplementation(function (kind, ...rest) {
    return kind.startsWith("webgl") ? null : original.call(this, kind, ...rest);
  });
  const view = mount();
  sendGrid(view.model, makeGrid({ rows: 17, columns: 33, f: (a, b) => a + 10 * b, header: { log_ok: false } }));
  await painted(view.root);
  stub.mockRestore();
  expect(view.root.dataset.flat).toBe("");
  const canvas = view.root.querySelector("canvas.lw-flat");
  const shot = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colored = shot().filter((value, k) => k % 4 === 3 && value === 255).length;
  expect(colored).toBeGreaterThan(50_000);

  const rect = canvas.getBoundingClientRect();
  const low = view.page.cursorAt(rect.left + rect.width / 2, rect.bottom - 80);
  const high = view.page.cursorAt(rect.left + rect.width / 2, rect.top + 40);
  expect(high.beta).toBeGreaterThan(low.beta);
  expect(high.loss).toBeCloseTo(high.alpha + 10 * high.beta, 4);

  const before = shot();
  view.control("contours").click();
  view.page.scene.draw();
  expect(shot()).not.toEqual(before);
});
