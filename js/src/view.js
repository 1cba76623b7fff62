// One view: the box with the picture, what surrounds it, and who is told when something changes.

/** @import { Grid, Look, Scale, State } from "./types" */
import { createCaption } from "./caption.js";
import { createColorbar } from "./colorbar.js";
import { createControls } from "./controls.js";
import { h, setText } from "./dom.js";
import { createHeatmap } from "./heatmap.js";
import { formatValue } from "./numbers.js";
import { createReadout } from "./readout.js";
import { COMPACT, createScene } from "./scene.js";
import { createStatus, statusText } from "./status.js";
import { followTheme } from "./theme.js";

/** From this width on the controls stand beside the picture. */
const WIDE = 820;

/**
 * @param {object} options
 * @param {State} options.state
 * @param {HTMLElement} options.el
 */
export function createView({ state, el }) {
  const ending = new AbortController();
  const { signal } = ending;

  const holder = h("div", {
    class: "lw-canvas",
    tabindex: 0,
    role: "img",
    "aria-label": "loss surface, nothing measured yet",
    "data-lm-suppress-shortcuts": "true",
  });
  const empty = h("div", { class: "lw-empty" }, h("div", { class: "lw-empty-art", "aria-hidden": "true" }), h("p", {}));
  const box = h("div", { class: "lw-box" }, holder, empty);
  const error = h("div", { class: "lw-error", role: "alert", hidden: true });
  const root = h("div", { class: "lw", "data-lm-suppress-shortcuts": "true" });

  // Keys belong to us while the focus is inside: JupyterLab would delete cells on `d d`. Escape leaves, so that nobody is trapped.
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
      else if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    },
    { signal },
  );

  /** @type {Parameters<typeof createScene>[0]} */
  const options = {
    box,
    holder,
    signal,
    onpaint({ grid, scale, triangles }) {
      if (grid && scale) {
        colorbar.update(scale, look().colormap, grid.states);
        describe(grid, scale);
      }
      if (grid && triangles > 0) root.dataset.painted = String(grid.header.epoch);
      readout.refresh();
    },
    onfail() {
      // Without WebGL the same data are shown as a flat map, with the same controls.
      scene.dispose();
      root.dataset.flat = "";
      scene = createHeatmap(options);
      show();
    },
  };
  /** @type {ReturnType<typeof createScene> | ReturnType<typeof createHeatmap>} */
  let scene = createScene(options);

  const colorbar = createColorbar();
  const readout = createReadout({
    element: holder,
    cursorAt: (x, y) => scene.cursorAt(x, y),
    onmove: (cursor) => scene.setCursor(cursor),
    signal,
  });
  const controls = createControls({ state, onview: (view) => scene.view(view), signal });
  const status = createStatus({ state, signal });
  const caption = createCaption({ state });
  box.append(colorbar.object, readout.object);
  root.append(h("div", { class: "lw-stage" }, error, box, status.object, caption.object), controls.object);
  el.append(root);

  /** @returns {Look} */
  const look = () => ({
    log: Boolean(state.get("log_scale")) && (state.grid?.header.log_ok ?? true),
    colormap: state.get("colormap") ?? "viridis",
    contours: Boolean(state.get("contours")),
    saddles: state.get("saddles") ?? 0,
  });

  function show() {
    scene.setTheme(theme.current);
    scene.setLook(look());
    scene.setGrid(state.grid);
  }

  // Everything that is not drawn by the scene. Several traits often change together: once per batch is enough.
  let queued = false;
  function schedule() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      if (!signal.aborted) refresh();
    });
  }

  function refresh() {
    const header = state.grid?.header;
    controls.update();
    status.update();
    caption.update();
    box.style.height = `${state.get("height") ?? 460}px`;
    const message = state.get("error") || state.fault;
    setText(error, message);
    error.hidden = !message;
    empty.hidden = Boolean(header);
    setText(/** @type {Element} */ (empty.lastElementChild), statusText(state));

    // What tests and other scripts may rely on.
    Object.assign(root.dataset, {
      status: state.get("status") ?? "",
      live: String(Boolean(state.get("live"))),
      resolution: String(state.get("resolution") ?? ""),
      epoch: String(header?.epoch ?? -1),
      seq: String(header?.seq ?? -1),
      measured: String(header?.measured ?? 0),
      cells: String(header?.cells ?? 0),
    });
  }

  /** The picture in one sentence. @param {Grid} grid @param {Scale} scale */
  function describe({ header, columns, rows }, { log, min, max }) {
    /** @param {number} value */
    const loss = (value) => formatValue(log ? 10 ** value : (header.center_loss ?? 0) + value);
    const saddles = header.critical.filter(({ kind }) => kind.includes("saddle")).length;
    const name = [
      `loss surface, ${columns} by ${rows} cells, ${header.measured} measured`,
      `lowest ${loss(min)}, highest ${loss(max)}`,
      `${saddles} ${saddles === 1 ? "saddle" : "saddles"} in this slice. Arrow keys turn it, plus and minus zoom, Home resets the view.`,
    ].join(", ");
    if (holder.getAttribute("aria-label") !== name) holder.setAttribute("aria-label", name);
  }

  holder.addEventListener("focus", () => holder.setAttribute("role", "application"), { signal });
  holder.addEventListener("blur", () => holder.setAttribute("role", "img"), { signal });

  const detach = state.attach();
  const unsubscribe = state.subscribe((event) => {
    if (event.kind === "grid") {
      scene.setLook(look());
      scene.setGrid(state.grid);
    } else if (event.kind === "patch") scene.patch(event.indices);
    else if (event.kind === "trait" && ["log_scale", "colormap", "contours", "saddles"].includes(event.name))
      scene.setLook(look());
    schedule();
  });

  const theme = followTheme({ root, signal, onchange: (next) => scene.setTheme(next) });

  // Hosts attach the element after `render`: only then are its width and what lies behind it known, and this observer is called.
  // Changing the layout in it
  // would change the very size it observes, which browsers report as an error.
  let arranging = 0;
  function arrange() {
    arranging = 0;
    const { clientWidth } = root;
    root.classList.toggle("lw-wide", clientWidth >= WIDE);
    root.classList.toggle("lw-narrow", clientWidth < COMPACT);
  }
  arrange();
  const width = new ResizeObserver(() => {
    theme.check();
    arranging ||= requestAnimationFrame(arrange);
  });
  width.observe(root);

  refresh();
  show();

  Object.assign(root, {
    landscapeWidget: {
      state,
      get scene() {
        return scene;
      },
      get camera() {
        return scene.camera.position.toArray();
      },
      get renderer() {
        return scene.renderer;
      },
      get theme() {
        return theme.current;
      },
      cursorAt: (/** @type {number} */ x, /** @type {number} */ y) => scene.cursorAt(x, y),
    },
  });

  return {
    root,
    dispose() {
      if (signal.aborted) return;
      ending.abort();
      detach();
      unsubscribe();
      width.disconnect();
      cancelAnimationFrame(arranging);
      scene.dispose();
      root.remove();
    },
  };
}
