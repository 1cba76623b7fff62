// The graphics context of one view: taken when there is something to draw, given back when others need it, survived when lost.
//
// While there is none, a still of the last frame stands in its place.

import { WebGLRenderer } from "three";
import { h } from "./dom.js";
import { enter, leave } from "./pool.js";

/** How often a context that was lost without our doing is taken again at once. */
const RETRIES = 3;

/** @type {WebGLContextAttributes} */
const ATTRIBUTES = { alpha: true, antialias: true, depth: true, powerPreference: "default" };

/** More than two pixels per point cost much and show little. */
const pixelRatio = () => Math.min(devicePixelRatio, 2);

/**
 * @param {object} options
 * @param {HTMLElement} options.holder of the canvas
 * @param {{ width: number, height: number }} options.size
 * @param {() => boolean} options.visible is the view on the screen?
 * @param {(renderer: WebGLRenderer) => void} options.prepare a new context: what takes long can begin
 * @param {(renderer: WebGLRenderer) => void} options.paint
 * @param {() => void} options.onrelease everything on the graphics card must be freed
 * @param {(again: boolean) => void} options.onlost the browser took the context; draw again, or wait for somebody to ask?
 */
export function createContext({ holder, size, visible, prepare, paint, onrelease, onlost }) {
  /** @type {WebGLRenderer | null} */
  let renderer = null;
  /** @type {HTMLImageElement | null} */
  let still = null;
  let losses = 0;
  const tenant = { used: 0, visible, evict: () => release(true) };

  /** @returns {WebGLRenderer | null} null where there is no WebGL */
  function acquire() {
    tenant.used = performance.now();
    if (renderer) return renderer;
    enter(tenant);
    const canvas = h("canvas", { "aria-hidden": "true" });
    Object.assign(canvas, pixels());
    const context = canvas.getContext("webgl2", ATTRIBUTES);
    if (!context) {
      leave(tenant);
      return null;
    }
    renderer = new WebGLRenderer({ canvas, context });
    renderer.setClearAlpha(0);
    prepare(renderer);
    canvas.addEventListener("webglcontextlost", lost);
    holder.append(canvas);
    still?.remove();
    still = null;
    return renderer;
  }

  // Nothing can be read from a lost context, so there is no still. Start anew, unless that keeps happening.
  /** @param {Event} event */
  function lost(event) {
    event.preventDefault();
    release(false);
    losses += 1;
    onlost(losses <= RETRIES);
  }

  /** Give the context back. @param {boolean} keep leave a still of the present frame */
  function release(keep) {
    if (!renderer) return;
    const canvas = renderer.domElement;

    // The picture can be read only in the task in which it was drawn.
    if (keep) {
      paint(renderer);
      still = h("img", { class: "lw-still", alt: "", draggable: "false", src: canvas.toDataURL() });
      holder.append(still);
    }
    canvas.removeEventListener("webglcontextlost", lost);
    canvas.remove();
    onrelease();
    renderer.dispose();

    // Without this the browser counts the context until the canvas is garbage.
    if (!renderer.getContext().isContextLost()) renderer.forceContextLoss();
    renderer = null;
    leave(tenant);
  }

  /** Size of the canvas in pixels of the screen. */
  function pixels() {
    const ratio = pixelRatio();
    return { width: Math.floor(size.width * ratio), height: Math.floor(size.height * ratio) };
  }

  // Setting a canvas's size makes a new drawing buffer, even the same size: a quarter of a second in software rendering.
  function resize() {
    if (!renderer) return;
    const { width, height } = pixels();
    const { domElement } = renderer;
    if (domElement.width !== width || domElement.height !== height) renderer.setSize(width, height, false);
  }

  return {
    acquire,
    resize,
    pixelRatio,
    get renderer() {
      return renderer;
    },
    dispose() {
      release(false);
      still?.remove();
    },
  };
}
