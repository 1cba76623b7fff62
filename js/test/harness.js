// Mount the widget as a host would, and look at what it drew.

import { afterEach, expect, vi } from "vitest";
import { fakeModel } from "../dev/model.js";
import factory from "../src/index.js";
import "../src/style.css";

const mounted = [];

/** One model with one view; `into` may be a shadow root. */
export function mount(traits = {}, { width = 900, into = document.body } = {}) {
  const model = fakeModel(traits);
  const controller = new AbortController();
  const widget = factory();
  widget.initialize({ model, signal: controller.signal });
  const el = document.createElement("div");
  el.style.width = `${width}px`;
  into.append(el);
  widget.render({ model, el, signal: controller.signal });
  const root = el.querySelector(".lw");
  const result = {
    model,
    el,
    root,
    widget,
    page: root.landscapeWidget,
    control: (name) => root.querySelector(`[data-control="${name}"]`),
    end: () => {
      controller.abort();
      el.remove();
    },
  };
  mounted.push(result);
  return result;
}

afterEach(() => {
  for (const { end } of mounted.splice(0)) end();
  document.body.className = "";
});

/** Resolves when an assertion holds; the limit is generous, because software rendering on a busy machine is slow. */
export const until = (assertion) => vi.waitFor(assertion, { timeout: 20_000, interval: 20 });

/** Resolves when a frame of this epoch with at least one triangle was painted. */
export const painted = (root, epoch = 0) => until(() => expect(root.dataset.painted).toBe(String(epoch)));

/** The pixels of a frame drawn now: RGBA bytes, rows from the bottom. */
export function pixels({ page }) {
  page.scene.draw();
  const gl = page.renderer.getContext();
  const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
  const data = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  return { data, width, height };
}

/** How many pixels the surface covers: the lines of the box are never opaque. */
export function covered(view) {
  const { data } = pixels(view);
  let count = 0;
  for (let k = 3; k < data.length; k += 4) if (data[k] > 250) count += 1;
  return count;
}

/** How many pixels differ between two frames of one size. */
export function differing(a, b) {
  let count = 0;
  for (let k = 0; k < a.data.length; k += 4) {
    const far =
      Math.abs(a.data[k] - b.data[k]) +
      Math.abs(a.data[k + 1] - b.data[k + 1]) +
      Math.abs(a.data[k + 2] - b.data[k + 2]);
    if (far > 12) count += 1;
  }
  return count;
}

/** Set a native input as a user would. */
export function slide(input, value) {
  input.value = String(value);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

/** After the page's microtask has brought the controls up to date. */
export const settle = () => Promise.resolve().then(() => Promise.resolve());
