// The conversation: what was asked for, the newest last, and what the server says of itself.

import { el, find, phraseButtons } from "./dom.js";
import { Exchange } from "./exchange.js";
import { settles, strings } from "./messages.js";

/** @typedef {import("./messages.js").Message} Message */

/** The most exchanges and notes that are in the page. */
const MOST = 300;
/** For how long after its own answer a change is known to be this page's own, in milliseconds. */
const OWN_FOR = 10_000;
/** What is left above an answer that is scrolled to, in pixels. */
const MARGIN = 12;

export class Conversation {
  #log = find("log", HTMLElement);
  #list = find("exchanges", HTMLElement);
  #dropped = find("dropped", HTMLElement);
  #toEnd = find("to-end", HTMLButtonElement);
  /** The exchanges that are not answered, by this connection's numbers. @type {Map<number, Exchange>} */
  #open = new Map();
  /** Those that have asked a question. @type {Set<Exchange>} */
  #asking = new Set();
  /** When an operation of this page ended last. @type {Map<string, number>} */
  #own = new Map();
  #droppedCount = 0;
  /** Whether the end is in sight, and is to stay so. */
  #atEnd = true;
  #scrolling = false;
  /** @type {(phrase: string) => void} */ #say;
  /** @type {(text: string) => number | null} */ #send;
  /** @type {() => void} */ #news;
  /** @type {() => void} */ #rest;

  /**
   * @param {object} doors
   * @param {(phrase: string) => void} doors.say sends a phrase as if it was typed
   * @param {(text: string) => number | null} doors.send sends a text as it is
   * @param {() => void} doors.news something was answered
   * @param {() => void} doors.rest puts the focus back to where messages are written
   */
  constructor({ say, send, news, rest }) {
    this.#say = say;
    this.#send = send;
    this.#news = news;
    this.#rest = rest;
    new IntersectionObserver(
      (entries) => {
        this.#atEnd = entries[entries.length - 1].isIntersecting;
        if (this.#atEnd) this.#toEnd.hidden = true;
      },
      { root: this.#log, rootMargin: "0px 0px 80px 0px" },
    ).observe(find("log-end", HTMLElement));
    this.#toEnd.addEventListener("click", () => {
      this.#scrollToEnd();
      rest();
    });
    new ResizeObserver(() => this.#atEnd && this.#scrollToEnd()).observe(this.#log);
  }

  /** Forgets all of it: somebody else may sign in next. */
  clear() {
    this.lost();
    this.#list.replaceChildren();
    this.#droppedCount = 0;
    this.#dropped.hidden = true;
    find("welcome", HTMLElement).hidden = false;
  }

  /**
   * The first message of a connection.
   *
   * @param {Message} hello
   */
  welcome(hello) {
    find("welcome-what", HTMLElement).textContent = hello.content;
    find("welcome-suggestions", HTMLElement).replaceChildren(...phraseButtons(strings(hello.suggestions), this.#say));
  }

  /**
   * A phrase was sent.
   *
   * @param {string} phrase
   * @param {number} request
   */
  asked(phrase, request) {
    const exchange = new Exchange(phrase, request, {
      say: this.#say,
      rest: this.#rest,
      reply: (to, text) => this.#reply(to, text),
    });
    this.#open.set(request, exchange);
    this.#append(exchange.element);
    this.#atEnd = true;
    this.#scrollToEnd();
  }

  /** @param {Message} message */
  receive(message) {
    const exchange = message.request === undefined ? undefined : this.#open.get(message.request);
    if (message.type === "status") {
      this.#changed(message);
    } else if (exchange) {
      exchange.receive(message);
      if (settles(message) || message.type === "confirm") {
        if (message.request !== undefined) this.#open.delete(message.request);
        if (message.type === "confirm") this.#asking.add(exchange);
        for (const operation of message.tools_used) this.#own.set(operation, Date.now());
        this.#news();
      }
    } else if (message.content !== "") {
      this.note(message.content, message.type);
    }
    this.#follow();
  }

  /** The connection was lost, and with it the answers to what was asked on it. */
  lost() {
    for (const exchange of [...this.#open.values(), ...this.#asking]) exchange.lost();
    this.#open.clear();
    this.#asking.clear();
    this.#follow();
  }

  /**
   * A line of the server, or of the page itself.
   *
   * @param {string} text
   * @param {string} type
   */
  note(text, type) {
    this.#append(el("p", { class: "note", "data-type": type }, text));
    this.#follow();
  }

  /**
   * An answer to a question that an exchange has asked.
   *
   * @param {Exchange} exchange
   * @param {string} text
   */
  #reply(exchange, text) {
    const request = this.#send(text);
    if (request === null) return false;
    this.#asking.delete(exchange);
    this.#open.set(request, exchange);
    return true;
  }

  /**
   * Something was changed. What this page has asked for is in its own answer already.
   *
   * @param {Message} message
   */
  #changed(message) {
    const operation = message.operation ?? "";
    const recent = Date.now() - (this.#own.get(operation) ?? 0) < OWN_FOR;
    const running = [...this.#open.values()].some((exchange) => exchange.operation === operation);
    if (!recent && !running) this.note(message.content, "status");
  }

  /** @param {HTMLElement} element */
  #append(element) {
    find("welcome", HTMLElement).hidden = true;
    this.#list.append(element);
    if (this.#list.childElementCount <= MOST) return;
    this.#list.firstElementChild?.remove();
    this.#droppedCount += 1;
    this.#dropped.hidden = false;
    this.#dropped.textContent = `${this.#droppedCount} older messages are no longer on this page. What was done is in the ledger.`;
  }

  /** Stays at the end who was there, and tells the others that there is more. */
  #follow() {
    if (this.#atEnd) this.#scrollToEnd();
    else this.#toEnd.hidden = false;
  }

  /** Or to the beginning of the last answer, should it be higher than the window. Once a frame, however much has come. */
  #scrollToEnd() {
    if (this.#scrolling) return;
    this.#scrolling = true;
    requestAnimationFrame(() => {
      this.#scrolling = false;
      const begin = beginOf(this.#list.lastElementChild);
      const above = begin
        ? begin.getBoundingClientRect().top - this.#log.getBoundingClientRect().top - MARGIN
        : Infinity;
      this.#log.scrollTop = Math.min(this.#log.scrollHeight, this.#log.scrollTop + above);
      this.#toEnd.hidden = true;
    });
  }
}

/**
 * What is to be seen first of an exchange: of one that runs or asks it is the end.
 *
 * @param {Element | null} exchange
 */
function beginOf(exchange) {
  const state = exchange?.getAttribute("data-state");
  if (state === "running" || state === "confirming") return null;
  return exchange?.querySelector(".answers > :last-child:not(:only-child)") ?? exchange;
}
