// What the server says: docs/chat.md, version 1.

/** @typedef {"hello" | "running" | "progress" | "assistant" | "confirm" | "error" | "unclear" | "status" | "overview"} Type */

/**
 * @typedef {object} Message
 * @property {number} v
 * @property {Type} type
 * @property {string} content text for a person
 * @property {string} timestamp when it was sent, RFC 3339
 * @property {string[]} tools_used
 * @property {number} [request] which of this connection's messages it answers
 * @property {string} [operation]
 * @property {string} [command] the same as a shell command
 * @property {number | null} [fraction]
 * @property {unknown} [data]
 * @property {number} [took_ms]
 * @property {unknown} [changes] what `--dry-run` says
 * @property {string} [confirmation]
 * @property {string} [kind]
 * @property {string | null} [next] what to do about it
 * @property {string[]} [suggestions]
 * @property {string[]} [understood]
 * @property {string[]} [unknown]
 * @property {string} [user]
 * @property {string} [role]
 * @property {string} [host]
 * @property {string | null} [target]
 */

/** @typedef {{name: string, state: string, address: string | null, template: string | null}} Container */

/**
 * @typedef {object} Entry an entry of the ledger
 * @property {number} id
 * @property {number} timestamp in seconds since 1970
 * @property {string} operation
 * @property {string} target
 * @property {{caller?: {user?: string}, outcome?: string}} metadata
 */

/**
 * @typedef {object} Ledger
 * @property {number} entries
 * @property {boolean} whole
 * @property {number} verified_to the last entry that was verified
 * @property {{part: string, id: number | null, damage: string, what: string} | null} [first_bad]
 * @property {Entry[]} latest
 */

/** @typedef {{containers: Container[] | null, ledger: Ledger | null}} Overview */

/** The version of the messages that this page understands. */
export const VERSION = 1;

/** The most bytes that a message to the server may have. */
export const LONGEST = 4096;

/**
 * A message as it came, or null where it is none.
 *
 * @param {unknown} text
 * @returns {Message | null}
 */
export function parse(text) {
  let value;
  try {
    value = JSON.parse(String(text));
  } catch {
    return null;
  }
  if (!isObject(value) || typeof value.type !== "string") return null;
  return /** @type {Message} */ ({
    ...value,
    content: typeof value.content === "string" ? value.content : "",
    tools_used: strings(value.tools_used),
  });
}

/**
 * Whether this message ends what was asked for, for now.
 *
 * @param {Message} message
 */
export function settles(message) {
  return message.type === "assistant" || message.type === "error" || message.type === "unclear";
}

/**
 * The texts of what should be a list of them.
 *
 * @param {unknown} value
 * @returns {string[]}
 */
export function strings(value) {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

/**
 * Whether it is an object with fields.
 *
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
