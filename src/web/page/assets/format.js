// How a value of an answer is shown, by the name of its field and by what it is.

import { el } from "./dom.js";

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const TIME = /(^|_)(timestamp|time|at|since|until|created|built|taken|sent|replaced|expires)$/;
const BYTES = /(^|_)(bytes|size)$/;
const MEBIBYTES = /^(memory|swap)$/;
/** Numbers that are names: they have no thousands. */
const NAMES = /(^|_)(id|uid|gid|pid|port|version|sequence)$/;
const STATE = /^(state|outcome|status|action|change)$/;

/** Seconds of one unit of a duration, by how its field's name ends. @type {[RegExp, number][]} */
const DURATIONS = [
  [/_us$/, 1e-6],
  [/_ms$/, 1e-3],
  [/(^|_)(seconds|seconds_left|secs|s)$/, 1],
];

/** Words of state, by how they look. */
const MOODS = new Map(
  Object.entries({
    running: "good",
    ok: "good",
    whole: "good",
    create: "good",
    added: "good",
    active: "good",
    failed: "bad",
    refused: "bad",
    denied: "bad",
    problem: "bad",
    damaged: "bad",
    remove: "bad",
    removed: "bad",
    gone: "bad",
    warning: "warn",
    busy: "warn",
    update: "warn",
    changed: "warn",
    starting: "warn",
    stopping: "warn",
  }),
);

/** Fields that come first, in this order. */
const FIRST = ["id", "timestamp", "name", "state", "operation", "target", "address", "template"];

/** Titles that are not their fields' names. */
const TITLES = new Map(Object.entries({ id: "No.", mac: "MAC", uuid: "UUID", user: "By", timestamp: "When" }));

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
/** @type {Intl.DateTimeFormatOptions} */
const TIME_OF_DAY = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const today = new Intl.DateTimeFormat("en-GB", TIME_OF_DAY);
const thisYear = new Intl.DateTimeFormat("en-GB", { month: "short", day: "numeric", ...TIME_OF_DAY });
const longAgo = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", ...TIME_OF_DAY });

/**
 * `firstId` as `first_id`.
 *
 * @param {string} key
 */
function snake(key) {
  return key.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();
}

/**
 * A field's name for a person, without its unit, which is with the value: `duration_us` is "Duration".
 *
 * @param {string} key
 */
export function title(key) {
  const known = TITLES.get(key);
  if (known) return known;
  const words =
    snake(key)
      .replace(/_(us|ms|secs|bytes)$/, "")
      .replaceAll("_", " ")
      .trim() || key;
  return words[0].toUpperCase() + words.slice(1);
}

/**
 * Where a field comes among others.
 *
 * @param {string} key
 */
export function rank(key) {
  const first = FIRST.indexOf(key);
  return first === -1 ? FIRST.length : first;
}

/** @param {number} number */
export function count(number) {
  return whole.format(number);
}

/** @param {number} value */
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short.format(value)} ${units[unit]}`;
}

/**
 * A length of time with as much of it as matters: `38 ms`, `2.4 s`, `3 min 20 s`.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 1e-3) return `${short.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${short.format(seconds * 1e3)} ms`;
  if (seconds < 60) return `${short.format(seconds)} s`;
  const total = Math.round(seconds);
  const parts = [
    [Math.floor(total / 86400), "d"],
    [Math.floor(total / 3600) % 24, "h"],
    [Math.floor(total / 60) % 60, "min"],
    [total % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount);
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}

/**
 * The moment that a field of a time says, in milliseconds since 1970; null where it says none.
 *
 * @param {unknown} value seconds since 1970, or RFC 3339
 */
export function moment(value) {
  if (typeof value === "number") return value > 1e8 && value < 1e11 ? value * 1000 : null;
  if (typeof value !== "string" || !RFC3339.test(value)) return null;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : at;
}

/**
 * A moment in the browser's time zone, with as much of the date as it takes.
 *
 * @param {number} at in milliseconds since 1970
 */
export function when(at) {
  const date = new Date(at);
  const now = new Date();
  const sameYear = date.getFullYear() === now.getFullYear() ? thisYear : longAgo;
  const format = date.toDateString() === now.toDateString() ? today : sameYear;
  return el("time", { datetime: date.toISOString(), title: date.toISOString() }, format.format(date));
}

/**
 * What a field's value is worth, compared with others of the same field.
 *
 * @param {unknown} value
 * @returns {number | string}
 */
export function order(value) {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  return moment(value) ?? plain(value);
}

/**
 * A value as plain text.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function plain(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * Whether a field's values are shown flush right: numbers that are compared with each other.
 *
 * @param {string} key
 * @param {unknown} value
 */
export function isQuantity(key, value) {
  const name = snake(key);
  return typeof value === "number" && !NAMES.test(name) && !(TIME.test(name) && moment(value) !== null);
}

/**
 * A single value: a text, a number, a word of state, a list of such.
 *
 * @param {string} key the name of its field
 * @param {unknown} value
 * @param {Record<string, unknown>} [beside] the other fields
 * @returns {Node | string}
 */
export function shown(key, value, beside = {}) {
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) {
    return el("span", { class: "nothing", "aria-label": "none" }, "–");
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  const name = snake(key);
  if (typeof value === "number") return number(name, value, beside);
  if (typeof value === "string") {
    const at = moment(value);
    if (at !== null) return when(at);
    return STATE.test(name) ? state(value) : value;
  }
  return plain(value);
}

/**
 * @param {string} name
 * @param {number} value
 * @param {Record<string, unknown>} beside
 */
function number(name, value, beside) {
  const at = TIME.test(name) ? moment(value) : null;
  if (at !== null) return when(at);
  const unit = DURATIONS.find(([ending]) => ending.test(name));
  if (unit) return duration(value * unit[1]);
  if (MEBIBYTES.test(name)) return bytes(value * 2 ** 20);
  // The size of a checkpoint, which has a tree's root, is a number of entries.
  if (BYTES.test(name) && !("root" in beside)) return bytes(value);
  if (NAMES.test(name)) return String(value);
  return Number.isInteger(value) ? count(value) : short.format(value);
}

/**
 * A word of state, with a dot whose colour says the same.
 *
 * @param {string} word
 */
export function state(word) {
  return el("span", { class: "state", "data-mood": MOODS.get(word) ?? "idle" }, word);
}
