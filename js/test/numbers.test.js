import { expect, test } from "vitest";
import { formatCount, formatDuration, formatTick, formatValue, logTicks, niceStep, ticks } from "../src/numbers.js";

test("steps are 1, 2 or 5 times a power of ten", () => {
  expect(niceStep(1, 5)).toBeCloseTo(0.2);
  expect(niceStep(70, 5)).toBe(10);
  expect(niceStep(2.4e-7, 4)).toBeCloseTo(5e-8);
});

test("ticks lie inside the range and are exact decimals", () => {
  expect(ticks(-0.75, 0.75, 6)).toEqual([-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]);
  expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  for (const value of ticks(1234.1, 1234.9, 5)) expect(value).toBeGreaterThanOrEqual(1234.1);
  expect(ticks(3, 3, 5)).toEqual([3]);
});

test("logarithmic ticks: decades, thinned decades, 1-2-5, and plain numbers within a decade", () => {
  expect(logTicks(0.001, 10, 5).map(Math.log10)).toEqual([-3, -2, -1, 0, 1].map((k) => expect.closeTo(k)));
  expect(logTicks(1e-12, 1, 4).map((value) => Math.round(Math.log10(value)))).toEqual([-12, -9, -6, -3, 0]);
  expect(logTicks(1, 30, 6)).toEqual([1, 2, 5, 10, 20]);
  expect(logTicks(0.4, 0.9, 5)).toEqual([0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
});

test("numbers are written with a true minus, enough decimals, and powers of ten where they are long", () => {
  expect(formatTick(-0.5, 0.5)).toBe("−0.5");
  expect(formatTick(1, 0.25)).toBe("1.0");
  expect(formatTick(0, 0.1)).toBe("0");
  expect(formatTick(1e-5, 0)).toBe("10⁻⁵");
  expect(formatTick(2e7, 1e7)).toBe("2·10⁷");
  expect(formatTick(0.01, 0)).toBe("0.01");
  expect(formatValue(0.123456)).toBe("0.1235");
  expect(formatValue(-1234.56)).toBe("−1235");
  expect(formatValue(null)).toBe("—");
  expect(formatValue(Number.NaN)).toBe("—");
  expect(formatCount(4225)).toBe("4,225");
});

test("forecasts are rounded as forecasts are", () => {
  expect(formatDuration(null)).toBe("");
  expect(formatDuration(12.3)).toBe("about 12 s left");
  expect(formatDuration(47)).toBe("about 45 s left");
  expect(formatDuration(600)).toBe("about 10 min left");
  expect(formatDuration(9000)).toBe("about 2.5 h left");
});
