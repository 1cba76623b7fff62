// The page's end of docs/protocol.md: one state per model, shared by all its views.
//
// It lives from `initialize`, which must be quick and synchronous, to the end of the model. Messages are applied to the arrays
// at once, also in a hidden tab; drawing is the views' business.

/** @import { Model, State, StateEvent } from "./types" */
import { createHello } from "./hello.js";
import { createStore } from "./store.js";
import { createWishes } from "./wishes.js";

const PING = 20_000;

/** What the page may ask for; without an engine the first line is all that still makes sense. */
const LOOKS = ["saddles", "log_scale", "colormap", "contours"];
const WISHABLE = [...LOOKS, "direction_x", "direction_y", "resolution", "window", "zoom", "running"];
const WATCHED = [
  ...WISHABLE,
  "height",
  "live",
  "status",
  "progress",
  "eta",
  "error",
  "caption",
  "catalog",
  "spectrum",
  "resolutions",
];

/** A name for this page that no other page has; `randomUUID` would need a secure context. */
function randomClient() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {object} options
 * @param {Model} options.model
 * @param {AbortSignal} [options.signal] ends the state
 * @param {string} [options.client]
 * @returns {State}
 */
export function createState({ model, signal, client = randomClient() }) {
  const store = createStore();
  /** @type {Set<(event: StateEvent) => void>} */
  const listeners = new Set();
  const wishes = createWishes({ client, send: (message) => model.send(message) });
  const hello = createHello(() => model.send({ kind: "hello", client, epoch: store.epoch, seq: store.seq }));
  let fault = "";
  let views = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let pinging;

  /** @param {StateEvent} event */
  function emit(event) {
    for (const listener of [...listeners]) listener(event);
  }

  // A message that cannot be read is told to the user instead of being swallowed by the host's message loop.
  /** @param {() => void} action */
  function guarded(action) {
    try {
      action();
    } catch (error) {
      fault = `The page could not read a message from the kernel: ${error instanceof Error ? error.message : error}.`;
      emit({ kind: "fault" });
    }
  }

  /** @param {any} message @param {DataView[]} [buffers] */
  function receive(message, buffers = []) {
    guarded(() => {
      if (message.kind === "grid") takeGrid(message, buffers);
      else if (message.kind === "patch") takePatch(message, buffers);
      else if (message.kind === "hello_ack" && message.client === client) takeAck(message);
    });
    if (buffers.length > 0) model.send({ kind: "ack", epoch: message.epoch, seq: message.seq });
  }

  /** @param {any} message @param {DataView[]} buffers */
  function takeGrid({ kind: _, ...header }, buffers) {
    if (store.replace(header, buffers) !== "taken") return;
    hello.answered();
    fault = "";
    emit({ kind: "grid" });
  }

  /** @param {any} message @param {DataView[]} buffers */
  function takePatch(message, buffers) {
    const { verdict, indices } = store.patch(message, buffers);
    if (verdict === "gap") hello.ask();
    if (verdict !== "taken" || !indices) return;
    hello.answered();
    emit({ kind: "patch", indices });
  }

  // An answer that speaks of more than we have announces a grid; should that get lost, the next hello asks again.
  /** @param {{ epoch: number, seq: number }} message */
  function takeAck({ epoch, seq }) {
    const behind = epoch > store.epoch || (epoch === store.epoch && seq > store.seq);
    if (!behind) hello.answered();
  }

  function restore() {
    guarded(() => {
      if (store.restore(model.get("_grid")) === "taken") emit({ kind: "grid" });
    });
  }

  function confirm() {
    const settled = wishes.confirm(model.get("_confirmed")?.[client] ?? 0);
    for (const name of settled) emit({ kind: "trait", name });
  }

  // While an answer is due, the echo of an earlier wish must not pull back the slider under the user's finger; the answer itself
  // ends the wish. Without an engine no answer will come, so that there any change counts.
  /** @param {string} name */
  function changed(name) {
    if (!model.get("live")) wishes.drop(name);
    emit({ kind: "trait", name });
  }

  /** @type {[string, (...args: any[]) => void][]} */
  const subscriptions = [
    ["msg:custom", receive],
    ["change:_grid", restore],
    ["change:_confirmed", confirm],
    ...WATCHED.map((name) => /** @type {[string, () => void]} */ ([`change:${name}`, () => changed(name)])),
  ];
  for (const [event, callback] of subscriptions) model.on(event, callback);
  restore();
  hello.ask();

  signal?.addEventListener("abort", () => {
    for (const [event, callback] of subscriptions) model.off(event, callback);
    clearInterval(pinging);
    hello.dispose();
    wishes.dispose();
    listeners.clear();
  });

  return {
    client,
    get grid() {
      return store.grid;
    },
    get fault() {
      return fault;
    },

    get: (name) => (wishes.has(name) ? wishes.get(name) : model.get(name)),

    want(params) {
      const allowed = Object.entries(params).filter(
        ([name]) => LOOKS.includes(name) || (WISHABLE.includes(name) && model.get("live")),
      );
      if (allowed.length === 0) return;
      wishes.add(Object.fromEntries(allowed));
      for (const [name] of allowed) emit({ kind: "trait", name });
    },

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    // While somebody looks, the kernel hears of it.
    attach() {
      const ping = () => model.send({ kind: "ping", client });
      views += 1;
      if (views === 1) {
        ping();
        pinging = setInterval(ping, PING);
      }
      let attached = true;
      return () => {
        if (!attached) return;
        attached = false;
        views -= 1;
        if (views === 0) clearInterval(pinging);
      };
    },
  };
}
