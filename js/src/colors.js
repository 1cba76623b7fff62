// Colour maps whose lightness rises evenly, so that they survive printing in grey and colour-blind eyes.
//
// Each is 33 stops of six hexadecimal digits: between neighbours a straight line is off by less than one part in 255.

/** @typedef {[number, number, number]} Rgb */

/** @type {Record<string, string>} */
const STOPS = {
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d" +
    "2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a" +
    "3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725",
  cividis:
    "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d" +
    "5a5f6e61656f686a716f70737676767d7c788482798c8878938e789b9476a39a74" +
    "aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03afee838",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81" +
    "762181832681902a819c2e7faa337db73779c43c75d0416fdc4869e75263ef5d5e" +
    "f56b5cf9795dfc8961fd9869fea772feb67cfec488fed395fde2a3fcf0b2fcfdbf",
  greys: "2b2b2ef4f4f2",
};

/** Highlights a saddle on its map: far from every colour of it. @type {Record<string, Rgb>} */
const TINTS = {
  viridis: [0.93, 0.36, 0.16],
  cividis: [0.86, 0.26, 0.16],
  magma: [0.25, 0.72, 0.9],
  greys: [0.88, 0.36, 0.14],
};

export const COLORMAPS = Object.keys(STOPS);

/** An unknown name gets the first map. @param {string} name */
const known = (name) => (Object.hasOwn(STOPS, name) ? name : COLORMAPS[0]);

/**
 * The colour at t from 0 to 1, as three numbers from 0 to 1.
 *
 * @param {string} name
 * @param {number} t
 * @returns {Rgb}
 */
export function colorAt(name, t) {
  const stops = STOPS[known(name)];
  const last = stops.length / 6 - 1;
  const position = Math.min(1, Math.max(0, t)) * last;
  const index = Math.min(last - 1, Math.floor(position));
  const weight = position - index;
  /** @param {number} channel */
  const mix = (channel) => {
    const at = (/** @type {number} */ stop) =>
      Number.parseInt(stops.slice(6 * stop + 2 * channel, 6 * stop + 2 * channel + 2), 16);
    return ((1 - weight) * at(index) + weight * at(index + 1)) / 255;
  };
  return [mix(0), mix(1), mix(2)];
}

/**
 * A table of RGBA bytes, for a texture or an image.
 *
 * @param {string} name
 * @param {number} [size]
 */
export function colorTable(name, size = 256) {
  const table = new Uint8Array(4 * size);
  for (let k = 0; k < size; k++) {
    const [r, g, b] = colorAt(name, k / (size - 1));
    table.set([Math.round(255 * r), Math.round(255 * g), Math.round(255 * b), 255], 4 * k);
  }
  return table;
}

/** A CSS gradient; the style sheet says with `--lw-to` which way it runs. @param {string} name */
export function cssGradient(name) {
  const stops = Array.from({ length: 17 }, (_, k) => {
    const [r, g, b] = colorAt(name, k / 16);
    return `rgb(${Math.round(255 * r)} ${Math.round(255 * g)} ${Math.round(255 * b)})`;
  });
  return `linear-gradient(var(--lw-to), ${stops.join(", ")})`;
}

/** @param {string} name @returns {Rgb} */
export const saddleTint = (name) => TINTS[known(name)];
