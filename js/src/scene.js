// The picture in a box: surface, axes and marks, drawn on demand, in a graphics context that may come and go.
//
// A context is taken for the first frame and given back when others need it: then a still stands in, and the next change, or a
// pointer over it, takes a context again. Camera, geometry and labels do not notice.

/** @import { Cursor, Grid, Look, Scale, Theme } from "./types" */
import { Scene, Vector3 } from "three";
import { createAxes } from "./axes.js";
import { createCamera } from "./camera.js";
import { createContext } from "./context.js";
import { createLabels } from "./labels.js";
import { createMarkers, marksOf } from "./markers.js";
import { isDrawable } from "./mesh.js";
import { pick } from "./pick.js";
import { coordinateAt, lossAt } from "./reading.js";
import { createScale, isKnown } from "./scale.js";
import { createSurface, LIFT } from "./surface.js";

/** A box narrower than this gets fewer ticks and short titles. */
export const COMPACT = 560;

/** Off the screen one frame a second is enough to keep the still true. */
const UNSEEN = 1000;

/**
 * @param {object} options
 * @param {HTMLElement} options.box
 * @param {HTMLElement} options.holder takes the focus, the pointer and the canvas
 * @param {(painted: { grid: Grid | null, scale: Scale | null, triangles: number }) => void} options.onpaint
 * @param {() => void} options.onfail there is no WebGL
 * @param {AbortSignal} options.signal
 */
