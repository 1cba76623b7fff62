// The present grid and the rules of epoch and seq: which message replaces it, which changes it, which is too old or leaves a gap.

/** @import { Critical, Grid, Header } from "./types" */
import { decodeGrid, decodePatch } from "./decode.js";

/** @typedef {"taken" | "old" | "gap"} Verdict */

export function createStore() {
  /** @type {Grid | null} */
  let grid = null;

  return {
    get grid() {
      return grid;
    },
    get epoch() {
      return grid?.header.epoch ?? -1;
    },
    get seq() {
      return grid?.header.seq ?? -1;
    },

    /**
     * A grid replaces everything, unless it belongs to an older epoch.
     *
     * @param {Header} header
     * @param {DataView[]} buffers
     * @returns {Verdict}
     */
    replace(header, [heights, logHeights, states]) {
      if (header.epoch < this.epoch) return "old";
      grid = decodeGrid(header, { heights, logHeights, states });
      return "taken";
    },

    /**
     * The snapshot in the traits may be older than the messages that arrived meanwhile.
     *
     * @param {(Header & { heights: DataView, log_heights: DataView, states: DataView }) | null | undefined} snapshot
     * @returns {Verdict}
     */
    restore(snapshot) {
      if (!snapshot || snapshot.epoch < this.epoch) return "old";
      if (snapshot.epoch === this.epoch && snapshot.seq <= this.seq) return "old";
      const { heights, log_heights: logHeights, states, ...header } = snapshot;
      grid = decodeGrid(header, { heights, logHeights, states });
      return "taken";
    },

    /**
     * A patch is a difference to the message before it, so it fits only right after that one.
     *
     * @param {{ epoch: number, seq: number, measured: number, critical?: Critical[] }} message
     * @param {DataView[]} buffers
     * @returns {{ verdict: Verdict, indices?: Uint32Array }}
     */
    patch(message, buffers) {
      if (message.epoch < this.epoch || (message.epoch === this.epoch && message.seq <= this.seq))
        return { verdict: "old" };
      if (!grid || message.epoch > this.epoch || message.seq > this.seq + 1) return { verdict: "gap" };

      const { indices, heights, logHeights, states } = decodePatch(buffers);
      const cells = grid.states.length;
      for (let k = 0; k < indices.length; k++) {
        const index = indices[k];
        if (index >= cells) throw new Error(`expected cell indices below ${cells}, got ${index}`);
        grid.heights[index] = heights[k];
        grid.logHeights[index] = logHeights[k];
        grid.states[index] = states[k];
      }

      grid.header.seq = message.seq;
      grid.header.measured = message.measured;
      if (message.critical) grid.header.critical = message.critical;
      return { verdict: "taken", indices };
    },
  };
}
