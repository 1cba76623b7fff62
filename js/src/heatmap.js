// Without WebGL: the same landscape from above, as a flat map on a 2-D canvas, with the same controls.

/** @import { Cursor, Grid, Look, Scale, Theme } from "./types" */
import { Vector3 } from "three";
import { colorTable, saddleTint } from "./colors.js";
import { h } from "./dom.js";
import { createMarkers, marksOf } from "./markers.js";
import { triangulate } from "./mesh.js";
import { formatTick, niceStep, ticks } from "./numbers.js";
import { lossAt } from "./reading.js";
import { relieve } from "./relief.js";
import { createScale, isKnown } from "./scale.js";

const MARGIN = { left: 64, right: 96, top: 20, bottom: 56 };

/**
 * @param {object} options
 * @param {HTMLElement} options.box
 * @param {HTMLElement} options.holder
 * @param {(painted: { grid: Grid | null, scale: Scale | null, triangles: number }) => void} options.onpaint
 */
export function createHeatmap({ box, holder, onpaint }) {
  const canvas = h("canvas", { class: "lw-flat", "aria-hidden": "true" });
  const markers = createMarkers();
  holder.append(canvas);
  box.append(markers.object);
  const position = new Vector3(0, 1, 0);

  /** @type {Grid | null} */
  let grid = null;
  /** @type {Scale | null} */
  let scale = null;
  /** @type {Look} */
  let look = { log: false, colormap: "viridis", contours: true, saddles: 0 };
  let ink = "#333";
  let known = 0;
  let frame = 0;

  function invalidate() {
    frame ||= requestAnimationFrame(draw);
  }

  /** The rectangle of the map. */
  function area() {
    const side = {
      x: MARGIN.left,
      y: MARGIN.top,
      width: Math.max(1, box.clientWidth - MARGIN.left - MARGIN.right),
      height: Math.max(1, box.clientHeight - MARGIN.top - MARGIN.bottom),
    };
    return side;
  }

  /** One pixel per cell, the first row at the bottom. @param {Grid} shown @param {Scale} shownScale */
  function paintCells(shown, shownScale) {
    const { rows, columns, states } = shown;
    const table = colorTable(look.colormap);
    const tint = saddleTint(look.colormap);
    const bends = new Float32Array(rows * columns);
    if (look.saddles > 0) {
      const strides = new Uint16Array((rows - 1) * (columns - 1));
      triangulate({ states, rows, columns, strides, index: new Uint32Array(6 * strides.length) });
      const even = (/** @type {number} */ n) => Float64Array.from({ length: n }, (_, k) => k / (n - 1));
      const range = shownScale.max - shownScale.min;
      relieve({
        grid: shown,
        values: shownScale.values,
        range,
        xs: even(columns),
        ys: even(rows),
        strides,
        slopes: new Float32Array(2 * rows * columns),
        bends,
        first: 0,
        last: rows - 1,
      });
    }

    const cells = new OffscreenCanvas(columns, rows);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (cells.getContext("2d"));
    const image = context.createImageData(columns, rows);
    known = 0;
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        const index = row * columns + column;
        if (!isKnown(states[index])) continue;
        known += 1;
        const t = (shownScale.values[index] - shownScale.min) / (shownScale.max - shownScale.min);
        const from = 4 * Math.round(255 * Math.min(1, Math.max(0, t)));
        const to = 4 * ((rows - 1 - row) * columns + column);
        const weight = 0.55 * look.saddles * Math.min(1, Math.max(0, 2 * bends[index]));
        for (let channel = 0; channel < 3; channel++)
          image.data[to + channel] = (1 - weight) * table[from + channel] + weight * 255 * tint[channel];
        image.data[to + 3] = 255;
      }
    context.putImageData(image, 0, 0);
    return cells;
  }

  /** Lines of equal loss: each square is crossed where the level lies between two of its corners. @param {CanvasRenderingContext2D} context @param {Grid} shown @param {Scale} shownScale */
  function paintContours(context, shown, shownScale) {
    const { rows, columns, states } = shown;
    const { x, y, width, height } = area();
    const { step, phase } = shownScale.contours;
    const { min, max, values } = shownScale;
    const first = min + (Math.ceil(phase) - phase) * step;
    context.globalAlpha = 0.45;
    context.lineWidth = 0.8;
    context.beginPath();
    for (let level = first; level <= max; level += step)
      for (let row = 0; row + 1 < rows; row++)
        for (let column = 0; column + 1 < columns; column++) {
          const corners = [
            [column, row],
            [column + 1, row],
            [column + 1, row + 1],
            [column, row + 1],
          ];
          if (!corners.every(([c, r]) => isKnown(states[r * columns + c]))) continue;
          const points = [];
          for (let k = 0; k < 4; k++) {
            const [ca, ra] = corners[k];
            const [cb, rb] = corners[(k + 1) % 4];
            const a = values[ra * columns + ca] - level;
            const b = values[rb * columns + cb] - level;
            if (a < 0 === b < 0) continue;
            const t = a / (a - b);
            points.push([ca + t * (cb - ca) + 0.5, ra + t * (rb - ra) + 0.5]);
          }
          for (let k = 0; k + 1 < points.length; k += 2)
            for (const [move, [c, r]] of /** @type {const} */ ([
              [true, points[k]],
              [false, points[k + 1]],
            ])) {
              const px = x + (c / columns) * width;
              const py = y + height - (r / rows) * height;
              if (move) context.moveTo(px, py);
              else context.lineTo(px, py);
            }
        }
    context.stroke();
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {Grid} shown */
  function paintAxes(context, shown) {
    const { x, y, width, height } = area();
    const { header } = shown;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = ink;
    for (const [letter, values] of /** @type {const} */ ([
      ["x", header.alphas],
      ["y", header.betas],
    ])) {
      const low = values[0];
      const high = values[values.length - 1];
      const step = niceStep(high - low, 5);
      for (const value of ticks(low, high, 5)) {
        const part = (value - low) / (high - low);
        context.textAlign = letter === "x" ? "center" : "right";
        if (letter === "x") context.fillText(formatTick(value, step), x + part * width, y + height + 18);
        else context.fillText(formatTick(value, step), x - 8, y + height - part * height + 4);
      }
    }
    context.textAlign = "center";
    context.fillText(`α · ${header.x.label}`, x + width / 2, y + height + 40);
    context.save();
    context.translate(16, y + height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(`β · ${header.y.label}`, 0, 0);
    context.restore();
  }

  function draw() {
    cancelAnimationFrame(frame);
    frame = 0;
    const ratio = Math.min(devicePixelRatio, 2);
    canvas.width = box.clientWidth * ratio;
    canvas.height = box.clientHeight * ratio;
    const context = canvas.getContext("2d");
    if (!context || !grid || canvas.width === 0) return;
    scale = createScale(grid, look.log);
    context.scale(ratio, ratio);
    context.strokeStyle = ink;
    const { x, y, width, height } = area();
    context.drawImage(paintCells(grid, scale), x, y, width, height);
    if (look.contours) paintContours(context, grid, scale);
    paintAxes(context, grid);
    markers.update(marksOf(grid, look.saddles > 0));
    markers.place(({ row, column }) => ({ ...center(row, column), hidden: false }));
    onpaint({ grid, scale, triangles: known });
  }

  /** @param {number} row @param {number} column */
  function center(row, column) {
    const { x, y, width, height } = area();
    const { rows, columns } = /** @type {Grid} */ (grid);
    return { x: x + ((column + 0.5) / columns) * width, y: y + height - ((row + 0.5) / rows) * height };
  }

  const observer = new ResizeObserver(invalidate);
  observer.observe(box);

  return {
    camera: { position },
    renderer: null,
    invalidate,
    draw,
    /** A flat map has one view. @param {string} _name */
    view(_name) {},
    get scale() {
      return scale;
    },
    get triangles() {
      return known;
    },
    /** @param {Grid | null} next */
    setGrid(next) {
      grid = next;
      invalidate();
    },
    /** @param {Uint32Array} _indices */
    patch(_indices) {
      invalidate();
    },
    /** @param {Look} next */
    setLook(next) {
      look = next;
      invalidate();
    },
    /** @param {Theme} theme */
    setTheme(theme) {
      ink = theme.foreground;
      invalidate();
    },
    /** @param {Cursor | null} cursor */
    setCursor(cursor) {
      markers.point(cursor && center(cursor.row, cursor.column));
    },
    /** @param {number} clientX @param {number} clientY @returns {Cursor | null} */
    cursorAt(clientX, clientY) {
      if (!grid) return null;
      const rect = box.getBoundingClientRect();
      const { x, y, width, height } = area();
      const { rows, columns, header, states } = grid;
      const column = Math.floor(((clientX - rect.left - x) / width) * columns);
      const row = Math.floor(((y + height - (clientY - rect.top)) / height) * rows);
      if (column < 0 || row < 0 || column >= columns || row >= rows) return null;
      const index = row * columns + column;
      if (states[index] === 0) return null;
      const alpha = header.alphas[column];
      const beta = header.betas[row];
      const loss = states[index] === 3 ? null : lossAt(grid, index);
      return { alpha, beta, loss, row, column, state: states[index], point: [0, 0, 0], at: { alpha, beta, loss } };
    },
    dispose() {
      cancelAnimationFrame(frame);
      observer.disconnect();
      markers.dispose();
      canvas.remove();
    },
  };
}
