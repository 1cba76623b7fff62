import { expect, test } from "vitest";
import { COLORMAPS, colorAt, colorTable, cssGradient, saddleTint } from "../src/colors.js";

const luminance = ([r, g, b]) => 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2;

test("the four maps of the protocol", () => {
  expect(COLORMAPS).toEqual(["viridis", "cividis", "magma", "greys"]);
});

test("ends of viridis", () => {
  expect(colorAt("viridis", 0).map((v) => Math.round(255 * v))).toEqual([0x44, 0x01, 0x54]);
  expect(colorAt("viridis", 1).map((v) => Math.round(255 * v))).toEqual([0xfd, 0xe7, 0x25]);
  expect(colorAt("viridis", 7)).toEqual(colorAt("viridis", 1));
});

test.each(COLORMAPS)("%s grows lighter all the way", (name) => {
  let last = -1;
  for (let k = 0; k <= 64; k++) {
    const now = luminance(colorAt(name, k / 64));
    expect(now).toBeGreaterThan(last - 1e-6);
    last = now;
  }
  expect(last).toBeGreaterThan(0.5);
});

test("tables and gradients agree with the map; unknown names get the first", () => {
  const table = colorTable("magma");
  expect(table.length).toBe(1024);
  expect([...table.slice(1020)]).toEqual([...colorAt("magma", 1).map((v) => Math.round(255 * v)), 255]);
  expect(cssGradient("greys")).toContain("rgb(43 43 46)");
  expect(colorAt("jet", 0.3)).toEqual(colorAt("viridis", 0.3));
  expect(saddleTint("jet")).toEqual(saddleTint("viridis"));
});
