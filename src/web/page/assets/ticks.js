// Where an axis of time has its marks: on whole minutes, hours, days, months of the browser's time zone.

/** @typedef {"second" | "minute" | "hour" | "day" | "month" | "year"} Unit */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MOST_TICKS = 4;

/** From fine to coarse: the unit, how many of it, and about how long that is. @type {[Unit, number, number][]} */
const STEPS = [
  ["second", 10, 10 * SECOND],
  ["second", 30, 30 * SECOND],
  ["minute", 1, MINUTE],
  ["minute", 5, 5 * MINUTE],
  ["minute", 15, 15 * MINUTE],
  ["minute", 30, 30 * MINUTE],
  ["hour", 1, HOUR],
  ["hour", 3, 3 * HOUR],
  ["hour", 6, 6 * HOUR],
  ["hour", 12, 12 * HOUR],
  ["day", 1, DAY],
  ["day", 2, 2 * DAY],
  ["day", 7, 7 * DAY],
  ["day", 14, 14 * DAY],
  ["month", 1, 30 * DAY],
  ["month", 3, 91 * DAY],
  ["month", 6, 182 * DAY],
  ["year", 1, 365 * DAY],
  ["year", 5, 5 * 365 * DAY],
  ["year", 20, 20 * 365 * DAY],
];

/** @type {Record<Unit, Intl.DateTimeFormatOptions>} */
const LABELS = {
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  month: { month: "short", year: "numeric" },
  year: { year: "numeric" },
};

/**
 * What the axis spans: never nothing.
 *
 * @param {number} first in milliseconds since 1970
 * @param {number} last
 */
export function range(first, last) {
  const lacking = Math.max(0, MINUTE - (last - first)) / 2;
  return { from: first - lacking, to: last + lacking };
}

/**
 * At most four marks.
 *
 * @param {number} from in milliseconds since 1970
 * @param {number} to
 * @returns {{at: number, label: string}[]}
 */
export function ticks(from, to) {
  const [unit, amount] = STEPS.find(([, , length]) => (to - from) / length <= MOST_TICKS) ?? STEPS[STEPS.length - 1];
  const format = new Intl.DateTimeFormat("en-GB", LABELS[unit]);
  const marks = [];
  const date = floor(new Date(from), unit, amount);
  while (date.getTime() <= to) {
    if (date.getTime() >= from) marks.push({ at: date.getTime(), label: format.format(date) });
    advance(date, unit, amount);
  }
  return marks;
}

/**
 * The last whole step before. By local fields, so that a day begins at midnight on both sides of a change to summer time.
 *
 * @param {Date} date
 * @param {Unit} unit
 * @param {number} amount
 */
function floor(date, unit, amount) {
  /** @param {number} value */
  const down = (value) => value - (value % amount);
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  const [hour, minute, second] = [date.getHours(), date.getMinutes(), date.getSeconds()];
  switch (unit) {
    case "second":
      return new Date(year, month, day, hour, minute, down(second));
    case "minute":
      return new Date(year, month, day, hour, down(minute));
    case "hour":
      return new Date(year, month, day, down(hour));
    case "day":
      return new Date(year, month, day);
    case "month":
      return new Date(year, down(month), 1);
    case "year":
      return new Date(down(year), 0, 1);
  }
}

/**
 * @param {Date} date
 * @param {Unit} unit
 * @param {number} amount
 */
function advance(date, unit, amount) {
  switch (unit) {
    case "second":
      return date.setTime(date.getTime() + amount * SECOND);
    case "minute":
      return date.setTime(date.getTime() + amount * MINUTE);
    case "hour":
      return date.setTime(date.getTime() + amount * HOUR);
    case "day":
      return date.setDate(date.getDate() + amount);
    case "month":
      return date.setMonth(date.getMonth() + amount);
    case "year":
      return date.setFullYear(date.getFullYear() + amount);
  }
}
