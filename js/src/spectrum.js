// The spectrum strip: where the Hessian's eigenvalues lie, and two handles on it. Choosing a direction is pointing at an eigenvalue.

/** @import { Axis } from "./directions.js" */
/** @import { Layout } from "./spectrum-layout.js" */
/** @import { Spectrum, State } from "./types" */
import { saddleTint } from "./colors.js";
import { catalogOf, choose, chosen, otherOf } from "./directions.js";
import { h } from "./dom.js";
import { formatValue } from "./numbers.js";
import { createHandle } from "./spectrum-handle.js";
import { layoutOf, ROWS } from "./spectrum-layout.js";
import { createNumbers } from "./spectrum-numbers.js";
import { createPlot, legendOf } from "./spectrum-plot.js";

const READ_ONLY = "No engine behind this picture: another direction cannot be measured.";

/**
 * @param {object} options
 * @param {State} options.state
 * @param {AbortSignal} options.signal
 */
export function createSpectrum({ state, signal }) {
  const plot = createPlot();
  const numbers = createNumbers();
  const message = h("p", { class: "lw-strip-message", hidden: true }, "The eigenvalues of the Hessian appear here.");
  const legend = h("div", { class: "lw-strip-legend" });
  /** @type {Layout} */
  let layout = layoutOf({ entries: [], spectrum: {}, width: 0 });
  /** @type {{ mine: string, others: string } | undefined} */
  let dragFrom;

  /** @type {Axis[]} */
  const axes = ["direction_x", "direction_y"];
  const handles = axes.map((axis) =>
    createHandle({
      letter: axis.slice(-1),
      onstart: () => {
        const [mine, others] = [chosen(state, axis)?.key, chosen(state, otherOf(axis))?.key];
        dragFrom = mine !== undefined && others !== undefined ? { mine, others } : undefined;
      },
      ondrag: (clientX) => pick(axis, nearest(clientX, false), dragFrom),
      onchoose: (index) => pick(axis, index),
      signal,
    }),
  );
  const strip = h("div", { class: "lw-strip" }, plot.object, message, ...handles.map(({ object }) => object));
  strip.style.height = `${ROWS.height}px`;
  const object = h(
    "div",
    { class: "lw-spectrum" },
    h("div", { class: "lw-spectrum-inner" }, h("div", { class: "lw-strip-box" }, strip, legend), numbers.object),
  );

  /** @param {Axis} axis @param {number} index @param {{ mine: string, others: string }} [before] */
  function pick(axis, index, before) {
    const key = layout.stops[index]?.entry.key;
    if (key !== undefined && key !== chosen(state, axis)?.key) choose(state, axis, key, before);
  }

  /** The stop nearest to a pointer: on the rail by its place there, on the plot by the eigenvalue. @param {number} clientX @param {boolean} onPlot */
  function nearest(clientX, onPlot) {
    const x = clientX - strip.getBoundingClientRect().left;
    const away = layout.stops.map((stop) => Math.abs((onPlot && stop.tick !== null ? stop.tick : stop.x) - x));
    return away.indexOf(Math.min(...away));
  }

  /** @param {MouseEvent} event */
  const under = ({ clientX, clientY }) => nearest(clientX, clientY - strip.getBoundingClientRect().top >= ROWS.top);
  plot.object.addEventListener("pointermove", (event) => plot.point(layout.stops[under(event)]?.entry.key), { signal });
  plot.object.addEventListener("pointerleave", () => plot.point(undefined), { signal });

  // A tap beside the handles calls the nearer one. A click, not a press: on a touch screen a press may begin a scroll.
  plot.object.addEventListener(
    "click",
    (event) => {
      if (!state.get("live") || layout.stops.length < 2) return;
      const index = under(event);
      const [x, y] = axes.map(
        (axis) => layout.stops.find(({ entry }) => entry.key === chosen(state, axis)?.key)?.x ?? 0,
      );
      const target = layout.stops[index].x;
      const near = Math.abs(target - y) < Math.abs(target - x) ? 1 : 0;
      handles[near].object.focus({ preventScroll: true });
      pick(axes[near], index);
    },
    { signal },
  );

  // The drawing is made for a width, so that lines and letters stay crisp at every size.
  let width = 0;
  let frame = 0;
  const resized = new ResizeObserver(() => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      width = strip.clientWidth;
      update();
    });
  });
  resized.observe(strip);
  signal.addEventListener("abort", () => {
    resized.disconnect();
    cancelAnimationFrame(frame);
  });

  /** Curvatures along chosen directions that have no place on the axis, where the picture knows them. */
  function slopes() {
    const header = state.grid?.header;
    const [a, , c] = header?.curvature ?? [];
    return axes.flatMap((axis, k) => {
      const entry = chosen(state, axis);
      const value = [a, c][k];
      const shown = k === 0 ? header?.x : header?.y;
      if (!header || value === undefined || !entry || entry.curvature !== null || entry.key !== shown?.key) return [];
      return [{ letter: axis.slice(-1), value: value / header.norms[k] ** 2 }];
    });
  }

  /** @type {unknown[]} */
  let before = [];

  function update() {
    const live = Boolean(state.get("live"));
    /** @type {Spectrum} */
    const spectrum = state.get("spectrum") ?? {};
    const entries = catalogOf(state);
    // Asking for a width makes the browser lay out the page, which every patch of the surface would do.
    width ||= strip.clientWidth;
    const keys = axes.map((axis) => chosen(state, axis)?.key);
    const curvatures = slopes();
    const now = [spectrum, entries, width, live, state.get("colormap"), ...keys, JSON.stringify(curvatures)];
    if (now.length === before.length && now.every((value, k) => value === before[k])) return;
    before = now;

    const known = entries.some(({ curvature }) => curvature !== null) || Boolean(spectrum.grid?.length);
    object.hidden = !live && !known && !spectrum.numbers?.length;
    strip.hidden = !live && !known;
    numbers.update(spectrum, live && !spectrum.done);
    if (width === 0) return;

    layout = layoutOf({ entries, spectrum, width });
    const [r, g, b] = saddleTint(state.get("colormap")).map((part) => Math.round(255 * part));
    object.style.setProperty("--lw-tint", `rgb(${r} ${g} ${b})`);
    plot.draw({
      width,
      layout,
      spectrum,
      keys: keys.filter((key) => key !== undefined),
      slopes: curvatures,
      name: described(layout, spectrum),
    });
    for (const [k, handle] of handles.entries())
      handle.update({ stops: layout.stops, key: keys[k], live, reason: READ_ONLY });

    const coming = live && !spectrum.done;
    message.hidden = !live || known;
    message.style.width = `${layout.right}px`;
    legend.replaceChildren(...legendOf({ spectrum, layout, slopes: curvatures, coming }));
  }

  return { object, update };
}

/** The drawing in one sentence. @param {Layout} layout @param {Spectrum} spectrum */
function described({ stops }, { grid, outliers }) {
  const values = stops.filter(({ entry }) => entry.group === "hessian").map(({ entry }) => Number(entry.curvature));
  if (values.length === 0) return "spectrum of the Hessian: no eigenpair known yet";
  const ends = `computed eigenpairs from ${formatValue(Math.min(...values), 3)} to ${formatValue(Math.max(...values), 3)}`;
  const apart = outliers?.length ? `, ${outliers.length} clearly outside the bulk` : "";
  return `spectrum of the Hessian: ${ends}${apart}${grid?.length ? "" : ", density not known yet"}`;
}
