// The WebSocket: it is opened anew when it is lost, each time after a longer wait.

import { parse } from "./messages.js";
import { currentSession, sessionSecret } from "./session.js";

/** @typedef {import("./messages.js").Message} Message */

/**
 * @typedef {object} Listener
 * @property {(message: Message) => void} received
 * @property {() => void} opened
 * @property {(retryAt: number) => void} lost it will be tried again at this time, in milliseconds since 1970
 * @property {() => void} trying
 * @property {() => void} signedOut the session has ended; it is not tried again
 */

const SHORTEST_WAIT = 1000;
const LONGEST_WAIT = 30_000;

export class Connection {
  /** @type {Listener} */ #listener;
  /** @type {WebSocket | null} */ #socket = null;
  #sent = 0;
  #failures = 0;
  #closed = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.retry();
    });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    this.#closed = false;
    this.#failures = 0;
    this.#connect();
  }

  /** Ends it for good. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket?.close();
    this.#socket = null;
  }

  /** Tries at once what would be tried later. */
  retry() {
    if (this.#timer !== undefined) this.#connect();
  }

  /**
   * Sends a text, now or not at all.
   *
   * @param {string} text
   * @returns {number | null} the number by which answers name it; null where it was not sent
   */
  send(text) {
    if (!this.#socket || !this.isOpen) return null;
    this.#socket.send(text);
    this.#sent += 1;
    return this.#sent;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#listener.trying();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    // No page can set a header of a WebSocket: the secret goes among its protocols.
    const protocols = ["opdbus.v1", `bearer.${sessionSecret()}`];
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, protocols);
    this.#socket = socket;
    this.#sent = 0;
    socket.addEventListener("open", () => {
      this.#failures = 0;
      this.#listener.opened();
    });
    socket.addEventListener("message", (event) => {
      const message = parse(event.data);
      if (message && socket === this.#socket) this.#listener.received(message);
    });
    socket.addEventListener("close", () => {
      if (socket === this.#socket) this.#lost();
    });
  }

  #lost() {
    this.#socket = null;
    const wait = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#listener.lost(Date.now() + wait);
    void this.#endIfSignedOut();
  }

  /** A WebSocket does not tell a script why it was refused; the session does. */
  async #endIfSignedOut() {
    try {
      if ((await currentSession()) !== null || this.#closed) return;
    } catch {
      return; // Not reached: it is tried again.
    }
    this.close();
    this.#listener.signedOut();
  }
}
