import { expect, test } from "vitest";
import { view } from "../dev/model.js";
import { decodeGrid, decodePatch, float32, uint32 } from "../src/decode.js";

test.each([0, 1, 2, 3, 5])("numbers survive a view that starts at byte %i", (offset) => {
  const values = Float32Array.of(1.5, -2.25, 3e30);
  expect([...float32(view(values, offset))]).toEqual([...values]);
});

test("decoded arrays are copies: the host may reuse its memory", () => {
  const bytes = view(Uint32Array.of(7, 8));
  const decoded = uint32(bytes);
  bytes.setUint32(0, 99, true);
  expect(decoded[0]).toBe(7);
});

test("a buffer of the wrong length says what was expected and what came", () => {
  const header = { alphas: [0, 1, 2], betas: [0, 1] };
  const good = {
    heights: view(new Float32Array(6)),
    logHeights: view(new Float32Array(6)),
    states: view(new Uint8Array(6)),
  };
  expect(decodeGrid(header, good)).toMatchObject({ rows: 2, columns: 3 });
  expect(() => decodeGrid(header, { ...good, heights: view(new Float32Array(5)) })).toThrow(
    "expected 24 bytes of heights, got 20",
  );
  expect(() => decodeGrid(header, { ...good, states: undefined })).toThrow("expected states, got nothing");
});

test("a patch has as many values as indices", () => {
  const three = view(new Float32Array(3));
  expect(() => decodePatch([view(new Uint32Array(2)), three, three, view(new Uint8Array(2))])).toThrow(
    "expected 8 bytes of heights, got 12",
  );
});
