// Which part of a message was not understood.

import { el } from "./dom.js";

/**
 * The message with what was not understood marked, and said in words.
 *
 * @param {string} phrase
 * @param {string[]} understood
 * @param {string[]} unknown
 * @returns {HTMLElement | null}
 */
export function marked(phrase, understood, unknown) {
  if (unknown.length === 0) return null;
  const parts = [];
  let from = 0;
  for (const { at, length } of places(phrase, unknown)) {
    parts.push(phrase.slice(from, at), el("mark", {}, phrase.slice(at, at + length)));
    from = at + length;
  }
  parts.push(phrase.slice(from));
  return el(
    "div",
    { class: "marked" },
    el("p", { class: "phrase", "aria-hidden": "true" }, ...parts),
    el("p", {}, `Not understood: ${quoted(unknown)}.`, understood.length > 0 && ` Understood: ${quoted(understood)}.`),
  );
}

/** @param {string[]} words */
function quoted(words) {
  return words.map((word) => `“${word}”`).join(", ");
}

/**
 * Where the parts are in the message, the first first; a part that is not in it as it is has no place.
 *
 * @param {string} phrase
 * @param {string[]} parts
 */
function places(phrase, parts) {
  const lower = phrase.toLowerCase();
  /** @type {{at: number, length: number}[]} */
  const found = [];
  for (const part of parts) {
    let at = lower.indexOf(part.toLowerCase());
    while (at !== -1 && found.some((other) => at < other.at + other.length && other.at < at + part.length)) {
      at = lower.indexOf(part.toLowerCase(), at + 1);
    }
    if (at !== -1 && part.length > 0) found.push({ at, length: part.length });
  }
  return found.sort((a, b) => a.at - b.at);
}
