// Where the axes' labels stand: on edges of the box that are free of the surface, at every angle.
//
// The two horizontal axes use the edges nearest to the viewer, at the floor or at the top, whichever lies further out on the
// screen (from above, that is the top). The loss uses the corner furthest to the left, which is always on the silhouette.

/** @import { PerspectiveCamera } from "three" */
/** @import { Label } from "./labels.js" */
import { Vector3 } from "three";
import { LIFT } from "./surface.js";

/** The floor lies a little below the lowest point, so that the surface does not rest on its lines. */
export const FLOOR = -0.035;
export const TOP = LIFT + 0.015;

/** An axis shorter than this on the screen, in pixels or as a part of the longest one, is seen end-on and carries no labels. */
const SHORT = 56;
const FORESHORTENED = 0.3;

/** @typedef {{ at: number, label: string }} Tick a place in the picture and its text */
/** @typedef {[number, number]} Pixels */

/**
 * @typedef {object} Edge
 * @property {"x" | "y" | "z"} name
 * @property {(at: number) => Pixels} place
 * @property {Pixels} from
 * @property {Pixels} to
 * @property {number} length
 * @property {Pixels} push away from the box, at right angles to the edge
 */

const scratch = new Vector3();

/**
 * @param {object} options
 * @param {PerspectiveCamera} options.camera
 * @param {{ width: number, height: number }} options.size
 * @param {(label: Label) => [number, number]} options.measure
 * @param {{ x: Tick[], y: Tick[], z: Tick[] }} options.marks
 * @param {{ x: string, y: string, z: string }} options.titles
 * @param {{ x: number, z: number }} options.side of the viewer
 * @returns {Label[]} titles first: they have precedence
 */
export function edgeLabels({ camera, size, measure, marks, titles, side }) {
  /** @param {number} x @param {number} y @param {number} z @returns {Pixels} */
  function project(x, y, z) {
    scratch.set(x, y, z).project(camera);
    return [((scratch.x + 1) / 2) * size.width, ((1 - scratch.y) / 2) * size.height];
  }
  const center = project(0, LIFT / 2, 0);

  /** @param {"x" | "y"} name @param {(at: number, height: number) => Pixels} place @returns {Edge} */
  function outermost(name, place) {
    const [floor, top] = [FLOOR, TOP].map((height) => freeEdge(name, (at) => place(at, height), center));
    return outwardness(top, center) > outwardness(floor, center) ? top : floor;
  }

  const corners = [-0.5, 0.5].flatMap((x) => [-0.5, 0.5].map((z) => ({ x, z, left: project(x, 0, z)[0] })));
  const leftmost = corners.reduce((best, corner) => (corner.left < best.left ? corner : best));
  /** @param {number} at */
  const upright = (at) => project(leftmost.x, at, leftmost.z);

  const edges = [
    outermost("x", (at, height) => project(at, height, 0.5 * side.z)),
    outermost("y", (at, height) => project(0.5 * side.x, height, -at)),
    { ...edge("z", upright, 0, TOP), push: /** @type {Pixels} */ ([-1, 0]) },
  ];
  const least = Math.max(SHORT, FORESHORTENED * Math.max(...edges.map(({ length }) => length)));
  const shown = edges.filter(({ length }) => length >= least).map((entry) => label(entry, marks, titles, measure));
  return [...shown.map(({ title }) => title), ...shown.flatMap(({ ticks }) => ticks)];
}

/** @param {"x" | "y" | "z"} name @param {(at: number) => Pixels} place @param {number} low @param {number} high */
function edge(name, place, low, high) {
  const from = place(low);
  const to = place(high);
  return { name, place, from, to, length: Math.hypot(to[0] - from[0], to[1] - from[1]) };
}

/** @param {Edge} edge @param {Pixels} center */
function outwardness({ from, to, push }, center) {
  return push[0] * ((from[0] + to[0]) / 2 - center[0]) + push[1] * ((from[1] + to[1]) / 2 - center[1]);
}

/** A horizontal edge with the side on which its labels stand. @param {"x" | "y"} name @param {(at: number) => Pixels} place @param {Pixels} center @returns {Edge} */
function freeEdge(name, place, center) {
  const bare = edge(name, place, -0.5, 0.5);
  const length = bare.length || 1;
  const push = /** @type {Pixels} */ ([(bare.to[1] - bare.from[1]) / length, (bare.from[0] - bare.to[0]) / length]);
  const free = { ...bare, push };
  return outwardness(free, center) < 0 ? { ...free, push: [-push[0], -push[1]] } : free;
}

/**
 * Ticks beside the edge, and the title beyond the widest of them; the title of the loss stands on top.
 *
 * @param {Edge} edge
 * @param {{ x: Tick[], y: Tick[], z: Tick[] }} marks
 * @param {{ x: string, y: string, z: string }} titles
 * @param {(label: Label) => [number, number]} measure
 */
function label({ name, place, from, to, push }, marks, titles, measure) {
  let widest = 0;
  const ticks = marks[name].map(({ at, label: text }) => {
    const [x, y] = place(at);
    const tick = { key: `${name}:${text}`, text, kind: "lw-tick", x, y, push, gap: 7 };
    const [width, height] = measure(tick);
    widest = Math.max(widest, Math.abs(push[0]) * width + Math.abs(push[1]) * height);
    return tick;
  });
  const title = { key: `${name}-title`, text: titles[name], kind: "lw-title", keep: true };
  if (name === "z")
    return { ticks, title: { ...title, x: to[0], y: to[1], push: /** @type {Pixels} */ ([0, -1]), gap: 7 } };
  return { ticks, title: { ...title, x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2, push, gap: 14 + widest } };
}
