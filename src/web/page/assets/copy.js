// A button that copies a text.

import { announce } from "./announce.js";
import { el, icon } from "./dom.js";

/**
 * @param {string} label what is copied, for who does not see what it is beside
 * @param {() => string} text
 */
export function copyButton(label, text) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const button = el(
    "button",
    { type: "button", class: "quiet icon copy", "data-action": "copy", "aria-label": label, title: label },
    icon("copy"),
  );
  button.addEventListener("click", async () => {
    const done = await copy(text());
    announce(done ? "Copied" : "The browser did not allow it: select the text and copy it");
    button.replaceChildren(icon(done ? "ok" : "bad"));
    clearTimeout(timer);
    timer = setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} whether it was copied
 */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/**
 * The way where the page is neither on HTTPS nor on localhost and there is no clipboard for scripts.
 *
 * @param {string} text
 */
function copyBySelection(text) {
  const focused = document.activeElement;
  const area = el("textarea", { class: "unseen", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
