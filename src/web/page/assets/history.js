// What was sent from this tab, for the arrow keys and the suggestions.

const KEY = "sent";
const MOST = 200;

export class History {
  /** The newest last. @type {string[]} */
  #sent = read();
  /** How far back the walk is: 0 is what is being written. */
  #back = 0;
  #draft = "";

  /** The newest first. */
  get phrases() {
    return this.#sent.toReversed();
  }

  /** @param {string} phrase */
  add(phrase) {
    this.#sent = [...this.#sent.filter((other) => other !== phrase), phrase].slice(-MOST);
    this.#back = 0;
    write(this.#sent);
  }

  /** What is written now is not from the history. */
  leave() {
    this.#back = 0;
  }

  /** Forgets all of it. */
  clear() {
    this.#sent = [];
    this.#back = 0;
    write(this.#sent);
  }

  /**
   * One step back or forth.
   *
   * @param {1 | -1} step 1 is to what is older
   * @param {string} text what is in the field now
   * @returns {string | null} what belongs into the field; null at the ends
   */
  walk(step, text) {
    const back = this.#back + step;
    if (back < 0 || back > this.#sent.length) return null;
    if (this.#back === 0) this.#draft = text;
    this.#back = back;
    return back === 0 ? this.#draft : this.#sent[this.#sent.length - back];
  }
}

/** @returns {string[]} */
function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((phrase) => typeof phrase === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string[]} sent */
function write(sent) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(sent));
  } catch {
    // A browser that keeps nothing for this page: the history ends with it.
  }
}
