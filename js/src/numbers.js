// Nice numbers: where ticks stand and how values are written.

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** @param {number} exponent */
export function superscript(exponent) {
  const digits = String(Math.abs(exponent)).replace(/\d/g, (digit) => SUPERSCRIPT[Number(digit)]);
  return (exponent < 0 ? "⁻" : "") + digits;
}

/** A true minus sign is as wide as the digits beside it. @param {string} text */
const minus = (text) => text.replace("-", "−");

/**
 * The step of 1, 2 or 5 times a power of ten that divides a range into about `count` parts.
 *
 * @param {number} range
 * @param {number} count
 */
export function niceStep(range, count) {
  const raw = range / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const error = raw / power;
  return power * (error >= Math.sqrt(50) ? 10 : error >= Math.sqrt(10) ? 5 : error >= Math.SQRT2 ? 2 : 1);
}

/**
 * Multiples of a nice step inside [min, max].
 *
 * @param {number} min
 * @param {number} max
 * @param {number} count about how many
 */
export function ticks(min, max, count) {
  if (!(max > min)) return Number.isFinite(min) ? [min] : [];
  const step = niceStep(max - min, count);
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);

  // Negative powers of ten are no binary fractions: dividing by the whole number 1/step keeps 0.3 from becoming 0.30000000000000004.
  const inverse = step < 1 ? Math.round(1 / step) : 0;
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) =>
    inverse ? (first + k) / inverse : (first + k) * step,
  );
}

/**
 * Ticks on a logarithmic scale: decades where there are enough of them, else 1-2-5 multiples, else plain nice numbers.
 *
 * @param {number} min smallest value, > 0
 * @param {number} max
 * @param {number} count
 */
export function logTicks(min, max, count) {
  const low = Math.log10(min);
  const high = Math.log10(max);
  const decades = high - low;

  // With many decades only every second, third … is labelled.
  if (decades >= count / 2) {
    const stride = Math.max(1, Math.ceil(decades / count));
    const first = Math.ceil((low - 1e-9) / stride) * stride;
    const exponents = Array.from(
      { length: Math.floor((high - first + 1e-9) / stride) + 1 },
      (_, k) => first + k * stride,
    );
    return exponents.map((exponent) => 10 ** exponent);
  }

  if (decades >= 1) {
    const result = [];
    for (let exponent = Math.floor(low); exponent <= high; exponent++)
      for (const digit of [1, 2, 5]) {
        const value = digit * 10 ** exponent;
        if (value >= min * (1 - 1e-9) && value <= max * (1 + 1e-9)) result.push(value);
      }
    return result;
  }

  return ticks(min, max, count).filter((value) => value > 0);
}

/**
 * Write a tick with the decimals its step needs; powers of ten where the plain number would be long.
 *
 * @param {number} value
 * @param {number} step distance to the next tick, or 0 where there is none
 */
export function formatTick(value, step) {
  if (value === 0) return "0";
  const magnitude = Math.max(Math.abs(value), step);
  if (magnitude >= 1e6 || magnitude < 1e-4) {
    const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-9);
    const mantissa = Number((value / 10 ** exponent).toPrecision(3));
    const power = `10${superscript(exponent)}`;
    return minus(mantissa === 1 ? power : mantissa === -1 ? `-${power}` : `${mantissa}·${power}`);
  }
  const decimals = step > 0 ? Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9))) : 0;
  return minus(step > 0 ? value.toFixed(decimals) : String(Number(value.toPrecision(6))));
}

/**
 * Write a value that was read off: four significant digits.
 *
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function formatValue(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return formatTick(Number(value.toPrecision(digits)), 0);
  const decimals = Math.max(0, Math.min(9, digits - 1 - Math.floor(Math.log10(size))));
  return minus(value.toFixed(decimals));
}

/**
 * A duration in words, no more exact than a forecast can be.
 *
 * @param {number | null | undefined} seconds
 */
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 1.5) return "about 1 s left";
  if (seconds < 90) return `about ${seconds < 20 ? Math.round(seconds) : Math.round(seconds / 5) * 5} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${(seconds / 3600).toFixed(1)} h left`;
}

/** Groups of three digits, for counts. @param {number} count */
export const formatCount = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** Keep what stands in parentheses, such as a value with its error, on one line. @param {string} label */
export const unbroken = (label) => label.replace(/\(.*\)/, (part) => part.replaceAll(" ", "\u00a0"));
