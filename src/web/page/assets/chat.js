// The chat of who is signed in: conversation, host and connection, held together.

import { announce } from "./announce.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { find } from "./dom.js";
import { VERSION, isObject, strings } from "./messages.js";
import { Panel } from "./panel.js";
import { Title } from "./title.js";

/** @typedef {import("./messages.js").Message} Message */
/** @typedef {import("./session.js").Session} Session */

export class Chat {
  #section = find("chat", HTMLElement);
  #state = find("connection", HTMLElement);
  #title = new Title();
  #panel = new Panel((phrase) => this.#say(phrase));
  #composer = new Composer({ say: (phrase) => this.#say(phrase), names: () => this.#panel.names });
  #conversation = new Conversation({
    say: (phrase) => this.#say(phrase),
    send: (text) => this.#connection.send(text),
    news: () => this.#title.news(),
    rest: () => this.#composer.rest(),
  });
  #connection;
  #user = "";
  #wasLost = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #countdown;

  /** @param {() => void} ended the session has ended without anybody signing out */
  constructor(ended) {
    this.#connection = new Connection({
      received: (message) => this.#receive(message),
      opened: () => this.#setState("open"),
      lost: (retryAt) => this.#lost(retryAt),
      trying: () => this.#setState("trying"),
      signedOut: ended,
    });
    find("retry", HTMLButtonElement).addEventListener("click", () => this.#connection.retry());
  }

  /** @param {Session} session */
  show(session) {
    // What one user has seen and sent is not for the next.
    if (this.#user !== "" && this.#user !== session.user) this.#forget();
    this.#user = session.user;
    find("host-name", HTMLElement).textContent = session.host;
    find("who", HTMLElement).textContent = `${session.user}, ${session.role}`;
    this.#title.setHost(session.host);
    this.#section.hidden = false;
    this.#panel.show(true);
    if (matchMedia("(pointer: fine)").matches) this.#composer.rest();
    this.#connection.open();
  }

  /** Ends the connection; what was said stays until somebody else signs in, or is forgotten at once. */
  hide({ forget = false } = {}) {
    this.#connection.close();
    this.#conversation.lost();
    if (forget) this.#forget();
    this.#wasLost = false;
    this.#section.hidden = true;
    this.#panel.show(false);
    this.#setState("none");
    find("ledger-alert", HTMLElement).hidden = true;
    find("host-name", HTMLElement).textContent = "operation-dbus";
    find("who", HTMLElement).textContent = "";
    this.#title.setHost("");
  }

  #forget() {
    this.#conversation.clear();
    this.#composer.clear();
    this.#panel.clear();
    this.#user = "";
  }

  /**
   * Sends a phrase, however it came to be: typed, or by a button.
   *
   * @param {string} phrase
   * @returns {boolean} whether it was sent
   */
  #say(phrase) {
    const request = this.#connection.send(phrase);
    if (request === null) {
      const why = "Not connected: nothing was sent. Send it again once the connection is back.";
      this.#composer.say(why);
      announce(why);
      return false;
    }
    this.#composer.sent(phrase);
    this.#conversation.asked(phrase, request);
    return true;
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.v !== VERSION) {
      this.#conversation.note("The server speaks another version than this page: load the page anew.", "page");
      return;
    }
    this.#composer.offer(strings(message.suggestions));
    if (message.type === "hello") {
      this.#conversation.welcome(message);
      if (this.#wasLost) this.#conversation.note("Connected again.", "page");
      this.#wasLost = false;
    } else if (message.type === "overview") {
      if (isObject(message.data)) this.#panel.update(message.data);
    } else {
      this.#conversation.receive(message);
    }
  }

  /** @param {number} retryAt */
  #lost(retryAt) {
    this.#wasLost = true;
    this.#conversation.lost();
    this.#setState("lost");
    const text = find("offline-when", HTMLElement);
    const tell = () =>
      (text.textContent = `Trying again in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s. What you write stays here.`);
    clearInterval(this.#countdown);
    this.#countdown = setInterval(tell, 1000);
    tell();
  }

  /** @param {"none" | "trying" | "open" | "lost"} state */
  #setState(state) {
    const words = { none: "", trying: "connecting", open: "connected", lost: "not connected" };
    // While it is tried again, what was said stays: it would be read out each time.
    if (!(state === "trying" && this.#wasLost)) this.#state.textContent = words[state];
    this.#state.dataset.state = state;
    if (state !== "lost") clearInterval(this.#countdown);
    find("offline", HTMLElement).hidden = state !== "lost" && !(state === "trying" && this.#wasLost);
    find("offline-what", HTMLElement).textContent = "The connection to the host is lost.";
    if (state === "trying") find("offline-when", HTMLElement).textContent = "Trying again now.";
    find("retry", HTMLButtonElement).disabled = state !== "lost";
    this.#panel.setConnected(state === "open");
    if (state === "open") this.#composer.say(null);
    if (state === "open" && this.#wasLost && document.activeElement === document.body) this.#composer.rest();
  }
}
