// The box around the surface: floor and two back walls with lines at the ticks, and labels on the edges that stand free.
//
// Which walls are at the back and which edges are free depends on where the camera is, so both are found anew for each frame;
// the lines are rebuilt only when the camera has gone round a corner or the ticks changed.

/** @import { Grid, Scale } from "./types" */
/** @import { Label } from "./labels.js" */
import { BufferAttribute, BufferGeometry, Group, LineBasicMaterial, LineSegments, Vector3 } from "three";
import { formatTick, niceStep, ticks } from "./numbers.js";
import { LIFT } from "./surface.js";

/** The floor lies a little below the lowest point, so that the surface does not rest on its lines. */
export const FLOOR = -0.035;
const TOP = LIFT + 0.015;

/** An axis shorter than this on the screen, in pixels, is seen end-on and carries no labels. */
const SHORT = 56;

/** @typedef {{ at: number, label: string }} Tick a place in the picture and its text */

/** @param {number[]} coordinates @param {number} count @returns {Tick[]} */
function axisTicks(coordinates, count) {
  const first = coordinates[0];
  const last = coordinates[coordinates.length - 1];
  const step = niceStep(last - first, count);
  return ticks(first, last, count).map((value) => ({
    at: (value - first) / (last - first) - 0.5,
    label: formatTick(value, step),
  }));
}

