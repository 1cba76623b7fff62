// The widget's front door (anywidget's front-end module): one state per model, one view per place where it is shown.
//
// `initialize` must be done within two seconds of loading, or the host never delivers a message: no graphics, no waiting there.

/** @import { Model, State } from "./types" */
import { createState } from "./state.js";
import { createView } from "./view.js";

export default () => {
  /** @type {State | undefined} */
  let state;

  return {
    /** @param {{ model: Model, signal?: AbortSignal }} context */
    initialize({ model, signal }) {
      const ending = new AbortController();
      signal?.addEventListener("abort", () => ending.abort());
      state = createState({ model, signal: ending.signal });
      return () => ending.abort();
    },

    /** @param {{ model: Model, el: HTMLElement, signal?: AbortSignal }} context */
    render({ model, el, signal }) {
      // A host may skip `initialize`; and older ones know no signal, only the function that is returned.
      state ??= createState({ model, signal });
      const view = createView({ state, el });
      signal?.addEventListener("abort", view.dispose);
      return view.dispose;
    },
  };
};
