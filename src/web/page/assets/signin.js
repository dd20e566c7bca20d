// The form for who is not signed in.

import { find } from "./dom.js";
import { signIn } from "./session.js";

export class SignIn {
  #section = find("sign-in", HTMLElement);
  #token = find("token", HTMLInputElement);
  #why = find("sign-in-why", HTMLElement);
  #send = find("sign-in-send", HTMLButtonElement);

  /** @param {() => void} done somebody has signed in */
  constructor(done) {
    find("sign-in-form", HTMLFormElement).addEventListener("submit", async (event) => {
      event.preventDefault();
      const token = this.#token.value.trim();
      if (token === "") {
        this.#say("Paste a token first.");
        return;
      }
      this.#send.disabled = true;
      const why = await signIn(token);
      this.#send.disabled = false;
      if (why === null) {
        this.#token.value = "";
        done();
      } else {
        this.#say(why);
      }
    });
  }

  /** @param {string} [why] why it is needed, again */
  show(why = "") {
    this.#section.hidden = false;
    this.#why.textContent = why;
    this.#token.focus();
  }

  hide() {
    this.#section.hidden = true;
  }

  /** @param {string} why */
  #say(why) {
    this.#why.textContent = why;
    this.#token.focus();
    this.#token.select();
  }
}
