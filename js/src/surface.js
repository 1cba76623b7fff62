// The surface: a fixed lattice of places, one height per place, raised in the vertex shader.
//
// A patch changes a few numbers of one attribute; places, light and contour lines follow on the graphics card.

/** @import { Grid, Look, Scale } from "./types" */
import {
  BufferAttribute,
  BufferGeometry,
  ClampToEdgeWrapping,
  DataTexture,
  DoubleSide,
  DynamicDrawUsage,
  LinearFilter,
  Mesh,
  ShaderMaterial,
  Sphere,
  Vector2,
  Vector3,
} from "three";
import { colorTable, saddleTint } from "./colors.js";
import { triangulate } from "./mesh.js";
import { bendStride, relieve } from "./relief.js";
import { fragmentShader, vertexShader } from "./shaders.js";

/** Height of the box over its width: high enough to see a dip, low enough to see behind it. */
export const LIFT = 0.5;

/** How sure a cell is, by its state: unknown, predicted, measured, hole, from a part of the data. */
const SURE = [0, 0, 1, 0, -1];

/** Where a coordinate lies in the picture, from −½ to ½. @param {number[]} coordinates */
function places(coordinates) {
  const first = coordinates[0];
  const range = coordinates[coordinates.length - 1] - first || 1;
  return Float64Array.from(coordinates, (value) => (value - first) / range - 0.5);
}

export function createSurface() {
  const material = new ShaderMaterial({
    vertexShader,
    fragmentShader,
    side: DoubleSide,
    uniforms: {
      range: { value: new Vector2(0, 1) },
      lift: { value: LIFT },
      colors: { value: null },
      tint: { value: new Vector3() },
      saddles: { value: 0 },
      contours: { value: 1 },
      levels: { value: new Vector2(0, 16) },
      pixel: { value: 1 },
    },
  });
  const mesh = new Mesh(new BufferGeometry(), material);
  mesh.frustumCulled = false;
  mesh.visible = false;
  let colormap = "";

  /** The lattice of the present grid, all that picking and markers need too. */
  const lattice = {
    xs: new Float64Array(0),
    ys: new Float64Array(0),
    strides: new Uint16Array(0),
    triangles: 0,
  };

  /** @param {Grid} grid */
  function rebuild(grid) {
    const { rows, columns, header } = grid;
    const xs = places(header.alphas);
    const ys = places(header.betas);
    const cells = rows * columns;
    const positions = new Float32Array(3 * cells);
    for (let row = 0, k = 0; row < rows; row++)
      for (let column = 0; column < columns; column++, k += 3) {
        positions[k] = xs[column];
        positions[k + 2] = -ys[row];
      }

    const squares = (rows - 1) * (columns - 1);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(positions, 3));
    for (const [name, size] of /** @type {const} */ ([
      ["height", 1],
      ["slope", 2],
      ["bend", 1],
      ["sure", 1],
    ]))
      geometry.setAttribute(name, new BufferAttribute(new Float32Array(size * cells), size).setUsage(DynamicDrawUsage));
    geometry.setIndex(new BufferAttribute(new Uint32Array(6 * squares), 1).setUsage(DynamicDrawUsage));

    // The places carry no heights, so the bounds are given by hand.
    geometry.boundingSphere = new Sphere(new Vector3(0, LIFT / 2, 0), 1);
    mesh.geometry.dispose();
    mesh.geometry = geometry;
    Object.assign(lattice, { xs, ys, strides: new Uint16Array(squares), triangles: 0 });
  }

  /** @param {string} name */
  const attribute = (name) => /** @type {BufferAttribute} */ (mesh.geometry.getAttribute(name));

  return {
    object: mesh,
    lattice,

    /**
     * Show a grid. Between `first` and `last` lie the rows that changed; a new grid comes with `fresh`.
     *
     * @param {object} options
     * @param {Grid} options.grid
     * @param {Scale} options.scale
     * @param {boolean} options.fresh
     * @param {number} options.first
     * @param {number} options.last
     */
    update({ grid, scale, fresh, first, last }) {
      if (fresh) rebuild(grid);
      const { rows, columns, states } = grid;
      material.uniforms.range.value.set(scale.min, scale.max);
      material.uniforms.levels.value.set(scale.contours.phase, scale.contours.scale);
      if (last < first) return;

      // The quads depend on the states alone, but finding out whether they changed costs as much as drawing them up anew.
      const index = /** @type {BufferAttribute} */ (mesh.geometry.getIndex());
      const count = triangulate({
        states,
        rows,
        columns,
        index: /** @type {Uint32Array} */ (index.array),
        strides: lattice.strides,
      });
      lattice.triangles = count / 3;
      mesh.geometry.setDrawRange(0, count);
      mesh.visible = count > 0;
      index.needsUpdate = true;

      // A neighbour's slope changes too, and its distance is at most the widest quad.
      const reach = lattice.strides.reduce((widest, stride) => Math.max(widest, stride), bendStride(rows, columns));
      const from = Math.max(0, first - reach);
      const to = Math.min(rows - 1, last + reach);
      relieve({
        grid,
        values: scale.values,
        range: heightRange(scale),
        xs: lattice.xs,
        ys: lattice.ys,
        strides: lattice.strides,
        slopes: /** @type {Float32Array} */ (attribute("slope").array),
        bends: /** @type {Float32Array} */ (attribute("bend").array),
        first: from,
        last: to,
      });

      const height = attribute("height");
      const sure = attribute("sure");
      for (let k = first * columns; k < (last + 1) * columns; k++) {
        height.array[k] = scale.values[k];
        sure.array[k] = SURE[states[k]] ?? 0;
      }

      // Only the changed rows travel to the graphics card.
      for (const [name, a, b] of /** @type {[string, number, number][]} */ ([
        ["height", first, last],
        ["sure", first, last],
        ["slope", from, to],
        ["bend", from, to],
      ])) {
        const target = attribute(name);
        const width = columns * target.itemSize;
        if (!fresh) target.addUpdateRange(a * width, (b - a + 1) * width);
        target.needsUpdate = true;
      }
    },

    /** @param {Look} look @param {number} pixelRatio */
    dress(look, pixelRatio) {
      if (look.colormap !== colormap) {
        colormap = look.colormap;
        material.uniforms.colors.value?.dispose();
        const texture = new DataTexture(colorTable(colormap), 256, 1);
        texture.minFilter = texture.magFilter = LinearFilter;
        texture.wrapS = texture.wrapT = ClampToEdgeWrapping;
        texture.needsUpdate = true;
        material.uniforms.colors.value = texture;
        material.uniforms.tint.value.set(...saddleTint(colormap));
      }
      material.uniforms.saddles.value = look.saddles;
      material.uniforms.contours.value = look.contours ? 1 : 0;
      material.uniforms.pixel.value = pixelRatio;
    },

    /** Free what lies on the graphics card. The arrays stay, so that another context can draw the same surface. */
    dispose() {
      mesh.geometry.dispose();
      material.dispose();
      material.uniforms.colors.value?.dispose();
    },
  };
}

/** The range of the loss, also while its logarithm is shown. @param {Scale} scale */
function heightRange(scale) {
  if (!scale.log) return scale.max - scale.min;
  return 10 ** scale.max - 10 ** scale.min;
}
