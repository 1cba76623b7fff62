// "Hello" asks the kernel for what this page lacks. It is repeated, because the first message of a reloading page can get lost.

const REPEAT = [500, 1000, 2000, 4000, 8000];

/**
 * @param {() => void} send says hello once
 */
export function createHello(send) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let waiting = false;

  /** @param {number} attempt */
  function say(attempt) {
    send();
    if (attempt < REPEAT.length) timer = setTimeout(() => say(attempt + 1), REPEAT[attempt]);
    else waiting = false;
  }

  return {
    /** Ask, unless a question is already under way: a burst of patches after a gap must not become a burst of hellos. */
    ask() {
      if (waiting) return;
      waiting = true;
      say(0);
    },

    answered() {
      waiting = false;
      clearTimeout(timer);
    },

    dispose() {
      waiting = false;
      clearTimeout(timer);
    },
  };
}
