// A handle on the spectrum: a slider whose choices are the stops of the rail, for pointer, finger and keyboard.

/** @import { Stop } from "./spectrum-layout.js" */
import { h } from "./dom.js";
import { doubt } from "./spectrum-layout.js";

/**
 * @param {object} options
 * @param {string} options.letter x or y
 * @param {() => void} options.onstart a drag begins
 * @param {(clientX: number) => void} options.ondrag
 * @param {(index: number) => void} options.onchoose
 * @param {AbortSignal} options.signal
 */
export function createHandle({ letter, onstart, ondrag, onchoose, signal }) {
  const object = h(
    "div",
    {
      class: `lw-handle lw-handle-${letter}`,
      role: "slider",
      tabindex: 0,
      "aria-label": `direction ${letter} on the spectrum`,
      "aria-orientation": "horizontal",
      "aria-valuemin": 0,
      "data-control": `${letter} handle`,
      "data-lm-suppress-shortcuts": "true",
    },
    h("span", { "aria-hidden": "true" }, letter),
  );
  let count = 0;
  let index = 0;
  let disabled = true;
  let pointer = -1;

  object.addEventListener(
    "pointerdown",
    (event) => {
      if (disabled || event.button !== 0) return;
      event.preventDefault();
      object.focus({ preventScroll: true });
      pointer = event.pointerId;

      // A pointer that is already gone cannot be captured: then there is nothing to drag.
      try {
        object.setPointerCapture(pointer);
      } catch {
        pointer = -1;
        return;
      }
      object.dataset.dragged = "";
      onstart();
    },
    { signal },
  );
  object.addEventListener("pointermove", (event) => event.pointerId === pointer && ondrag(event.clientX), { signal });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    object.addEventListener(
      type,
      () => {
        pointer = -1;
        delete object.dataset.dragged;
      },
      { signal },
    );

  object.addEventListener(
    "keydown",
    (event) => {
      if (disabled || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      const next =
        event.key === "Home" ? 0 : event.key === "End" ? count - 1 : step === undefined ? null : index + step;
      if (next === null) return;
      event.preventDefault();
      if (next !== index && next >= 0 && next < count) onchoose(next);
    },
    { signal },
  );

  return {
    object,

    /**
     * @param {object} options
     * @param {Stop[]} options.stops
     * @param {string | undefined} options.key of the direction chosen
     * @param {boolean} options.live
     * @param {string} options.reason why it cannot be moved, where it cannot
     */
    update({ stops, key, live, reason }) {
      index = stops.findIndex(({ entry }) => entry.key === key);
      count = stops.length;
      disabled = !live || count < 2;
      object.hidden = index < 0;
      object.setAttribute("aria-valuemax", String(Math.max(0, count - 1)));
      object.setAttribute("aria-valuenow", String(Math.max(0, index)));
      object.setAttribute("aria-disabled", String(disabled));
      object.tabIndex = disabled ? -1 : 0;
      if (index < 0) return;
      const { entry, x } = stops[index];
      const uncertain = doubt(entry);
      const words = `direction ${letter}: ${entry.label}${uncertain && !entry.label.includes(uncertain) ? `, ${uncertain}` : ""}`;
      object.setAttribute("aria-valuetext", words);
      object.title = disabled ? reason : `${words}. Drag it to another eigenvalue, or use the arrow keys.`;
      object.style.setProperty("--lw-x", `${x.toFixed(1)}px`);
      object.dataset.key = entry.key;
    },
  };
}
