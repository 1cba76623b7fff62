import { expect, test } from "vitest";
import { userEvent } from "vitest/browser";
import { makeGrid, sendGrid } from "../dev/model.js";
import { mount, painted } from "./harness.js";

function listen(type = "keydown") {
  const heard = [];
  const listener = (event) => heard.push(event.key);
  document.body.addEventListener(type, listener);
  return { heard, end: () => document.body.removeEventListener(type, listener) };
}

test("keys stay inside; Escape and shortcuts with Ctrl go on to the notebook", async () => {
  const { root } = mount();
  const { heard, end } = listen();
  const canvas = root.querySelector(".lw-canvas");
  canvas.focus();
  await userEvent.keyboard("dd{ArrowUp}");
  expect(heard).toEqual([]);
  await userEvent.keyboard("{Control>}s{/Control}");
  expect(heard).toContain("s");
  await userEvent.keyboard("{Escape}");
  expect(heard.at(-1)).toBe("Escape");
  expect(document.activeElement).not.toBe(canvas);
  end();
});

test("every focusable element carries JupyterLab's mark", () => {
  const { root } = mount();
  const focusable = root.querySelectorAll("button, input, select, summary, [tabindex]");
  expect(focusable.length).toBeGreaterThan(15);
  for (const element of focusable) expect(element.dataset.lmSuppressShortcuts, element.outerHTML).toBe("true");
});

test("arrows turn, plus and minus zoom, Home resets", async () => {
  const { root, page, model } = mount();
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(root);
  root.querySelector(".lw-canvas").focus();
  const home = page.camera;
  const azimuth = () => Math.atan2(page.camera[0], page.camera[2]);
  const start = azimuth();
  await userEvent.keyboard("{ArrowRight}");
  expect(azimuth()).toBeGreaterThan(start);
  const height = page.camera[1];
  await userEvent.keyboard("{ArrowUp}");
  expect(page.camera[1]).toBeGreaterThan(height);
  const far = Math.hypot(...page.camera);
  await userEvent.keyboard("+++");
  expect(Math.hypot(...page.camera)).toBeLessThan(far);
  await userEvent.keyboard("{Home}");
  expect(page.camera).toEqual(home.map((value) => expect.closeTo(value, 6)));
});

test("the arrow keys move a slider", async () => {
  const view = mount();
  const slider = view.control("resolution");
  slider.focus();
  await userEvent.keyboard("{ArrowLeft}");
  expect(view.page.state.get("resolution")).toBe(33);
});

test("a click takes the focus, a drag turns and keeps the distance", async () => {
  const { root, page, model } = mount();
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(root);
  const canvas = root.querySelector(".lw-canvas");
  await userEvent.click(canvas);
  expect(document.activeElement).toBe(canvas);
  const [x, y, z] = page.camera;
  await userEvent.dragAndDrop(canvas, root.querySelector(".lw-panel"));
  expect(page.camera).not.toEqual([x, y, z]);
  const [u, v, w] = page.camera;
  expect(Math.hypot(u, v - 0.14, w)).toBeCloseTo(Math.hypot(x, y - 0.14, z), 4);
});

test("the wheel scrolls the page until the picture has the focus", async () => {
  const { root } = mount();
  const canvas = root.querySelector(".lw-canvas");
  const wheel = (options) => {
    const event = new WheelEvent("wheel", { deltaY: 40, bubbles: true, cancelable: true, ...options });
    canvas.dispatchEvent(event);
    return event.defaultPrevented;
  };
  expect(wheel()).toBe(false);
  expect(wheel({ ctrlKey: true })).toBe(true);
  canvas.focus();
  expect(wheel()).toBe(true);
  canvas.blur();
  expect(wheel()).toBe(false);
});
