// The one way this page makes elements: no templates, no parsing of markup, so that text from a kernel is always text.

/**
 * Make an element with attributes and children.
 *
 * A value of `true` gives an empty attribute, `false`, `null` and `undefined` give none.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/**
 * Make an SVG element, for the few shapes that must be crisp at every size.
 *
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...Node} children
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Set a text only where it differs: writing an equal text would wake screen readers and layout for nothing.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let counter = 0;

/**
 * A fresh id for `for` and `aria-describedby`. Several copies of the bundle live on one page, hence the random part.
 *
 * @param {string} stem
 */
export function freshId(stem) {
  counter += 1;
  return `lw-${stem}-${counter}-${Math.random().toString(36).slice(2, 8)}`;
}
