// The controls, in groups that a newcomer finds: directions, resolution, range, saddles, look.
//
// Native inputs throughout: keyboard and screen reader come with them. Each control shows what the state says and sends wishes,
// nothing else; what needs an engine is disabled where there is none.

/** @import { State } from "./types" */
/** @import { Axis } from "./directions.js" */
import { COLORMAPS } from "./colors.js";
import { catalogOf, choose, chosen } from "./directions.js";
import { h, setText } from "./dom.js";
import { unbroken } from "./numbers.js";
import { createSlider } from "./slider.js";
import { createSpectrum } from "./spectrum.js";

const NO_ENGINE = "No engine behind this picture: a saved landscape. What needs one is switched off.";
const ZOOM = [-4, 4];

/** A range factor in words: ×4, ×½. @param {number} zoom */
const factor = (zoom) => (zoom >= 0 ? `× ${2 ** zoom}` : `÷ ${2 ** -zoom}`);

/**
 * @param {object} options
 * @param {State} options.state
 * @param {(name: string) => void} options.onview a named view was asked for
 * @param {AbortSignal} options.signal
 */
export function createControls({ state, onview, signal }) {
  /** @param {string} title @param {...Node} children */
  const group = (title, ...children) => h("fieldset", { class: "lw-group" }, h("legend", {}, title), ...children);

  /** @param {string} text @param {string} name @param {string} hint @param {() => void} action @param {string} [className] */
  function button(text, name, hint, action, className = "lw-button") {
    const element = h(
      "button",
      { type: "button", class: className, title: hint, "data-control": name, "data-lm-suppress-shortcuts": "true" },
      text,
    );
    if (text.toLowerCase() !== name) element.setAttribute("aria-label", name);
    element.addEventListener("click", action, { signal });
    return element;
  }

  /** @param {string} text @param {string} trait @param {string} hint */
  function checkbox(text, trait, hint) {
    const input = h("input", {
      type: "checkbox",
      "aria-label": text.toLowerCase(),
      "data-control": text.toLowerCase(),
      "data-lm-suppress-shortcuts": "true",
    });
    input.addEventListener("change", () => state.want({ [trait]: input.checked }), { signal });
    return { input, object: h("label", { class: "lw-check", title: hint }, input, h("span", {}, text)) };
  }

  /** @param {Axis} axis @param {number} index */
  function chooseAt(axis, index) {
    const entry = catalogOf(state)[index];
    if (entry) choose(state, axis, entry.key);
  }

  const x = createSlider({
    name: "x direction",
    title: "x · α",
    hint: "The direction in weight space along which the horizontal axis runs.",
    oninput: (index) => chooseAt("direction_x", index),
    signal,
  });
  const y = createSlider({
    name: "y direction",
    title: "y · β",
    hint: "The direction in weight space along which the axis into the picture runs.",
    oninput: (index) => chooseAt("direction_y", index),
    signal,
  });
  const spectrum = createSpectrum({ state, signal });
  const resolution = createSlider({
    name: "resolution",
    title: "Grid",
    hint: "Cells along each axis. A finer grid keeps what a coarser one has measured.",
    oninput: (index) => state.want({ resolution: (state.get("resolutions") ?? [])[index] }),
    signal,
  });
  const saddles = createSlider({
    name: "saddle highlighting",
    title: "Highlighting",
    hint: "Tints where the slice bends up one way and down another, and marks its critical points.",
    oninput: (index) => state.want({ saddles: index / 20 }),
    signal,
  });

  /** @param {string} value */
  const frame = (value) => () => state.want({ window: value });
  const close = button("Saddle window", "saddle window", "Close enough to see the dip.", frame("saddle"), "lw-toggle");
  const wide = button("Wide", "wide", "A good part of the length of all the weights.", frame("wide"), "lw-toggle");
  const narrower = button("−", "half the range", "Half the range on both axes.", () => zoomBy(-1), "lw-step");
  const wider = button("+", "twice the range", "Twice the range on both axes.", () => zoomBy(1), "lw-step");
  const zoom = h("span", { class: "lw-zoom" });

  /** @param {number} step */
  function zoomBy(step) {
    state.want({ zoom: Math.min(ZOOM[1], Math.max(ZOOM[0], (state.get("zoom") ?? 0) + step)) });
  }

  const log = checkbox("Log scale", "log_scale", "Heights, colours and contour lines by the logarithm of the loss.");
  const contours = checkbox("Contours", "contours", "Lines of equal loss.");
  const colormap = h(
    "select",
    { "aria-label": "colormap", "data-control": "colormap", "data-lm-suppress-shortcuts": "true" },
    ...COLORMAPS.map((name) => h("option", { value: name }, name)),
  );
  colormap.addEventListener("change", () => state.want({ colormap: colormap.value }), { signal });
  const views = ["home", "top", "front", "side"].map((name) =>
    button(
      name[0].toUpperCase() + name.slice(1),
      name,
      `Look from: ${name}.`,
      () => onview(name),
      "lw-button lw-small",
    ),
  );

  const note = h("p", { class: "lw-note", hidden: true }, NO_ENGINE);
  const ranges = h(
    "div",
    { class: "lw-row" },
    h("div", { class: "lw-segments", role: "group", "aria-label": "window" }, close, wide),
    h("div", { class: "lw-stepper", role: "group", "aria-label": "range" }, narrower, zoom, wider),
  );
  const object = h(
    "div",
    { class: "lw-panel" },
    note,
    group("Directions", spectrum.object, h("div", { class: "lw-pair" }, x.object, y.object)),
    group("Resolution", resolution.object),
    group("Range", ranges),
    group("Saddles", saddles.object),
    group(
      "Look",
      h(
        "div",
        { class: "lw-row" },
        log.object,
        contours.object,
        h("label", { class: "lw-select" }, h("span", { "aria-hidden": "true" }, "Colors"), colormap),
      ),
      h("div", { class: "lw-row lw-views", role: "group", "aria-label": "camera" }, ...views),
    ),
  );

  /** @param {ReturnType<typeof createSlider>} slider @param {Axis} axis @param {boolean} live */
  function showDirection(slider, axis, live) {
    const entries = catalogOf(state);
    const entry = chosen(state, axis);
    const index = entries.findIndex(({ key }) => key === entry?.key);
    const text = entry?.label ?? "not known yet";
    const note = entry?.preliminary ? "still sharpening" : entry?.converged === false ? "not converged" : "";
    slider.update({
      index: Math.max(0, index),
      count: entries.length,
      text: unbroken(text),
      spoken: text,
      note: text.includes(note) ? "" : note,
      ticks: thin(entries.map(({ symbol }) => symbol)),
      disabled: !live,
    });
    slider.object.title = entry?.help || slider.object.title;
  }

  return {
    object,

    update() {
      const live = Boolean(state.get("live"));
      note.hidden = live;
      spectrum.update();
      showDirection(x, "direction_x", live);
      showDirection(y, "direction_y", live);

      /** @type {number[]} */
      const resolutions = state.get("resolutions") ?? [];
      const cells = state.get("resolution");
      resolution.update({
        index: Math.max(0, resolutions.indexOf(cells)),
        count: resolutions.length,
        text: `${cells} × ${cells}`,
        spoken: `${cells} by ${cells}`,
        ticks: resolutions.map(String),
        disabled: !live,
      });

      const strength = state.get("saddles") ?? 0;
      saddles.update({
        index: Math.round(strength * 20),
        count: 21,
        text: strength === 0 ? "off" : `${Math.round(100 * strength)} %`,
        ticks: ["off", ...Array(19).fill(""), "strong"],
        disabled: false,
      });

      const frame = state.get("window");
      close.setAttribute("aria-pressed", String(frame === "saddle"));
      wide.setAttribute("aria-pressed", String(frame === "wide"));
      const level = state.get("zoom") ?? 0;
      setText(zoom, `range ${factor(level)}`);
      for (const element of [close, wide, narrower, wider]) element.disabled = !live;
      narrower.disabled ||= level <= ZOOM[0];
      wider.disabled ||= level >= ZOOM[1];
      for (const element of [x, y, resolution]) element.object.toggleAttribute("data-off", !live);

      const possible = state.grid?.header.log_ok ?? true;
      log.input.checked = Boolean(state.get("log_scale")) && possible;
      log.input.disabled = !possible;
      log.object.title = possible
        ? "Heights, colours and contour lines by the logarithm of the loss."
        : "Some loss here is zero or negative: there is no logarithm.";
      contours.input.checked = Boolean(state.get("contours"));
      if (colormap.value !== state.get("colormap")) colormap.value = state.get("colormap");
    },
  };
}

/** With many choices only every other one is written under the slider, always the first and the last. @param {string[]} symbols */
function thin(symbols) {
  const every = Math.ceil(symbols.length / 9);
  return symbols.map((symbol, k) =>
    k === symbols.length - 1 || (k % every === 0 && symbols.length - 1 - k >= every) ? symbol : "",
  );
}