export function createScene({ box, holder, onpaint, onfail, signal }) {
  const scene = new Scene();
  const surface = createSurface();
  const axes = createAxes();
  const labels = createLabels();
  const markers = createMarkers();
  box.append(labels.object, markers.object);

  /** @type {Grid | null} */
  let grid = null;
  /** @type {Grid | null} */
  let coming = null;
  /** @type {Scale | null} */
  let scale = null;
  /** @type {Look} */
  let look = { log: false, colormap: "viridis", contours: true, saddles: 0 };
  /** @type {Cursor | null} */
  let cursor = null;
  const size = { width: 0, height: 0 };
  const dirty = { fresh: false, first: Infinity, last: -1, axes: false };
  let visible = true;
  let painted = false;
  let frame = 0;
  let ended = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;

  const view = createCamera({ element: holder, onchange: invalidate, signal });
  scene.add(axes.object, surface.object);

  /** Ask for one frame; many wishes make one frame. */
  function invalidate() {
    if (ended || frame || later) return;
    if (visible || !painted) frame = requestAnimationFrame(draw);
    else later = setTimeout(draw, UNSEEN);
  }

  const context = createContext({
    holder,
    size,
    visible: () => visible,
    // The shaders are compiled beside the script, while the kernel measures the first cells.
    prepare: (renderer) => renderer.compile(scene, view.camera),
    paint: (renderer) => renderer.render(scene, view.camera),
    onrelease() {
      surface.dispose();
      axes.dispose();
    },
    onlost(again) {
      if (again) invalidate();
      else box.dataset.lost = "";
    },
  });

  /** @param {Grid | null} next */
  function adopt(next) {
    grid = next;
    cursor = null;
    dirty.fresh = true;
    dirty.axes = true;
    invalidate();
  }

  /** Bring the drawables up to date with the data. Until then the lattice and the grid may not fit together: `dirty.fresh`. */
  function refreshData() {
    if (!grid || (dirty.last < dirty.first && !dirty.axes)) return;
    const log = scale?.log;
    scale = createScale(grid, look.log);

    // Another scale means other heights everywhere.
    if (dirty.fresh || scale.log !== log) Object.assign(dirty, { first: 0, last: grid.rows - 1 });
    surface.update({ grid, scale, fresh: dirty.fresh, first: dirty.first, last: dirty.last });
    axes.update(grid, scale, { compact: size.width < COMPACT });
    markers.update(marksOf(grid, look.saddles > 0));
    Object.assign(dirty, { fresh: false, first: Infinity, last: -1, axes: false });
  }

  function draw() {
    cancelAnimationFrame(frame);
    clearTimeout(later);
    frame = 0;
    later = undefined;
    if (ended || size.width === 0 || size.height === 0) return;
    refreshData();
    const renderer = context.acquire();
    if (!renderer) {
      onfail();
      return;
    }
    surface.dress(look, context.pixelRatio());
    axes.turn(view.camera);
    renderer.render(scene, view.camera);
    labels.update(axes.labels(view.camera, size, labels.measure), size);
    placeMarks();
    if (surface.lattice.triangles > 0) painted = true;
    onpaint({ grid, scale, triangles: surface.lattice.triangles });
  }

  const scratch = new Vector3();

  /** @param {number} row @param {number} column @returns {[number, number, number]} */
  function pointAt(row, column) {
    const { xs, ys } = surface.lattice;
    const { min, max, values } = /** @type {Scale} */ (scale);
    const index = row * xs.length + column;
    return [xs[column], (LIFT * (values[index] - min)) / (max - min), -ys[row]];
  }

  /** @param {[number, number, number]} point */
  function toPixels(point) {
    scratch.set(...point).project(view.camera);
    return { x: ((scratch.x + 1) / 2) * size.width, y: ((1 - scratch.y) / 2) * size.height };
  }

  function placeMarks() {
    markers.place(({ row, column }) => {
      if (!grid || !scale || dirty.fresh || !isKnown(grid.states[row * grid.columns + column])) return null;
      const point = pointAt(row, column);
      const eye = view.camera.position;
      const hit = cast([eye.x, -eye.z, eye.y], [point[0] - eye.x, eye.z - point[2], point[1] - eye.y]);
      return { ...toPixels(point), hidden: hit !== null && hit.distance < 0.985 };
    });
    markers.point(cursor && scale && !dirty.fresh ? toPixels(pointAt(cursor.row, cursor.column)) : null);
  }

  /** @param {[number, number, number]} origin @param {[number, number, number]} direction */
  function cast(origin, direction) {
    if (!grid || !scale || dirty.fresh || surface.lattice.triangles === 0) return null;
    const { min, max, values } = scale;
    const { xs, ys, strides } = surface.lattice;
    return pick({
      origin,
      direction,
      xs,
      ys,
      strides,
      elevation: (index) => (LIFT * (values[index] - min)) / (max - min),
      span: [0, LIFT],
    });
  }

  const observer = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = box;
    if (width === 0 || height === 0 || (width === size.width && height === size.height)) return;
    Object.assign(size, { width, height });
    view.resize(width, height);
    context.resize();
    dirty.axes = true;

    // A canvas whose size was set is blank: draw in the same task, or it would flicker.
    if (context.renderer) draw();
    else invalidate();
  });
  observer.observe(box);

  const sight = new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible && later) draw();
  });
  sight.observe(box);

  // Somebody points at it, so it is seen, whatever the observer has told so far.
  function revive() {
    if (context.renderer || ended) return;
    delete box.dataset.lost;
    frame ||= requestAnimationFrame(draw);
  }
  for (const event of ["pointerenter", "pointerdown", "focus"]) holder.addEventListener(event, revive, { signal });

  return {
    camera: view.camera,
    view: view.view,
    invalidate,
    draw,
    get renderer() {
      return context.renderer;
    },
    get scale() {
      return scale;
    },
    get triangles() {
      return surface.lattice.triangles;
    },

    /**
     * Another grid: everything is new but the camera.
     *
     * Until its first cells are there the present picture stays, faintly: an empty box would blink at each move of a slider.
     *
     * @param {Grid | null} next
     */
    setGrid(next) {
      const wait = next !== null && grid !== null && surface.lattice.triangles > 0 && !isDrawable(next);
      coming = wait ? next : null;
      box.toggleAttribute("data-waiting", wait);
      if (!wait) adopt(next);
    },

    /** Some cells of the grid changed. @param {Uint32Array} indices */
    patch(indices) {
      if (coming) {
        this.setGrid(coming);
        return;
      }
      if (!grid) return;
      for (const index of indices) {
        const row = Math.floor(index / grid.columns);
        if (row < dirty.first) dirty.first = row;
        if (row > dirty.last) dirty.last = row;
      }
      dirty.axes = true;
      invalidate();
    },

    /** @param {Look} next */
    setLook(next) {
      look = next;
      dirty.axes = true;
      invalidate();
    },

    /** @param {Theme} theme */
    setTheme(theme) {
      axes.dress({ color: theme.foreground });
      labels.forget();
      invalidate();
    },

    /** @param {Cursor | null} next */
    setCursor(next) {
      cursor = next;
      if (scale) placeMarks();
    },

    /**
     * The surface under a point of the window.
     *
     * @param {number} clientX
     * @param {number} clientY
     * @returns {Cursor | null}
     */
    cursorAt(clientX, clientY) {
      if (!grid || !scale) return null;
      const rect = box.getBoundingClientRect();
      scratch.set((2 * (clientX - rect.left)) / rect.width - 1, 1 - (2 * (clientY - rect.top)) / rect.height, 0.5);
      scratch.unproject(view.camera);
      const eye = view.camera.position;
      const hit = cast([eye.x, -eye.z, eye.y], [scratch.x - eye.x, eye.z - scratch.z, scratch.y - eye.y]);
      if (!hit) return null;

      const { header, columns, states } = grid;
      const { row, column, point } = hit;
      const { min, max, log } = scale;
      const value = min + (point[2] / LIFT) * (max - min);
      return {
        alpha: header.alphas[column],
        beta: header.betas[row],
        loss: lossAt(grid, row * columns + column),
        row,
        column,
        state: states[row * columns + column],
        point: [point[0], point[2], -point[1]],
        at: {
          alpha: coordinateAt(header.alphas, point[0]),
          beta: coordinateAt(header.betas, point[1]),
          loss: log ? 10 ** value : header.center_loss === null ? null : header.center_loss + value,
        },
      };
    },

    dispose() {
      if (ended) return;
      ended = true;
      cancelAnimationFrame(frame);
      clearTimeout(later);
      observer.disconnect();
      sight.disconnect();
      context.dispose();
      surface.dispose();
      axes.dispose();
      labels.dispose();
      markers.dispose();
      view.dispose();
    },
  };
}
