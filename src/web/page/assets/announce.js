// What a screen reader shall say of what is only seen otherwise: "copied", how far something is.

import { find } from "./dom.js";

/**
 * Says a text, once, when there is nothing else to say.
 *
 * @param {string} text
 */
export function announce(text) {
  find("announcer", HTMLElement).textContent = text;
}
