// The box around the surface: floor and two back walls with lines at the ticks.
//
// Which walls are at the back depends on where the camera is; the lines are rebuilt only when it has gone round a corner or the
// ticks changed.

/** @import { Grid, Scale } from "./types" */
/** @import { Tick } from "./edges.js" */
/** @import { Label } from "./labels.js" */
import { BufferAttribute, BufferGeometry, Group, LineBasicMaterial, LineSegments } from "three";
import { edgeLabels, FLOOR, TOP } from "./edges.js";
import { formatTick, niceStep, ticks } from "./numbers.js";
import { LIFT } from "./surface.js";

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
  let side = { x: 1, z: 1 };

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

    /** Turn the box for this camera. @param {import("three").PerspectiveCamera} camera */
    turn(camera) {
      const { x, y, z } = camera.position;
      side = { x: x > 1e-3 ? 1 : -1, z: z > -1e-3 ? 1 : -1 };
      const now = `${side.x} ${side.z} ${y < FLOOR}`;
      if (now === corner || !object.visible) return;
      corner = now;
      rebuild(side.x, side.z, y < FLOOR);
    },

    /**
     * Which labels go where, after `turn`.
     *
     * @param {import("three").PerspectiveCamera} camera
     * @param {{ width: number, height: number }} size
     * @param {(label: Label) => [number, number]} measure
     * @returns {Label[]}
     */
    labels(camera, size, measure) {
      if (!object.visible) return [];
      return edgeLabels({ camera, size, measure, marks, titles, side });
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
  const name = compact ? direction.symbol : direction.label.replace(" (", "\n(");
  return unit ? `${letter} · ${name}, ${unit}` : `${letter} · ${name}`;
}
