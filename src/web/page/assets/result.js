// The data of an answer: rows as a table and over time, an object as a list of its fields, all else as it is.

import { copyButton } from "./copy.js";
import { el } from "./dom.js";
import { rank, shown, title } from "./format.js";
import { isObject } from "./messages.js";
import { table } from "./table.js";
import { timeline } from "./timeline.js";

/** The most characters of one text that are put into the page. */
const LONGEST = 200_000;
/** How deep objects in objects are shown as such. */
const DEEPEST = 4;

/**
 * The data for a person; null where there is nothing to be seen.
 *
 * @param {unknown} data
 * @returns {Node | null}
 */
export function result(data) {
  if (data === null || data === undefined) return null;
  if (isRows(data)) return rows(data);
  if (Array.isArray(data)) return data.length === 0 ? null : preformatted(data.map(asText).join("\n"));
  if (isObject(data)) {
    const fields = Object.keys(data);
    // What was done is in the answer's text.
    return fields.length === 0 || (fields.length === 1 && fields[0] === "done") ? null : fieldsOf(data, 0);
  }
  return preformatted(String(data));
}

/**
 * A button that shows data as JSON, and what it shows.
 *
 * @param {unknown} data
 * @returns {{button: HTMLButtonElement, view: HTMLElement}}
 */
export function jsonView(data) {
  const view = el("div", { class: "json", "data-part": "json", hidden: true });
  const button = el(
    "button",
    { type: "button", class: "quiet", "data-action": "json", "aria-expanded": "false" },
    "JSON",
  );
  button.addEventListener("click", () => {
    if (!view.hasChildNodes()) {
      const text = JSON.stringify(data, null, 2);
      view.append(
        copyButton("Copy the JSON", () => text),
        preformatted(text),
      );
    }
    view.hidden = !view.hidden;
    button.setAttribute("aria-expanded", String(!view.hidden));
  });
  return { button, view };
}

/**
 * @param {unknown} data
 * @returns {data is Record<string, unknown>[]}
 */
function isRows(data) {
  return Array.isArray(data) && data.length > 0 && data.every(isObject);
}

/** @param {Record<string, unknown>[]} data */
function rows(data) {
  const { element, reveal } = table(data, details);
  return el("div", { class: "rows" }, timeline(data, reveal), element);
}

/** @param {Record<string, unknown>} row */
function details(row) {
  return fieldsOf(row, 1);
}

/**
 * @param {Record<string, unknown>} data
 * @param {number} depth
 * @returns {HTMLElement}
 */
function fieldsOf(data, depth) {
  const list = el("dl", { class: "fields" });
  for (const [key, value] of Object.entries(data).sort(([a], [b]) => rank(a) - rank(b))) {
    const seen = field(key, value, data, depth);
    const wide = seen instanceof HTMLElement && /^(DIV|PRE|DL)$/.test(seen.tagName);
    list.append(el("div", { class: wide ? "wide" : null }, el("dt", {}, title(key)), el("dd", {}, seen)));
  }
  return list;
}

/**
 * @param {string} key
 * @param {unknown} value
 * @param {Record<string, unknown>} beside
 * @param {number} depth
 * @returns {Node | string}
 */
function field(key, value, beside, depth) {
  if (typeof value === "string" && value.includes("\n")) return preformatted(value);
  if (Array.isArray(value) && value.length > 0) {
    if (isRows(value)) return depth < DEEPEST ? rows(value) : preformatted(asText(value));
    if (key === "lines" || value.some((item) => typeof item === "object" || String(item).length > 60)) {
      return preformatted(value.map(asText).join("\n"));
    }
  }
  if (isObject(value)) {
    if (Object.keys(value).length === 0) return shown(key, null);
    return depth < DEEPEST ? fieldsOf(value, depth + 1) : preformatted(asText(value));
  }
  return shown(key, value, beside);
}

/** @param {unknown} value */
function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** @param {string} text */
export function preformatted(text) {
  const left = text.length - LONGEST;
  return el("pre", { tabindex: 0 }, left > 0 ? `${text.slice(0, LONGEST)}\n… and ${left} characters more` : text);
}
