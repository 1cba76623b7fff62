// Light or dark, as the host is at this moment: JupyterLab, Voila, VS Code, or the page behind us.

/** @import { Theme } from "./types" */

/** @typedef {[number, number, number, number]} Rgba */

/** The browser's own parser knows every way to write a colour. */
/** @returns {(color: string) => Rgba | null} */
function createParser() {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  return (color) => {
    if (!context || !color || !CSS.supports("color", color)) return null;
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
}

/** @param {Rgba} color */
const lightness = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b) / 255;

/**
 * What lies behind an element: a host's variable, else the nearest painted background, also across shadow roots, else white.
 *
 * @param {Element} root
 * @param {(color: string) => Rgba | null} parse
 */
function backgroundBehind(root, parse) {
  const style = getComputedStyle(root);
  for (const name of ["--jp-layout-color0", "--vscode-editor-background"]) {
    const color = parse(style.getPropertyValue(name).trim());
    if (color && color[3] > 0.5) return color;
  }
  /** @type {Node | null} */
  let node = root.parentNode;
  while (node) {
    if (node instanceof Element) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color && color[3] > 0.5) return color;
    }
    node = node instanceof ShadowRoot ? node.host : node.parentNode;
  }

  // A page that says nothing is white, unless it asked the browser for a dark canvas.
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  const dark = scheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches;
  return /** @type {Rgba} */ (dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
}

/**
 * Follow the host's theme: `data-theme` on the root, and a call for what is not drawn by CSS.
 *
 * @param {object} options
 * @param {HTMLElement} options.root
 * @param {(theme: Theme) => void} options.onchange
 * @param {AbortSignal} options.signal
 */
export function followTheme({ root, onchange, signal }) {
  const parse = createParser();
  /** @type {Theme} */
  let current = { dark: false, foreground: "", muted: "", background: "" };

  function check() {
    const dark = lightness(backgroundBehind(root, parse)) < 0.5;
    root.dataset.theme = dark ? "dark" : "light";
    const style = getComputedStyle(root);
    const theme = {
      dark,
      foreground: style.getPropertyValue("--lw-line").trim() || style.color,
      muted: style.getPropertyValue("--lw-muted").trim() || style.color,
      background: style.getPropertyValue("--lw-paper").trim() || "transparent",
    };
    if (JSON.stringify(theme) === JSON.stringify(current)) return;
    current = theme;
    onchange(theme);
  }

  // Hosts switch by attributes of the body or the document; the style sheet itself may load a moment later.
  const observer = new MutationObserver(check);
  const filter = [
    "data-jp-theme-light",
    "data-jp-theme-name",
    "class",
    "style",
    "data-theme",
    "data-vscode-theme-kind",
  ];
  for (const target of [document.body, document.documentElement])
    observer.observe(target, { attributes: true, attributeFilter: filter });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", check, { signal });
  root.addEventListener("pointerenter", check, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
  check();
  return {
    check,
    get current() {
      return current;
    },
  };
}
