// Elements, made by calls. Text is only ever set as text: nothing that came from the server becomes markup.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, unknown>} Properties */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Sets attributes and listeners: a function is a listener, true an attribute without a value, false and null none.
 *
 * @param {Element} element
 * @param {Properties} properties
 * @param {Child[]} children
 */
function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      element.addEventListener(name, /** @type {EventListener} */ (value));
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
}

/**
 * An HTML element.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, properties, children);
  return element;
}

/**
 * An SVG element.
 *
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  fill(element, properties, children);
  return element;
}

/**
 * One of the sprite's icons. It says nothing by itself: what it stands for is said in words beside it.
 *
 * @param {string} name
 */
export function icon(name) {
  return svg("svg", { "aria-hidden": "true" }, svg("use", { href: `/assets/icons.svg#${name}` }));
}

/**
 * The element of the page with this id.
 *
 * @template {typeof HTMLElement} T
 * @param {string} id
 * @param {T} type what it is
 * @returns {InstanceType<T>}
 */
export function find(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no #${id} that is a ${type.name}`);
  return /** @type {InstanceType<T>} */ (element);
}

/**
 * Buttons, each of which sends its phrase.
 *
 * @param {string[]} phrases
 * @param {(phrase: string) => void} send
 */
export function phraseButtons(phrases, send) {
  return phrases.map((phrase) =>
    el("button", { type: "button", class: "chip", "data-action": "suggestion", click: () => send(phrase) }, phrase),
  );
}

/**
 * Text for a person, with what it has between backticks as code.
 *
 * @param {string} text
 * @returns {Child[]}
 */
export function withCode(text) {
  return text.split(/`([^`\n]+)`/).map((part, index) => (index % 2 === 1 ? el("code", {}, part) : part));
}
