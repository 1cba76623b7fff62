// Bytes to typed arrays. Hosts hand over DataViews at any byte offset, and may reuse the memory: always copy.

/** @import { Grid, Header } from "./types" */

/**
 * The bytes a host hands over: a view, or a bare buffer.
 *
 * @typedef {ArrayBufferView | ArrayBuffer} Bytes
 */

/**
 * Copy bytes into an array of their own. `slice` starts a new buffer at offset 0, so that the alignment is right.
 *
 * @param {Bytes} bytes
 * @returns {ArrayBuffer}
 */
function copy(bytes) {
  if (bytes instanceof ArrayBuffer) return bytes.slice(0);
  return /** @type {ArrayBuffer} */ (bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/**
 * @param {Bytes} bytes
 * @param {number} size bytes per element
 * @param {number} [length] expected number of elements
 * @param {string} [name] for the error
 */
function checked(bytes, size, length, name = "a buffer") {
  if (bytes === undefined || bytes === null) throw new Error(`expected ${name}, got nothing`);
  const expected = length === undefined ? bytes.byteLength - (bytes.byteLength % size) : length * size;
  if (bytes.byteLength !== expected) throw new Error(`expected ${expected} bytes of ${name}, got ${bytes.byteLength}`);
  return copy(bytes);
}

/** @param {Bytes} bytes @param {number} [length] @param {string} [name] */
export const float32 = (bytes, length, name) => new Float32Array(checked(bytes, 4, length, name));

/** @param {Bytes} bytes @param {number} [length] @param {string} [name] */
export const uint32 = (bytes, length, name) => new Uint32Array(checked(bytes, 4, length, name));

/** @param {Bytes} bytes @param {number} [length] @param {string} [name] */
export const uint8 = (bytes, length, name) => new Uint8Array(checked(bytes, 1, length, name));

/**
 * A grid from its header and its three buffers.
 *
 * @param {Header} header
 * @param {{ heights: Bytes, logHeights: Bytes, states: Bytes }} buffers
 * @returns {Grid}
 */
export function decodeGrid(header, { heights, logHeights, states }) {
  const rows = header.betas.length;
  const columns = header.alphas.length;
  const cells = rows * columns;
  return {
    header,
    rows,
    columns,
    heights: float32(heights, cells, "heights"),
    logHeights: float32(logHeights, cells, "log heights"),
    states: uint8(states, cells, "states"),
  };
}

/**
 * The four columns of a patch.
 *
 * @param {Bytes[]} buffers
 */
export function decodePatch([cells, heights, logHeights, states]) {
  const indices = uint32(cells, undefined, "cell indices");
  const length = indices.length;
  return {
    indices,
    heights: float32(heights, length, "heights"),
    logHeights: float32(logHeights, length, "log heights"),
    states: uint8(states, length, "states"),
  };
}
