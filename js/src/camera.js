// The camera: free orbit by pointer and keys, four named views, and a wheel that lets the notebook scroll.
//
// Data never move it. Three's controls listen on the box rather than on the canvas, so they outlive a lost graphics context.

import { PerspectiveCamera, Spherical, Vector3 } from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const TARGET = new Vector3(0, 0.14, 0);
const DISTANCE = 2.58;
const FIELD = 30;

/** Below this ratio of width to height the field widens, so that the box fits in a narrow page. */
const NARROW = 1.32;

/** Polar angle from above and azimuth, in degrees. @type {Record<string, [number, number]>} */
export const VIEWS = { home: [55, 25], top: [0.01, 0], front: [86, 0], side: [86, 90] };

/**
 * @param {object} options
 * @param {HTMLElement} options.element takes pointer and keys
 * @param {() => void} options.onchange
 * @param {AbortSignal} options.signal
 */
export function createCamera({ element, onchange, signal }) {
  const camera = new PerspectiveCamera(FIELD, 1.6, 0.05, 40);
  const controls = new OrbitControls(camera, element);
  controls.minDistance = 0.6;
  controls.maxDistance = 8;
  controls.rotateSpeed = 0.8;
  controls.zoomSpeed = 0.8;
  controls.enableZoom = false;
  controls.addEventListener("change", onchange);

  const offset = new Vector3();
  const spherical = new Spherical();

  /** @param {(spherical: Spherical) => void} change */
  function move(change) {
    spherical.setFromVector3(offset.copy(camera.position).sub(controls.target));
    change(spherical);
    spherical.phi = Math.min(Math.PI - 0.01, Math.max(1e-4, spherical.phi));
    spherical.radius = Math.min(controls.maxDistance, Math.max(controls.minDistance, spherical.radius));
    camera.position.copy(controls.target).add(offset.setFromSpherical(spherical));
    controls.update();
    onchange();
  }

  /** @param {string} name */
  function view(name) {
    const [polar, azimuth] = VIEWS[name] ?? VIEWS.home;
    controls.target.copy(TARGET);
    camera.position
      .copy(TARGET)
      .add(offset.setFromSphericalCoords(DISTANCE, (polar * Math.PI) / 180, (azimuth * Math.PI) / 180));
    controls.update();
    onchange();
  }

  // The wheel turns the page until somebody has clicked the picture or holds Ctrl: a notebook must stay scrollable.
  const focused = () => /** @type {Document | ShadowRoot} */ (element.getRootNode()).activeElement === element;
  element.parentElement?.addEventListener(
    "wheel",
    (event) => {
      controls.enableZoom = focused() || event.ctrlKey;
    },
    { capture: true, passive: true, signal },
  );

  // One finger turns sideways at once; up and down scroll the page until the picture has been tapped.
  /** @param {boolean} active */
  const engage = (active) => {
    controls.enableZoom = active;
    element.style.touchAction = active ? "none" : "pan-y";
  };
  engage(false);
  element.addEventListener("focus", () => engage(true), { signal });
  element.addEventListener("blur", () => engage(false), { signal });

  const TURN = Math.PI / 36;
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () =>
      move((s) => {
        s.theta -= TURN;
      }),
    ArrowRight: () =>
      move((s) => {
        s.theta += TURN;
      }),
    ArrowUp: () =>
      move((s) => {
        s.phi -= TURN;
      }),
    ArrowDown: () =>
      move((s) => {
        s.phi += TURN;
      }),
    "+": () =>
      move((s) => {
        s.radius /= 1.12;
      }),
    "=": () =>
      move((s) => {
        s.radius /= 1.12;
      }),
    "-": () =>
      move((s) => {
        s.radius *= 1.12;
      }),
    Home: () => view("home"),
  };
  element.addEventListener(
    "keydown",
    (event) => {
      const action = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    },
    { signal },
  );

  view("home");

  return {
    camera,
    view,

    /** @param {number} width @param {number} height */
    resize(width, height) {
      camera.aspect = width / height;
      const half = Math.tan((FIELD * Math.PI) / 360);
      camera.fov = (360 / Math.PI) * Math.atan(half * Math.max(1, NARROW / camera.aspect));
      camera.updateProjectionMatrix();
    },

    dispose() {
      controls.dispose();
    },
  };
}
