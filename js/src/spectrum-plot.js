// The spectrum as a drawing: the density with a logarithmic height over the signed axis, each computed pair a tick with its
// residual as error bar, and the line that leads up from it to its place on the rail.

/** @import { Spectrum } from "./types" */
/** @import { Layout, Stop } from "./spectrum-layout.js" */
import { h, svg } from "./dom.js";
import { formatValue, superscript } from "./numbers.js";
import { doubt, ROWS } from "./spectrum-layout.js";
import { axisLabels, uncrowded } from "./spectrum-scale.js";

/** Below this many eigenvalues the logarithmic height is cut off: less than one is none. */
const FLOOR = 0.3;
/** How far a peak of many eigenvalues is seen from its middle, in bandwidths. */
const BROADENED = 4;
/** A shorter error bar would only thicken the tick. */
const VISIBLE_ERROR = 3;
const FONT_SIZE = 11;

/** Pixels of a text in the font that an element has. @param {Element} element */
function createRuler(element) {
  const context = document.createElement("canvas").getContext("2d");
  return () => {
    if (context) context.font = `600 ${FONT_SIZE}px ${getComputedStyle(element).fontFamily}`;
    return (/** @type {string} */ text) => context?.measureText(text).width ?? 0.65 * FONT_SIZE * text.length;
  };
}

/** A line with whole steps of half a pixel, so that it is crisp. @param {number} x */
const crisp = (x) => Math.round(x - 0.5) + 0.5;

/** @param {[number, number][]} points */
const line = (points) => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");

