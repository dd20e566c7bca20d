// The host beside the conversation: its containers and its ledger, as the server tells them.

import { el, find, icon } from "./dom.js";
import { count, state, when } from "./format.js";

/** @typedef {import("./messages.js").Overview} Overview */
/** @typedef {import("./messages.js").Container} Container */
/** @typedef {import("./messages.js").Ledger} Ledger */
/** @typedef {import("./messages.js").Entry} Entry */
/** @typedef {(phrase: string) => void} Say */

export class Panel {
  #panel = find("panel", HTMLElement);
  #toggle = find("panel-toggle", HTMLButtonElement);
  #containers = find("containers", HTMLUListElement);
  /** The rows by name, kept while their container is there: who is on a button stays on it. @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Say} */ #say;
  #connected = true;

  /** @param {Say} say sends a phrase as if it was typed */
  constructor(say) {
    this.#say = (phrase) => {
      this.#open(false);
      say(phrase);
    };
    this.#toggle.addEventListener("click", () => this.#open(!this.#isOpen));
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#isOpen) return;
      this.#open(false);
      this.#toggle.focus();
    });
    const search = find("search-text", HTMLInputElement);
    find("search", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const text = search.value.trim();
      if (text !== "" && this.#connected) this.#say(`search ${text}`);
    });
    addEventListener("keydown", (event) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || this.#panel.hidden) return;
      event.preventDefault();
      this.#open(true);
      search.select();
    });
  }

  /** The containers' names. */
  get names() {
    return [...this.#rows.keys()];
  }

  get #isOpen() {
    return this.#toggle.getAttribute("aria-expanded") === "true";
  }

  /**
   * Where there is room it is always there; else over the conversation.
   *
   * @param {boolean} open
   */
  #open(open) {
    this.#toggle.setAttribute("aria-expanded", String(open));
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#panel.hidden = !shown;
    this.#toggle.hidden = !shown;
    this.#open(false);
  }

  /**
   * What would not be sent cannot be pressed.
   *
   * @param {boolean} connected
   */
  setConnected(connected) {
    this.#connected = connected;
    this.#panel.toggleAttribute("data-offline", !connected);
    for (const row of this.#rows.values()) row.setConnected(connected);
    find("search-send", HTMLButtonElement).disabled = !connected;
  }

  /** @param {Partial<Overview>} overview */
  update({ containers, ledger }) {
    this.#updateContainers(containers ?? null);
    updateLedger(ledger ?? null, this.#say);
  }

  clear() {
    this.#rows.clear();
    this.#containers.replaceChildren();
    find("containers-count", HTMLElement).textContent = "";
    find("ledger-state", HTMLElement).textContent = "";
    find("ledger", HTMLOListElement).replaceChildren();
    find("ledger-alert", HTMLElement).hidden = true;
  }

  /** @param {Container[] | null} containers */
  #updateContainers(containers) {
    const none = find("containers-none", HTMLElement);
    const running = containers?.filter((container) => container.state === "running").length ?? 0;
    find("containers-count", HTMLElement).textContent = containers ? `${running} of ${containers.length} running` : "";
    none.hidden = containers !== null && containers.length > 0;
    none.textContent = containers ? "There are none." : "They cannot be seen.";

    const names = new Set(containers?.map((container) => container.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.element.remove();
      this.#rows.delete(name);
    }
    for (const [index, container] of (containers ?? []).entries()) {
      let row = this.#rows.get(container.name);
      if (!row) {
        row = new Row(container.name, this.#say);
        this.#rows.set(container.name, row);
      }
      row.update(container);
      row.setConnected(this.#connected);
      if (this.#containers.children[index] !== row.element)
        this.#containers.insertBefore(row.element, this.#containers.children[index] ?? null);
    }
  }
}

/** One container. */
class Row {
  #state = el("span");
  #about = el("p", { class: "about" });
  #running = false;
  #act;
  #show;

  /**
   * @param {string} name
   * @param {Say} say
   */
  constructor(name, say) {
    this.#act = el("button", { type: "button", click: () => say(`${this.#running ? "stop" : "start"} ${name}`) });
    this.#show = el(
      "button",
      { type: "button", "data-action": "show", "aria-label": `Show ${name}`, click: () => say(`show ${name}`) },
      "Show",
    );
    this.name = name;
    this.element = el(
      "li",
      { "data-container": name },
      el("div", {}, el("p", { class: "name" }, el("strong", {}, name), this.#state), this.#about),
      el("div", { class: "acts" }, this.#act, this.#show),
    );
  }

  /** @param {Container} container */
  update(container) {
    this.#running = container.state === "running";
    this.element.dataset.state = container.state;
    this.#state.replaceChildren(state(container.state));
    this.#about.textContent = [container.address, container.template].filter(Boolean).join(" · ");
    const verb = this.#running ? "Stop" : "Start";
    this.#act.textContent = verb;
    this.#act.dataset.action = verb.toLowerCase();
    this.#act.setAttribute("aria-label", `${verb} ${this.name}`);
  }

  /** @param {boolean} connected */
  setConnected(connected) {
    this.#act.disabled = !connected;
    this.#show.disabled = !connected;
  }
}

/**
 * @param {Ledger | null} ledger
 * @param {Say} say
 */
function updateLedger(ledger, say) {
  const line = find("ledger-state", HTMLElement);
  const alert = find("ledger-alert", HTMLElement);
  find("ledger", HTMLOListElement).replaceChildren(...(ledger?.latest ?? []).map(entry));
  const damaged = ledger !== null && !ledger.whole;
  line.dataset.mood = damaged ? "bad" : "good";
  if (!ledger) {
    line.dataset.mood = "idle";
    line.replaceChildren("The ledger cannot be read.");
  } else if (damaged) {
    line.replaceChildren(
      icon("bad"),
      `Ledger damaged: ${count(ledger.verified_to)} of ${count(ledger.entries)} entries verified`,
    );
  } else if (ledger.verified_to < ledger.entries) {
    line.dataset.mood = "idle";
    line.replaceChildren(`Ledger: ${count(ledger.entries)} entries, ${count(ledger.verified_to)} verified so far`);
  } else {
    line.replaceChildren(icon("ok"), `Ledger: ${count(ledger.entries)} entries, verified`);
  }
  warn(alert, damaged ? damage(ledger) : null, say);
}

/**
 * The warning above all else, which is written anew, and so read out, only where it says something else.
 *
 * @param {HTMLElement} alert
 * @param {string | null} text
 * @param {Say} say
 */
function warn(alert, text, say) {
  alert.hidden = text === null;
  if (text === null) {
    alert.replaceChildren();
  } else if (alert.querySelector("span")?.textContent !== text) {
    alert.replaceChildren(
      icon("bad"),
      el("p", {}, el("strong", {}, "The ledger is damaged. "), el("span", {}, text)),
      el("button", { type: "button", "data-action": "verify", click: () => say("verify the ledger") }, "Verify it"),
    );
  }
}

/** @param {Ledger} ledger */
function damage({ first_bad: bad, verified_to: good }) {
  const trusted = `Nothing after entry ${good} can be relied on.`;
  if (!bad) return trusted;
  const where = bad.id === null ? `Its ${bad.part}` : `Entry ${bad.id}`;
  return `${where}: ${bad.what} (${bad.damage}). ${trusted}`;
}

/** @param {Entry} entry */
function entry({ id, timestamp, operation, target, metadata }) {
  const outcome = metadata?.outcome;
  const user = metadata?.caller?.user;
  return el(
    "li",
    { value: id, "data-entry": id },
    el("p", {}, el("strong", {}, operation), " ", target),
    el(
      "p",
      { class: "about" },
      when(timestamp * 1000),
      user ? ` · ${user}` : "",
      outcome && outcome !== "ok" ? state(outcome) : null,
    ),
  );
}
