// The window's title: the host, and how much was answered while nobody looked.

const NAME = "operation-dbus";

export class Title {
  #host = "";
  #unread = 0;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.#unread = 0;
      this.#write();
    });
  }

  /** @param {string} host */
  setHost(host) {
    this.#host = host;
    this.#write();
  }

  /** Something was answered. */
  news() {
    if (!document.hidden) return;
    this.#unread += 1;
    this.#write();
  }

  #write() {
    const unread = this.#unread > 0 ? `(${this.#unread}) ` : "";
    document.title = unread + (this.#host ? `${this.#host} – ${NAME}` : NAME);
  }
}
