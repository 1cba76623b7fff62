// What the user asked for and the kernel has not yet answered.
//
// A wish is shown at once, sent within 40 ms together with the others, and repeated until the kernel confirms it: a busy
// kernel answers late and a reloading host loses messages. A new message carries the older unconfirmed wishes along,
// so that confirming the newest confirms them all.

const COALESCE = 40;
const REPEAT = [1000, 2000, 4000, 8000];

/**
 * @param {object} options
 * @param {string} options.client
 * @param {(message: object) => void} options.send
 */
export function createWishes({ client, send }) {
  /** @type {Map<string, { value: unknown, rev: number }>} */
  const wishes = new Map();
  let rev = 0;
  let confirmed = 0;
  let pending = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {number} attempt */
  function flush(attempt) {
    // What was confirmed is no wish any more: it must not overwrite a later change from Python.
    if (wishes.size === 0) return;

    // A repetition keeps its number: it is the same wish.
    send({
      kind: "set",
      client,
      rev,
      params: Object.fromEntries([...wishes].map(([name, { value }]) => [name, value])),
    });
    if (attempt < REPEAT.length) timer = setTimeout(() => flush(attempt + 1), REPEAT[attempt]);
  }

  return {
    /** @param {string} name */
    has: (name) => wishes.has(name),

    /** @param {string} name */
    get: (name) => wishes.get(name)?.value,

    /** @param {string} name */
    drop: (name) => wishes.delete(name),

    /** @param {Record<string, unknown>} params */
    add(params) {
      // Wishes within one coalescing window share a number, because they will share a message.
      if (!pending) rev += 1;
      for (const [name, value] of Object.entries(params)) wishes.set(name, { value, rev });
      if (pending) return;
      clearTimeout(timer);
      pending = true;
      timer = setTimeout(() => {
        pending = false;
        flush(0);
      }, COALESCE);
    },

    /**
     * The kernel has dealt with everything up to this number; from now on its own value counts.
     *
     * @param {number} newest
     * @returns {string[]} the names that fall back to the trait
     */
    confirm(newest) {
      if (!(newest > confirmed)) return [];
      confirmed = newest;
      const settled = [...wishes].filter(([, wish]) => wish.rev <= confirmed).map(([name]) => name);
      for (const name of settled) wishes.delete(name);
      return settled;
    },

    dispose() {
      clearTimeout(timer);
    },
  };
}