export function createPlot() {
  const object = /** @type {SVGSVGElement} */ (
    svg("svg", { class: "lw-strip-plot", role: "img", height: ROWS.height })
  );
  const ruler = createRuler(object);

  /** @param {string} text @param {string} className @param {number} x @param {number} y @param {string} [anchor] */
  function words(text, className, x, y, anchor = "middle") {
    const element = svg("text", { class: className, x: x.toFixed(1), y, "text-anchor": anchor });
    element.textContent = text;
    return element;
  }

  /** The density on one side of zero. @param {[number, number][]} points @param {string} side */
  function area(points, side) {
    if (points.length < 2) return [];
    const closed = `${line(points)}L${points[points.length - 1][0].toFixed(2)} ${ROWS.foot}L${points[0][0].toFixed(2)} ${ROWS.foot}Z`;
    return [
      svg("path", { class: `lw-density-fill ${side}`, d: closed }),
      svg("path", { class: `lw-density-line ${side}`, d: line(points) }),
    ];
  }

  /** @param {Spectrum} spectrum @param {Layout} layout */
  function density({ grid, counts, scale = 1, bandwidth = 0 }, { axis, left, right, lowest }) {
    if (!grid?.length || !counts) return [];
    const greatest = Math.max(3, ...counts);
    /** @param {number} count */
    const height = (count) =>
      ROWS.foot - ((ROWS.foot - ROWS.top) * Math.log(Math.max(FLOOR, count) / FLOOR)) / Math.log(greatest / FLOOR);
    /** @type {[number, number][]} */
    const points = grid.map((value, k) => [axis.at(value), height(counts[k])]);

    // Each side of zero has its own hue; but what broadening alone carries beyond zero is no negative curvature.
    const edge = lowest < 0 ? -scale * Math.sinh(BROADENED * bandwidth) : Number.NEGATIVE_INFINITY;
    const cut = grid.findIndex((value) => value >= edge);
    const x = axis.at(edge);
    if (cut > 0 && cut < points.length) {
      const [[x0, y0], [x1, y1]] = [points[cut - 1], points[cut]];
      points.splice(cut, 0, [x, x1 > x0 ? y0 + ((y1 - y0) * (x - x0)) / (x1 - x0) : y1]);
    }
    const end = cut < 0 ? points.length : cut;

    // One eigenvalue, and the greatest power of ten that there is.
    const decade = Math.floor(Math.log10(greatest));
    const levels = decade > 0 ? [1, 10 ** decade] : [1];
    return [
      ...levels.map((level) => svg("path", { class: "lw-level", d: `M${left} ${crisp(height(level))}H${right}` })),
      ...area(points.slice(0, end + 1), "lw-below-zero"),
      ...area(points.slice(end), "lw-above-zero"),
      ...levels.map((level) => words(power(level), "lw-strip-label", left - 5, Math.round(height(level)) + 4, "end")),
    ];
  }

  /** @param {Stop} stop @param {boolean} on @param {number} row of its error bar: neighbours are not drawn over each other */
  function pair({ entry, x, tick, error }, on, row) {
    const uncertain = doubt(entry);
    const parts = [];
    if (tick !== null) {
      const [from, to] = [ROWS.rail + 4, ROWS.top];
      const bend = (from + to) / 2;
      const d = `M${x.toFixed(1)} ${from}C${x.toFixed(1)} ${bend + 4} ${tick.toFixed(1)} ${bend - 4} ${tick.toFixed(1)} ${to}V${ROWS.foot}`;
      parts.push(svg("path", { class: "lw-pair-reach", d }), svg("path", { class: "lw-pair-line", d }));
      if (error && error[1] - error[0] >= VISIBLE_ERROR) {
        const y = ROWS.top + 7.5 + 8 * (row % 5);
        const caps = error.map((end) => `M${end.toFixed(1)} ${y - 3}V${y + 3}`).join("");
        parts.push(
          svg("path", { class: "lw-pair-error", d: `M${error[0].toFixed(1)} ${y}H${error[1].toFixed(1)}${caps}` }),
        );
      }
    }
    parts.push(svg("circle", { class: "lw-pair-dot", cx: x.toFixed(1), cy: ROWS.rail, r: 4 }));
    const title = svg("title");
    title.textContent = [entry.label, entry.label.includes(uncertain) ? "" : uncertain].filter(Boolean).join(": ");
    const group = svg("g", { class: "lw-pair-mark", "data-key": entry.key }, title, ...parts);
    group.toggleAttribute("data-on", on);
    group.toggleAttribute("data-doubt", Boolean(uncertain));
    group.toggleAttribute("data-other", entry.group !== "hessian");
    return group;
  }

  return {
    object,
    point,

    /**
     * @param {object} options
     * @param {number} options.width
     * @param {Layout} options.layout
     * @param {Spectrum} options.spectrum
     * @param {string[]} options.keys of the directions chosen
     * @param {{ letter: string, value: number }[]} options.slopes curvature along a chosen direction that has no stop on the axis
     * @param {string} options.name what is seen, in words
     */
    draw({ width, layout, spectrum, keys, slopes, name }) {
      const { axis, left, right, stops, beside } = layout;
      const measure = ruler();
      object.setAttribute("width", String(width));
      object.setAttribute("viewBox", `0 0 ${width} ${ROWS.height}`);
      object.setAttribute("aria-label", name);
      const zero = axis.at(0);
      const known = stops.some(({ tick }) => tick !== null) || Boolean(spectrum.grid?.length);
      const [plotTop, foot] = [ROWS.top, ROWS.foot];

      const symbols = uncrowded(
        [...stops]
          .map((stop, k) => ({ stop, k, x: stop.x, width: measure(stop.entry.symbol) + 3 }))
          .sort((a, b) => importance(b, stops.length, keys) - importance(a, stops.length, keys)),
        { left: -4, right: width + 4 },
      );
      const marks = stops.map((stop, k) => pair(stop, keys.includes(stop.entry.key), k));
      object.replaceChildren(
        svg("rect", {
          class: "lw-strip-paper",
          x: left,
          y: plotTop,
          width: Math.max(0, right - left),
          height: foot - plotTop,
        }),
        ...(layout.lowest < 0
          ? [svg("rect", { class: "lw-negative", x: left, y: plotTop, width: zero - left, height: foot - plotTop })]
          : []),
        ...density(spectrum, layout),
        ...(spectrum.bulk ? [bulk(axis.at(spectrum.bulk[0]), axis.at(spectrum.bulk[1]))] : []),
        svg("path", { class: "lw-strip-axis", d: `M${left} ${foot + 0.5}H${right}` }),
        ...(known ? [svg("path", { class: "lw-zero", d: `M${crisp(zero)} ${plotTop}V${foot + 5}` })] : []),
        ...(spectrum.outliers ?? []).map((value) =>
          svg("circle", { class: "lw-outlier", cx: axis.at(value).toFixed(1), cy: foot + 0.5, r: 2.5 }),
        ),
        ...(known
          ? axisLabels(axis, { left: 0, right: beside ?? width, measure }).flatMap(({ x, label }) => [
              svg("path", { class: "lw-strip-axis", d: `M${crisp(x)} ${foot}v5` }),
              words(label, "lw-strip-label", x, ROWS.labels),
            ])
          : []),
        ...slopes.map(({ letter, value }) => slope(letter, axis.at(value))),
        ...marks.filter((mark) => !mark.hasAttribute("data-on")),
        ...marks.filter((mark) => mark.hasAttribute("data-on")),
        ...symbols.map(({ stop, x }) => {
          const element = words(stop.entry.symbol, "lw-strip-symbol", x, ROWS.symbols);
          element.toggleAttribute("data-on", keys.includes(stop.entry.key));
          return element;
        }),
        ...(beside === null
          ? []
          : ["other", "directions"].map((word, k) =>
              words(word, "lw-strip-label", (beside + width - 8) / 2, ROWS.top + 8 + 14 * k),
            )),
      );
    },
  };

  /** Show which stop a press would choose. @param {string | undefined} key */
  function point(key) {
    for (const mark of object.querySelectorAll(".lw-pair-mark"))
      mark.toggleAttribute("data-near", mark.getAttribute("data-key") === key);
  }

  /** @param {number} from @param {number} to */
  function bulk(from, to) {
    const title = svg("title");
    title.textContent = "The bulk: where all eigenvalues lie but the outliers.";
    const length = Math.max(2, to - from).toFixed(1);
    return svg("rect", { class: "lw-bulk", x: from.toFixed(1), y: ROWS.foot - 1, width: length, height: 3 }, title);
  }

  /** @param {string} letter @param {number} x */
  function slope(letter, x) {
    return svg(
      "g",
      { class: "lw-slope" },
      svg("path", { d: `M${crisp(x)} ${ROWS.top + 14}V${ROWS.foot}` }),
      words(letter, "lw-slope-letter", crisp(x), ROWS.top + 10),
    );
  }
}

