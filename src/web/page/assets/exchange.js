// One thing that was asked for, and all that came of it.

import { announce } from "./announce.js";
import { confirmCard } from "./confirm.js";
import { copyButton } from "./copy.js";
import { el, phraseButtons, withCode } from "./dom.js";
import { duration, when } from "./format.js";
import { strings } from "./messages.js";
import { jsonView, preformatted, result } from "./result.js";
import { marked } from "./unclear.js";

/** @typedef {import("./messages.js").Message} Message */
/** @typedef {"waiting" | "running" | "confirming" | "done" | "failed" | "lost"} State */

/**
 * @typedef {object} Doors what an exchange asks for itself
 * @property {(phrase: string) => void} say sends a phrase as if it was typed
 * @property {() => void} rest puts the focus back to where messages are written
 * @property {(exchange: Exchange, answer: string) => boolean} reply sends an answer to a question; whether it was sent
 */

/** How long after the last a screen reader is told of progress again, in milliseconds. */
const SAID_EVERY = 10_000;
/** Answers longer than this are shown as they are, with their lines. */
const LONG_TEXT = 400;

/** What the kinds of failure are called. */
const KINDS = new Map(
  Object.entries({
    failed: "It failed",
    invalid: "Not possible as it was asked for",
    "not-found": "Not found",
    conflict: "Something is in the way",
    denied: "Not permitted",
    unavailable: "Something that is needed is not there",
    busy: "Busy",
  }),
);

/**
 * What of an answer's text is not in its data as well: what stands before its table, a line or two, if anything does.
 *
 * @param {string} content
 */
function lead(content) {
  const [first, ...rest] = content.split("\n\n");
  return (rest.length > 0 && first.split("\n").length <= 3) || !content.includes("\n") ? first : "";
}

export class Exchange {
  /** @type {HTMLElement} */ element;
  /** @type {string} */ phrase;
  /** What it was understood as. @type {string | undefined} */ operation;
  /** @type {Doors} */ #doors;
  /** @type {State} */ #state = "waiting";
  #command = el("div", { class: "command", "data-part": "command", hidden: true });
  #progress = el("div", { class: "progress", "data-type": "running", "aria-live": "off", hidden: true });
  #answers = el("div", { class: "answers" });
  #saidAt = 0;
  /** @type {{lost: () => void} | null} */ #question = null;

  /**
   * @param {string} phrase
   * @param {number} request
   * @param {Doors} doors
   */
  constructor(phrase, request, doors) {
    this.phrase = phrase;
    this.#doors = doors;
    this.element = el(
      "article",
      { class: "exchange", "data-request": request, "data-state": this.#state },
      el("header", {}, el("h3", { "data-part": "phrase" }, phrase), when(Date.now())),
      this.#command,
      this.#answers,
      this.#progress,
    );
  }

  /** @param {State} state */
  #become(state) {
    this.#state = state;
    this.element.dataset.state = state;
  }

  /** @param {Message} message */
  receive(message) {
    this.operation = message.operation ?? this.operation;
    if (message.command) this.#showCommand(message.command);
    switch (message.type) {
      case "running":
      case "progress":
        this.#run(message);
        break;
      case "assistant":
        this.#settle("done", this.#answer(message));
        break;
      case "error":
        this.#settle("failed", this.#failure(message));
        break;
      case "unclear":
        this.#settle("failed", this.#unclear(message));
        break;
      case "confirm":
        this.#ask(message);
        break;
      default:
        this.#answers.append(el("p", { "data-type": message.type }, message.content));
    }
  }

  /** The connection was lost before it was answered. */
  lost() {
    if (this.#state === "done" || this.#state === "failed" || this.#state === "lost") return;
    if (this.#question) {
      this.#question.lost();
      this.#question = null;
      this.#become("failed");
      return;
    }
    this.#settle(
      "lost",
      el(
        "div",
        { class: "card warning", "data-type": "lost" },
        el("h4", {}, "Connection lost"),
        el("p", {}, "Look in the ledger whether it was done."),
        el("div", { class: "chips" }, ...phraseButtons(["show the ledger"], this.#doors.say)),
      ),
    );
  }

  /** @param {string} command */
  #showCommand(command) {
    this.#command.hidden = false;
    // Word by word: a line that is too long is broken between them, and not within `--force`.
    const words = command.split(" ").flatMap((word, index) => [index > 0 && " ", el("span", {}, word)]);
    this.#command.replaceChildren(
      el("code", {}, ...words),
      copyButton("Copy the command", () => command),
    );
  }

