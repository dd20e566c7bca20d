// Rows as a table that can be sorted, with what does not fit into a column behind a button of its row.

import { el, icon } from "./dom.js";
import { count, isQuantity, order, plain, rank, shown, title } from "./format.js";
import { isObject } from "./messages.js";

/** @typedef {Record<string, unknown>} Row */
/** @typedef {{path: string[], key: string, title: string, right: boolean}} Column */

/** How many rows are put into the page at a time. */
const STEP = 50;
const MOST_COLUMNS = 9;
/** The characters of a cell's line that are shown in any case; all of it is with the row's details. */
const LONG = 40;
/** The most characters that are put into a cell. */
const LONGEST = 240;
/** The rows that are looked at to find the columns. */
const LOOKED_AT = 200;

/** Fields inside others that are worth a column: who, and how it ended, of an entry of the ledger. */
const INSIDE = [
  ["metadata", "outcome"],
  ["metadata", "caller", "user"],
  ["metadata", "duration_us"],
  ["metadata", "error"],
];
/** Fields that are seldom read: they get no column. */
const SELDOM = /(hash|digest|uuid|mac|generation)$/i;

/**
 * @param {Row[]} rows
 * @param {(row: Row) => Node} details all of a row
 * @returns {{element: HTMLElement, reveal: (row: Row) => void}}
 */
export function table(rows, details) {
  const { columns, complete } = columnsOf(rows);
  let sorted = rows;
  /** @type {Map<Row, HTMLTableRowElement>} */
  let drawn = new Map();

  const body = el("tbody");
  const more = el("button", {
    type: "button",
    class: "quiet",
    "data-action": "more",
    click: () => draw(drawn.size + STEP * 4),
  });
  const headings = columns.map((column) => {
    const button = el("button", { type: "button", "data-action": "sort" }, column.title);
    const heading = el("th", { scope: "col", class: column.right ? "right" : null }, button);
    button.addEventListener("click", () => sort(column, heading));
    return heading;
  });
  const names = el(
    "tr",
    {},
    complete ? null : el("th", { class: "opener" }, el("span", { class: "unseen" }, "Details")),
    ...headings,
  );
  const element = el(
    "div",
    { class: "table", "data-part": "table" },
    el(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": `Table, ${count(rows.length)} rows` },
      el("table", {}, el("thead", {}, names), body),
    ),
    more,
  );
  draw(STEP);

  /**
   * Draws rows up to this many.
   *
   * @param {number} upTo
   */
  function draw(upTo) {
    const fragment = document.createDocumentFragment();
    for (const row of sorted.slice(drawn.size, upTo)) {
      const drawnRow = rowOf(row);
      drawn.set(row, drawnRow);
      fragment.append(drawnRow);
    }
    body.append(fragment);
    const left = rows.length - drawn.size;
    more.hidden = left === 0;
    more.textContent = `${count(left)} more rows`;
  }

  /** @param {Row} row */
  function rowOf(row) {
    const cells = columns.map((column) => cell(column, row));
    const line = el("tr", { tabindex: -1 }, complete ? null : el("td", { class: "opener" }, opener(row)), ...cells);
    return line;
  }

  /** @param {Row} row */
  function opener(row) {
    const button = el(
      "button",
      {
        type: "button",
        class: "quiet icon",
        "data-action": "details",
        "aria-expanded": "false",
        "aria-label": "Details",
      },
      icon("more"),
    );
    button.addEventListener("click", () => {
      const line = /** @type {HTMLTableRowElement} */ (button.closest("tr"));
      const open = button.getAttribute("aria-expanded") === "true";
      if (open) line.nextElementSibling?.remove();
      else line.after(el("tr", { class: "details" }, el("td", { colspan: columns.length + 1 }, details(row))));
      button.setAttribute("aria-expanded", String(!open));
    });
    return button;
  }

  /**
   * @param {Column} column
   * @param {HTMLElement} heading
   */
  function sort(column, heading) {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    sorted = rows.toSorted((a, b) => compare(at(a, column.path), at(b, column.path)) * (descending ? -1 : 1));
    const before = drawn.size;
    drawn = new Map();
    body.replaceChildren();
    draw(before);
  }

  /** @param {Row} row */
  function reveal(row) {
    while (!drawn.has(row)) draw(drawn.size + STEP * 4);
    const line = drawn.get(row);
    line?.scrollIntoView({ block: "center" });
    line?.focus({ preventScroll: true });
  }

  return { element, reveal };
}

/**
 * @param {Column} column
 * @param {Row} row
 */
function cell(column, row) {
  const value = at(row, column.path);
  const text = plain(value);
  const content = text.length > LONGEST ? text.slice(0, LONGEST) : shown(column.key, value, row);
  if (text.length > LONG) return el("td", { class: "long" }, el("div", {}, content));
  return el("td", { class: column.right ? "right" : null }, content);
}

/**
 * The columns, and whether they have all that the rows have.
 *
 * @param {Row[]} rows
 * @returns {{columns: Column[], complete: boolean}}
 */
function columnsOf(rows) {
  const some = rows.slice(0, LOOKED_AT);
  /** @type {Map<string, string[]>} */
  const paths = new Map();
  let complete = true;
  for (const row of some) {
    for (const key of Object.keys(row)) paths.set(key, [key]);
    for (const path of INSIDE) if (at(row, path) !== undefined) paths.set(path.join("."), path);
  }
  const columns = [];
  for (const path of paths.values()) {
    const key = path[path.length - 1];
    const values = some
      .map((row) => at(row, path))
      .filter((value) => value !== null && value !== undefined && value !== "");
    if (values.length === 0) continue;
    if (SELDOM.test(key) || values.some((value) => isObject(value) || (Array.isArray(value) && value.some(isObject)))) {
      complete = false;
    } else {
      if (values.some((value) => plain(value).length > LONG)) complete = false;
      columns.push({ path, key, title: title(key), right: isQuantity(key, values[0]) });
    }
  }
  columns.sort((a, b) => rank(a.path[0]) - rank(b.path[0]));
  if (columns.length > MOST_COLUMNS) complete = false;
  return { columns: columns.slice(0, MOST_COLUMNS), complete };
}

/**
 * @param {Row} row
 * @param {string[]} path
 * @returns {unknown}
 */
function at(row, path) {
  return path.reduce((/** @type {unknown} */ value, key) => (isObject(value) ? value[key] : undefined), row);
}

/**
 * By size where both are numbers or times, else as a person sorts: web-2 before web-10.
 *
 * @param {unknown} a
 * @param {unknown} b
 */
function compare(a, b) {
  const [left, right] = [order(a), order(b)];
  if (typeof left === "number" && typeof right === "number") return left - right;
  return String(left).localeCompare(String(right), "en", { numeric: true });
}