/** Chosen ones first, then both ends, then from the left. @param {{ stop: Stop, k: number }} symbol @param {number} count @param {string[]} keys */
function importance({ stop, k }, count, keys) {
  return (keys.includes(stop.entry.key) ? 4 : 0) + (k === 0 || k === count - 1 ? 2 : 0) - k / count;
}

/** A power of ten as short as the room at the left. @param {number} level */
const power = (level) => (level < 1e3 ? String(level) : `10${superscript(Math.round(Math.log10(level)))}`);

/**
 * What the marks mean, for those that are there, and what is not final, in words.
 *
 * @param {object} options
 * @param {Spectrum} options.spectrum
 * @param {Layout} options.layout
 * @param {{ letter: string, value: number }[]} options.slopes
 * @param {boolean} options.coming whether it is still being estimated
 */
export function legendOf({ spectrum, layout, slopes, coming }) {
  const { grid, bulk, outliers, num_probes: probes } = spectrum;
  const negative = layout.lowest < 0;
  const known = layout.stops.some(({ tick }) => tick !== null);
  const soFar = coming ? `, ${probes} ${probes === 1 ? "probe" : "probes"} so far` : "";
  const doubts = ["not converged yet", "still sharpening"].flatMap((words) => {
    const symbols = layout.stops.filter(({ entry }) => doubt(entry) === words).map(({ entry }) => entry.symbol);
    if (symbols.length === 0) return [];
    return [["lw-key-doubt", `${symbols.length > 3 ? `${symbols.length} pairs` : symbols.join(", ")} ${words}`]];
  });
  return [
    ...(grid?.length ? [["lw-key-density", `count (log)${soFar}`]] : []),
    ...(!grid?.length && coming && known ? [["lw-key-coming", "density: being estimated…"]] : []),
    ...(negative ? [["lw-key-negative", "negative curvature"]] : []),
    ...(bulk ? [["lw-key-bulk", "bulk"]] : []),
    ...(outliers?.length ? [["lw-key-outlier", "outliers"]] : []),
    ...doubts,
    ...slopes.map(({ letter, value }) => ["lw-key-slope", `along ${letter}: vᵀHv = ${formatValue(value, 3)}`]),
  ].map(([key, text]) => h("span", { class: "lw-key" }, h("i", { class: key, "aria-hidden": "true" }), text));
}
