// The page with a made-up landscape: `npx vite dev` in this folder's parent, then /dev/?scene=…&theme=dark

import "../src/style.css";
import factory from "../src/index.js";
import { fakeModel, makeGrid, SPECTRUM, saddle, saddlePoints, sendGrid } from "./model.js";

const query = new URLSearchParams(location.search);
const scene = query.get("scene") ?? "done";
if (query.get("theme") === "dark") document.body.className = "dark";

/** Refined to every fourth cell in one part, every eighth elsewhere; predicted between. */
const refined = (r, c) => ((r % 8 === 0 && c % 8 === 0) || (c < 40 && r % 2 === 0 && c % 2 === 0) ? 2 : 1);
const coarse = (r, c) => (r % 16 === 0 && c % 16 === 0 ? 2 : 0);
const partial = (r, c) => ((r % 8 === 0 && c % 8 === 0) || (r > 30 && r % 4 === 0 && c % 4 === 0) ? 2 : 0);
const holed = (r, c) => (Math.hypot(r - 50, c - 12) < 6 ? 3 : 2);

const scenes = {
  done: {},
  survey: { stateOf: refined },
  coarse: { stateOf: coarse },
  partial: { stateOf: partial },
  holes: { stateOf: holed },
  hill: { f: (a, b) => 1 - 0.2 * b * b - 0.06 * b ** 3 + 0.15 * a * a },
  log: { f: (a, b) => 1e-4 * 10 ** (3 * saddle(a, b)) },
};

// A browser without WebGL.
if (query.has("flat")) {
  const original = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return kind.startsWith("webgl") ? null : original.call(this, kind, ...rest);
  };
}

const traits = {};
for (const [name, value] of query)
  if (!["scene", "theme", "view", "flat"].includes(name)) traits[name] = JSON.parse(value);
if (scene === "done" || scene === "log") Object.assign(traits, { status: "done", progress: 1, ...traits });
if (scene === "log") traits.log_scale = true;
if (scene === "empty") Object.assign(traits, { status: "directions", catalog: [] });
if (scene === "saved") traits.live = false;

if (!["empty", "coarse"].includes(scene)) traits.spectrum ??= SPECTRUM;

const model = fakeModel(traits);
const widget = factory();
widget.initialize({ model });
const el = document.createElement("div");
document.body.append(el);
widget.render({ model, el });
if (scene !== "empty") sendGrid(model, makeGrid({ ...scenes[scene], header: { critical: saddlePoints() } }));
const root = el.firstElementChild;
if (query.get("view")) root.landscapeWidget.scene.view(query.get("view"));
Object.assign(globalThis, { model, root });
