// What destroys is asked about: what would be changed, two buttons, and the time there is to decide.

import { announce } from "./announce.js";
import { el, withCode } from "./dom.js";
import { isObject } from "./messages.js";
import { result } from "./result.js";

/** @typedef {import("./messages.js").Message} Message */

/**
 * @typedef {object} Answers
 * @property {(word: "yes" | "no") => boolean} answered sends the answer; whether it was sent
 * @property {() => void} expired
 * @property {() => void} again asks for the same once more
 */

/** How long a confirmation is good for, in seconds. */
const GOOD_FOR = 120;
const SAID_AT = 30;

/**
 * @param {Message} message
 * @param {Answers} answers
 * @returns {{element: HTMLElement, focus: () => void, lost: () => void}}
 */
export function confirmCard(message, { answered, expired, again }) {
  const verb = (message.operation ?? "do it").split(".").pop() ?? "do it";
  const until = Date.now() + GOOD_FOR * 1000;
  let said = false;

  const keep = el("button", { type: "button", "data-action": "keep", click: () => answer("no") }, "No, keep it");
  const confirm = el(
    "button",
    { type: "button", class: "destroy", "data-action": "confirm", click: () => answer("yes") },
    `Yes, ${verb}`,
  );
  const left = el("p", { class: "left", "data-part": "countdown", "aria-live": "off" });
  const element = el(
    "div",
    { class: "card danger", "data-type": "confirm", role: "group", "aria-label": message.content },
    el("h4", {}, "Nothing was done yet"),
    el("p", {}, ...withCode(message.content)),
    changes(message.changes),
    el("div", { class: "choice" }, keep, confirm, left),
  );

  /** @param {string} why */
  function die(why) {
    clearInterval(timer);
    confirm.disabled = true;
    keep.disabled = true;
    left.textContent = why;
  }

  /** @param {"yes" | "no"} word */
  function answer(word) {
    if (answered(word)) die(word === "yes" ? "You confirmed it." : "You kept it.");
  }

  /** @param {string} why */
  function offerAgain(why) {
    const hadFocus = element.contains(document.activeElement);
    die(why);
    const button = el("button", { type: "button", "data-action": "again", click: again }, "Ask again");
    left.before(button);
    if (hadFocus) button.focus();
  }

  function tick() {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds <= 0) {
      offerAgain("It was not confirmed in time: nothing was done.");
      announce("It was not confirmed in time: nothing was done.");
      expired();
      return;
    }
    left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} left to decide`;
    if (seconds <= SAID_AT && !said) {
      said = true;
      announce(`${seconds} seconds left to decide`);
    }
  }

  const timer = setInterval(tick, 1000);
  tick();

  return {
    element,
    focus: () => {
      // Not away from somebody who is writing something else meanwhile.
      const focused = document.activeElement;
      const writes =
        (focused instanceof HTMLTextAreaElement || focused instanceof HTMLInputElement) && focused.value !== "";
      if (!writes) keep.focus({ preventScroll: true });
    },
    lost: () => offerAgain("The connection was lost, so this cannot be confirmed any more: nothing was done."),
  };
}

/**
 * What the dry run says.
 *
 * @param {unknown} said
 */
function changes(said) {
  const list = isObject(said) ? said.changes : said;
  if (!Array.isArray(list) || !list.every((change) => isObject(change) && "object" in change)) return result(said);
  if (list.length === 0) return el("p", {}, "It would change nothing.");
  return el("ul", { class: "changes", tabindex: 0, "aria-label": "What would be changed" }, ...list.map(change));
}

/** @param {Record<string, unknown>} change */
function change({ action, object, detail }) {
  return el(
    "li",
    { "data-change": String(action) },
    el("strong", {}, String(action)),
    " ",
    String(object),
    detail ? el("span", {}, `: ${detail}`) : null,
  );
}