  /** @param {Message} message */
  #run(message) {
    this.#become("running");
    const fraction = typeof message.fraction === "number" ? Math.max(0, Math.min(1, message.fraction)) : null;
    let bar = this.#progress.querySelector("progress");
    let text = this.#progress.querySelector("p");
    if (!bar || !text) {
      bar = el("progress", { max: 1, "aria-label": message.operation ?? "Progress" });
      text = el("p", {}, "");
      this.#progress.replaceChildren(bar, text);
    }
    if (fraction === null) bar.removeAttribute("value");
    else bar.value = fraction;
    const percent = fraction === null ? "" : `${Math.round(fraction * 100)} %`;
    text.textContent = [percent, message.content].filter(Boolean).join(" · ");
    this.#progress.hidden = false;
    if (message.type === "progress" && Date.now() - this.#saidAt > SAID_EVERY) {
      this.#saidAt = Date.now();
      announce(`${this.phrase}: ${text.textContent}`);
    }
  }

  /**
   * @param {State} state
   * @param {HTMLElement} answer
   */
  #settle(state, answer) {
    this.#become(state);
    this.#progress.hidden = true;
    this.#question = null;
    this.#answers.append(answer);
  }

  /** @param {Message} message */
  #answer(message) {
    const { data, content } = message;
    const shown = result(data);
    const foot = el("footer", {}, message.tools_used.join(", "));
    if (typeof message.took_ms === "number") foot.append(" · ", duration(message.took_ms / 1000));
    const answer = el("div", { "data-type": "assistant" }, text(shown ? lead(content) : content));
    // Not read out with the answer: it can be long, and is there to be looked through.
    if (shown) answer.append(el("div", { class: "data", "aria-live": "off" }, shown));
    answer.append(foot);
    if (data !== null && data !== undefined) {
      const { button, view } = jsonView(data);
      foot.append(button);
      answer.append(view);
    }
    answer.append(...this.#suggestions(message));
    return answer;
  }

  /** @param {Message} message */
  #failure(message) {
    const kind = message.kind ?? "failed";
    const again = kind === "busy" || kind === "unavailable";
    return el(
      "div",
      { class: "card danger", "data-type": "error", "data-kind": kind },
      el("h4", {}, KINDS.get(kind) ?? "It failed"),
      text(message.content),
      message.next && el("p", { class: "next" }, el("strong", {}, "What to do: "), ...withCode(message.next)),
      again &&
        el(
          "button",
          { type: "button", "data-action": "again", click: () => this.#doors.say(this.phrase) },
          "Try again",
        ),
      ...this.#suggestions(message),
    );
  }

  /** @param {Message} message */
  #unclear(message) {
    const suggestions = strings(message.suggestions);
    return el(
      "div",
      { class: "card warning", "data-type": "unclear" },
      el("h4", {}, "Not understood, and nothing was done"),
      text(message.content),
      marked(this.phrase, strings(message.understood), strings(message.unknown)),
      suggestions.length > 0 && el("p", { class: "lead" }, "Did you mean:"),
      ...this.#suggestions(message),
    );
  }

  /** @param {Message} message */
  #suggestions(message) {
    const phrases = strings(message.suggestions);
    return phrases.length === 0 ? [] : [el("div", { class: "chips" }, ...phraseButtons(phrases, this.#doors.say))];
  }

  /** @param {Message} message */
  #ask(message) {
    this.#become("confirming");
    this.#progress.hidden = true;
    const question = confirmCard(message, {
      answered: (word) => {
        if (!this.#doors.reply(this, `${word} ${message.confirmation ?? ""}`)) return false;
        this.#question = null;
        this.#become("waiting");
        this.#doors.rest();
        return true;
      },
      expired: () => {
        this.#question = null;
        this.#become("failed");
      },
      again: () => this.#doors.say(this.phrase),
    });
    this.#question = question;
    this.#answers.append(question.element);
    question.focus();
  }
}

/** @param {string} content */
function text(content) {
  if (content === "") return null;
  const long = content.length > LONG_TEXT || content.includes("\n");
  return long ? preformatted(content) : el("p", {}, ...withCode(content));
}
