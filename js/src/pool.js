// At most eight live WebGL contexts on a page. Browsers allow about sixteen and silently kill the oldest, of whatever widget it is.
//
// Each copy of this bundle has its own module scope, so the list lives on the page, under a name that all copies agree on.

const LIMIT = 8;
const KEY = Symbol.for("landscape_widget.gl");

/**
 * @typedef {object} Tenant
 * @property {() => void} evict gives the context back and leaves a still picture
 * @property {() => boolean} visible is it on the screen?
 * @property {number} used when it last drew
 */

/** @returns {Set<Tenant>} */
export function tenants() {
  const page = /** @type {Record<symbol, Set<Tenant> | undefined>} */ (/** @type {unknown} */ (globalThis));
  page[KEY] ??= new Set();
  return /** @type {Set<Tenant>} */ (page[KEY]);
}

/** Make room for a context: first goes what nobody sees, then what drew longest ago. @param {Tenant} tenant */
export function enter(tenant) {
  const live = tenants();
  live.delete(tenant);
  while (live.size >= LIMIT) {
    const [victim] = [...live].sort((a, b) => Number(a.visible()) - Number(b.visible()) || a.used - b.used);
    live.delete(victim);
    victim.evict();
  }
  live.add(tenant);
}

/** @param {Tenant} tenant */
export function leave(tenant) {
  tenants().delete(tenant);
}
