// Where messages are written.

import { el, find } from "./dom.js";
import { History } from "./history.js";
import { LONGEST } from "./messages.js";
import { matching } from "./suggest.js";

const MOST_LINES = 8;

export class Composer {
  #field = find("message", HTMLTextAreaElement);
  #note = find("message-note", HTMLElement);
  #hint = this.#note.textContent ?? "";
  #list = find("suggestions", HTMLUListElement);
  #history = new History();
  /** Phrases of the server, the newest first. @type {Set<string>} */
  #phrases = new Set();
  /** The chosen suggestion; -1 for none. */
  #chosen = -1;
  /** @type {() => string[]} */ #names;
  /** @type {(phrase: string) => boolean} */ #say;

  /**
   * @param {object} doors
   * @param {(phrase: string) => boolean} doors.say sends a phrase; whether it was sent
   * @param {() => string[]} doors.names the containers' names
   */
  constructor({ say, names }) {
    this.#say = say;
    this.#names = names;
    find("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#field.addEventListener("input", () => {
      this.#history.leave();
      this.#grown();
      this.#suggest();
    });
    this.#field.addEventListener("blur", () => this.#close());
    // Before the field loses the focus, which would close the list.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest("li") : null;
      if (option) this.#take(option.textContent ?? "");
    });
  }

  /** Puts the focus here; with a finger as the pointer beside it, as the keyboard would come up. */
  rest() {
    if (matchMedia("(pointer: coarse)").matches) find("log", HTMLElement).focus({ preventScroll: true });
    else this.#field.focus();
  }

  /** @param {string[]} phrases */
  offer(phrases) {
    this.#phrases = new Set([...phrases, ...this.#phrases].slice(0, 100));
  }

  /**
   * A phrase was sent, from here or by a button.
   *
   * @param {string} phrase
   */
  sent(phrase) {
    this.#history.add(phrase);
  }

  /** Forgets what was written and sent. */
  clear() {
    this.#history.clear();
    this.#phrases.clear();
    this.#put("");
    this.say(null);
  }

  /**
   * Says something about the message; null for the hint that is there otherwise.
   *
   * @param {string | null} text
   */
  say(text) {
    this.#note.textContent = text ?? this.#hint;
    this.#note.toggleAttribute("data-warning", text !== null);
  }

  #submit() {
    const phrase = this.#field.value.trim();
    if (phrase === "") return;
    const size = new TextEncoder().encode(phrase).length;
    if (size > LONGEST) {
      this.say(`Too long: ${size} bytes of at most ${LONGEST}.`);
      return;
    }
    if (!this.#say(phrase)) return;
    this.#put("");
    this.say(null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    const open = !this.#list.hidden;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      const chosen = this.#list.children[this.#chosen];
      if (open && chosen) this.#take(chosen.textContent ?? "");
      else this.#submit();
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.#close();
    } else if ((event.key === "ArrowUp" || event.key === "ArrowDown") && !event.shiftKey) {
      const up = event.key === "ArrowUp";
      if (open ? this.#choose(up ? -1 : 1) : this.#walk(up)) event.preventDefault();
    }
  }

  /**
   * To an older message, or a newer; within a message of several lines the arrow keys are the cursor's.
   *
   * @param {boolean} up
   */
  #walk(up) {
    const { value, selectionStart, selectionEnd } = this.#field;
    if (up ? value.slice(0, selectionStart).includes("\n") : value.slice(selectionEnd).includes("\n")) return false;
    const phrase = this.#history.walk(up ? 1 : -1, value);
    if (phrase !== null) this.#put(phrase);
    return phrase !== null;
  }

  #suggest() {
    const phrases = matching(this.#field.value, [...this.#history.phrases, ...this.#phrases], this.#names());
    this.#chosen = -1;
    this.#field.removeAttribute("aria-activedescendant");
    this.#list.hidden = phrases.length === 0;
    this.#list.replaceChildren(
      ...phrases.map((phrase, index) =>
        el("li", { role: "option", id: `suggestion-${index}`, "aria-selected": "false" }, phrase),
      ),
    );
  }

  /** @param {1 | -1} step */
  #choose(step) {
    const options = [...this.#list.children];
    // One more than there are: between the last and the first is what was written.
    this.#chosen = ((this.#chosen + 1 + step + options.length + 1) % (options.length + 1)) - 1;
    for (const [index, option] of options.entries())
      option.setAttribute("aria-selected", String(index === this.#chosen));
    if (this.#chosen === -1) this.#field.removeAttribute("aria-activedescendant");
    else this.#field.setAttribute("aria-activedescendant", options[this.#chosen].id);
    return true;
  }

  /** @param {string} phrase */
  #take(phrase) {
    this.#put(phrase);
    this.#field.focus();
  }

  #close() {
    this.#list.hidden = true;
    this.#chosen = -1;
    this.#field.removeAttribute("aria-activedescendant");
  }

  /** @param {string} text */
  #put(text) {
    this.#field.value = text;
    this.#field.setSelectionRange(text.length, text.length);
    this.#grown();
    this.#close();
  }

  #grown() {
    this.#field.rows = Math.min(MOST_LINES, this.#field.value.split("\n").length);
  }
}