export function createAxes() {
  const object = new Group();
  const thin = new LineBasicMaterial({ transparent: true, opacity: 0.16, depthWrite: false });
  const strong = new LineBasicMaterial({ transparent: true, opacity: 0.42, depthWrite: false });
  const lines = new LineSegments(new BufferGeometry(), thin);
  const frame = new LineSegments(new BufferGeometry(), strong);
  object.add(lines, frame);
  object.renderOrder = -1;
  object.visible = false;

  /** @type {{ x: Tick[], y: Tick[], z: Tick[] }} */
  let marks = { x: [], y: [], z: [] };
  let titles = { x: "", y: "", z: "" };
  let corner = "";

  /** @param {LineSegments} target @param {number[]} points */
  function fill(target, points) {
    target.geometry.dispose();
    target.geometry = new BufferGeometry();
    target.geometry.setAttribute("position", new BufferAttribute(new Float32Array(points), 3));
  }

  /** @param {number} sx side of the viewer along x @param {number} sz along z @param {boolean} below */
  function rebuild(sx, sz, below) {
    const back = { x: -0.5 * sx, z: -0.5 * sz };
    /** @type {number[]} */
    const thinPoints = [];
    for (const { at } of marks.x) {
      thinPoints.push(at, FLOOR, -0.5, at, FLOOR, 0.5);
      thinPoints.push(at, FLOOR, back.z, at, TOP, back.z);
    }
    for (const { at } of marks.y) {
      thinPoints.push(-0.5, FLOOR, -at, 0.5, FLOOR, -at);
      thinPoints.push(back.x, FLOOR, -at, back.x, TOP, -at);
    }
    for (const { at } of marks.z) {
      thinPoints.push(-0.5, at, back.z, 0.5, at, back.z);
      thinPoints.push(back.x, at, -0.5, back.x, at, 0.5);
    }
    fill(lines, thinPoints);

    // The frame of the floor and of the two walls, each edge once.
    const f = 0.5 * sx;
    const g = 0.5 * sz;
    const strongPoints = [-0.5, FLOOR, -0.5, 0.5, FLOOR, -0.5, 0.5, FLOOR, -0.5, 0.5, FLOOR, 0.5];
    strongPoints.push(0.5, FLOOR, 0.5, -0.5, FLOOR, 0.5, -0.5, FLOOR, 0.5, -0.5, FLOOR, -0.5);
    strongPoints.push(back.x, FLOOR, back.z, back.x, TOP, back.z, f, FLOOR, back.z, f, TOP, back.z);
    strongPoints.push(back.x, FLOOR, g, back.x, TOP, g, -0.5, TOP, back.z, 0.5, TOP, back.z);
    strongPoints.push(back.x, TOP, -0.5, back.x, TOP, 0.5);
    fill(frame, strongPoints);
    thin.opacity = below ? 0.08 : 0.16;
  }

  const scratch = new Vector3();

  /** @param {import("three").Camera} camera @param {{ width: number, height: number }} size @param {number} x @param {number} y @param {number} z @returns {[number, number]} */
  function project(camera, size, x, y, z) {
    scratch.set(x, y, z).project(camera);
    return [((scratch.x + 1) / 2) * size.width, ((1 - scratch.y) / 2) * size.height];
  }

  return {
    object,

    /** @param {Grid} grid @param {Scale} scale @param {{ compact: boolean }} options */
    update(grid, scale, { compact }) {
      const { header } = grid;
      const count = compact ? 4 : 6;
      marks = {
        x: axisTicks(header.alphas, count),
        y: axisTicks(header.betas, count),
        z: scale
          .ticks(compact ? 4 : 5)
          .map(({ at, label }) => ({ at: (LIFT * (at - scale.min)) / (scale.max - scale.min), label })),
      };
      titles = {
        x: axisTitle("α", header.x, header.units[0], compact),
        y: axisTitle("β", header.y, header.units[1], compact),
        z: scale.title,
      };
      corner = "";
      object.visible = true;
    },

    /** @param {{ color: string }} options */
    dress({ color }) {
      thin.color.set(color);
      strong.color.set(color);
    },

    /**
     * Turn the box for this camera and say which labels go where.
     *
     * @param {import("three").PerspectiveCamera} camera
     * @param {{ width: number, height: number }} size
     * @param {(label: Label) => [number, number]} measure
     * @returns {Label[]}
     */
    labels(camera, size, measure) {
      if (!object.visible) return [];
      const sx = camera.position.x > 1e-3 ? 1 : -1;
      const sz = camera.position.z > -1e-3 ? 1 : -1;
      const below = camera.position.y < FLOOR;
      const now = `${sx} ${sz} ${below}`;
      if (now !== corner) {
        corner = now;
        rebuild(sx, sz, below);
      }

      const center = project(camera, size, 0, FLOOR, 0);
      const result = /** @type {Label[]} */ ([]);
      const late = /** @type {Label[]} */ ([]);

      /**
       * @param {"x" | "y" | "z"} name
       * @param {Tick[]} axis
       * @param {(at: number) => [number, number]} place
       * @param {[number, number]} ends
       * @param {[number, number] | null} outward
       */
      function edge(name, axis, place, ends, outward) {
        const from = place(ends[0]);
        const to = place(ends[1]);
        const along = [to[0] - from[0], to[1] - from[1]];
        const length = Math.hypot(along[0], along[1]);
        if (length < SHORT) return;
        const middle = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];

        // Labels stand off at right angles to the edge, away from the box.
        /** @type {[number, number]} */
        let push = outward ?? [along[1] / length, -along[0] / length];
        if (!outward && push[0] * (middle[0] - center[0]) + push[1] * (middle[1] - center[1]) < 0)
          push = [-push[0], -push[1]];

        let widest = 0;
        for (const { at, label } of axis) {
          const [x, y] = place(at);
          const entry = { key: `${name}:${label}`, text: label, kind: "lw-tick", x, y, push, gap: 7 };
          const [width, height] = measure(entry);
          widest = Math.max(widest, Math.abs(push[0]) * width + Math.abs(push[1]) * height);
          late.push(entry);
        }
        const title = { key: `${name}-title`, text: titles[name], kind: `lw-title lw-title-${name}`, keep: true };
        if (name === "z") result.push({ ...title, x: to[0], y: to[1], push: [0, -1], gap: 7 });
        else result.push({ ...title, x: middle[0], y: middle[1], push, gap: 14 + widest });
      }

      edge("x", marks.x, (at) => project(camera, size, at, FLOOR, 0.5 * sz), [-0.5, 0.5], null);
      edge("y", marks.y, (at) => project(camera, size, 0.5 * sx, FLOOR, -at), [-0.5, 0.5], null);

      // The loss stands at the corner furthest to the left, which is always on the silhouette.
      const corners = [
        [-0.5, -0.5],
        [-0.5, 0.5],
        [0.5, -0.5],
        [0.5, 0.5],
      ];
      corners.sort((a, b) => project(camera, size, a[0], 0, a[1])[0] - project(camera, size, b[0], 0, b[1])[0]);
      const [cx, cz] = corners[0];
      edge("z", marks.z, (at) => project(camera, size, cx, at, cz), [0, TOP], [-1, 0]);
      return [...result, ...late];
    },

    dispose() {
      lines.geometry.dispose();
      frame.geometry.dispose();
      thin.dispose();
      strong.dispose();
    },
  };
}

/**
 * The title of an axis: what it is, how much it bends, in what unit.
 *
 * @param {string} letter
 * @param {import("./types").Direction} direction
 * @param {string} unit
 * @param {boolean} compact
 */
function axisTitle(letter, direction, unit, compact) {
  const name = compact ? direction.symbol : direction.label;
  return unit ? `${letter} · ${name}, ${unit}` : `${letter} · ${name}`;
}
