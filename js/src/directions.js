// Which directions are chosen, and choosing others: one way for sliders and for the handles on the spectrum.

/** @import { Direction, State } from "./types" */

/** @typedef {"direction_x" | "direction_y"} Axis */

/** @param {State} state @returns {Direction[]} */
export const catalogOf = (state) => state.get("catalog") ?? [];

/** The other axis. @param {Axis} axis @returns {Axis} */
export const otherOf = (axis) => (axis === "direction_x" ? "direction_y" : "direction_x");

/**
 * The direction an axis has. Before anybody has chosen, and while the catalog is changing, what the picture shows is the truth.
 *
 * @param {State} state
 * @param {Axis} axis
 * @returns {Direction | undefined}
 */
export function chosen(state, axis) {
  const entries = catalogOf(state);
  const header = state.grid?.header;
  const shown = axis === "direction_x" ? header?.x : header?.y;
  /** @param {string | undefined} key */
  const find = (key) => entries.find((entry) => entry.key === key);
  return find(state.get(axis)) ?? find(shown?.key) ?? shown;
}

/**
 * Ask for a direction. Both axes along one direction would be no plane: choosing the other axis's direction swaps the two.
 *
 * @param {State} state
 * @param {Axis} axis
 * @param {string} key
 * @param {{ mine: string, others: string }} [before] the directions from which the swap is reckoned, such as those when a drag began
 */
export function choose(state, axis, key, before) {
  const other = otherOf(axis);
  const mine = before?.mine ?? chosen(state, axis)?.key;
  const others = before?.others ?? chosen(state, other)?.key;
  const swapped = key === others ? mine : others;
  state.want(swapped === undefined ? { [axis]: key } : { [axis]: key, [other]: swapped });
}
