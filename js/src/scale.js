// From the numbers of a grid to a scale: which array is shown, its range, its ticks in true loss, its contour levels.

/** @import { Grid, Scale } from "./types" */
import { formatTick, logTicks, niceStep, ticks } from "./numbers.js";

/** Has this cell a height that may be read? @param {number} state */
export const isKnown = (state) => state === 1 || state === 2 || state === 4;

const LEVELS = 16;

/**
 * @param {Grid} grid
 * @param {boolean} wantLog
 * @returns {Scale}
 */
export function createScale(grid, wantLog) {
  const log = wantLog && grid.header.log_ok;
  const values = log ? grid.logHeights : grid.heights;
  const [min, max] = extent(values, grid.states);

  // Far from zero the loss itself would need too many digits to tell two ticks apart: then the difference is shown, and named so.
  const center = grid.header.center_loss;
  const far = center === null || Math.abs(center) > 1e5 * (max - min);
  const offset = far || log ? 0 : center;
  const title = log ? "loss (log scale)" : far ? "loss − loss(θ*)" : "loss";

  return {
    log,
    values,
    min,
    max,
    title,
    ticks: (count) => (log ? labelLog(min, max, count) : labelLinear(min, max, offset, count)),
    contours: levels(min, max, log ? 0 : offset),
  };
}

/**
 * The range of the known cells; opened a little where it is empty, so that nothing is divided by zero.
 *
 * @param {Float32Array} values
 * @param {Uint8Array} states
 * @returns {[number, number]}
 */
function extent(values, states) {
  let min = Infinity;
  let max = -Infinity;
  for (let index = 0; index < values.length; index++) {
    if (!isKnown(states[index])) continue;
    const value = values[index];
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (!(min <= max)) return [0, 1];
  const least = Math.max(Math.abs(min), Math.abs(max)) * 1e-6 || 1e-12;
  return max - min < least ? [min - least, max + least] : [min, max];
}

/** @param {number} min @param {number} max @param {number} offset @param {number} count */
function labelLinear(min, max, offset, count) {
  const values = ticks(min + offset, max + offset, count);
  const step = niceStep(max - min, count);
  return values.map((value) => ({ at: value - offset, label: formatTick(value, step) }));
}

/** @param {number} min @param {number} max @param {number} count */
function labelLog(min, max, count) {
  const values = logTicks(10 ** min, 10 ** max, count);
  const step = values.length > 1 && max - min < 1 ? values[1] - values[0] : 0;
  return values.map((value) => ({ at: Math.log10(value), label: formatTick(value, step) }));
}

/**
 * Contour levels at nice values of the loss. With t from 0 to 1 over the range, a line runs where `phase + scale * t` is a
 * whole number, and a stronger one where that number is a multiple of five. Only the phase modulo five is kept: the
 * shader has 24 bits.
 *
 * @param {number} min
 * @param {number} max
 * @param {number} offset
 */
function levels(min, max, offset) {
  const step = niceStep(max - min, LEVELS);
  const phase = (min + offset) / step;
  return { step, phase: phase - 5 * Math.floor(phase / 5), scale: (max - min) / step };
}
