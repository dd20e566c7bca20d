// When: rows that have a `timestamp`, drawn over time. Dots where there are few, bars where there are many.

import { el, svg } from "./dom.js";
import { count, moment } from "./format.js";
import { isObject } from "./messages.js";
import { range, ticks } from "./ticks.js";

/** @typedef {Record<string, unknown>} Row */
/** @typedef {{at: number, row: Row, bad: boolean}} Point */
/** @typedef {{x: number, width: number, points: Point[], label: string}} Mark where it is, in percent of the chart */

const MOST_DOTS = 24;
const BARS = 30;
/** From above, in pixels. */
const TOP = 8;
const BASE = 64;
const HEIGHT = 90;

const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/**
 * A chart of the rows; null where fewer than two have a time.
 *
 * @param {Row[]} rows
 * @param {(row: Row) => void} pick what happens when a mark is chosen
 * @returns {HTMLElement | null}
 */
export function timeline(rows, pick) {
  const points = pointsOf(rows);
  if (points.length < 2) return null;
  const first = points[0].at;
  const last = points[points.length - 1].at;
  const { from, to } = range(first, last);
  /** @param {number} at */
  const place = (at) => 2 + ((at - from) / (to - from)) * 96;
  const marks = points.length <= MOST_DOTS ? dots(points, place) : bars(points, from, to, place);
  const most = Math.max(...marks.map((mark) => mark.points.length));
  const summary = `${count(points.length)} from ${exact.format(first)} to ${exact.format(last)}, ${zone}`;

  const tip = el("div", { class: "tip", hidden: true });
  const chart = svg(
    "svg",
    { class: "chart", height: HEIGHT, role: "group", "aria-label": `When: ${summary}` },
    svg("line", { class: "axis", x1: "0%", x2: "100%", y1: BASE, y2: BASE }),
    ...ticks(from, to).flatMap(({ at, label }) => [
      svg("line", { class: "tick", x1: `${place(at)}%`, x2: `${place(at)}%`, y1: TOP, y2: BASE + 4 }),
      svg("text", { x: `${place(at)}%`, y: BASE + 19, "text-anchor": anchor(place(at)) }, label),
    ]),
    ...marks.map((mark, index) => drawn(mark, index, most)),
  );
  const figure = el(
    "figure",
    { class: "timeline", "data-part": "timeline" },
    el("figcaption", {}, el("strong", {}, "When "), summary),
    el("div", { class: "plot" }, chart, tip),
  );
  operate(chart, marks, tip, pick);
  return figure;
}

/**
 * @param {Row[]} rows
 * @returns {Point[]} the earliest first
 */
function pointsOf(rows) {
  const points = [];
  for (const row of rows) {
    const at = moment(row.timestamp);
    if (at === null) continue;
    const outcome = isObject(row.metadata) ? row.metadata.outcome : row.outcome;
    points.push({ at, row, bad: outcome !== undefined && outcome !== "ok" });
  }
  return points.sort((a, b) => a.at - b.at);
}

/** @param {Row} row */
function name(row) {
  const parts = [row.operation ?? row.name, row.target].filter((part) => typeof part === "string");
  return parts.join(" ").slice(0, 120);
}

/**
 * @param {Point[]} points
 * @param {(at: number) => number} place
 * @returns {Mark[]}
 */
function dots(points, place) {
  return points.map((point) => ({
    x: place(point.at),
    width: 0,
    points: [point],
    label: `${exact.format(point.at)}: ${name(point.row)}${point.bad ? ", did not succeed" : ""}`,
  }));
}

/**
 * @param {Point[]} points
 * @param {number} from
 * @param {number} to
 * @param {(at: number) => number} place
 * @returns {Mark[]}
 */
function bars(points, from, to, place) {
  /** @type {Point[][]} */
  const bins = Array.from({ length: BARS }, () => []);
  for (const point of points)
    bins[Math.min(BARS - 1, Math.floor(((point.at - from) / (to - from)) * BARS))].push(point);
  return bins.flatMap((inside, index) => {
    if (inside.length === 0) return [];
    const begin = from + ((to - from) * index) / BARS;
    const end = begin + (to - from) / BARS;
    const bad = inside.filter((point) => point.bad).length;
    return [
      {
        x: place(begin),
        width: place(end) - place(begin),
        points: inside,
        label: `${exact.format(begin)} to ${exact.format(end)}: ${count(inside.length)}${bad > 0 ? `, ${bad} did not succeed` : ""}`,
      },
    ];
  });
}

/**
 * @param {Mark} mark
 * @param {number} index
 * @param {number} most the points of the highest bar
 */
function drawn(mark, index, most) {
  const properties = {
    class: "mark",
    role: "button",
    tabindex: index === 0 ? 0 : -1,
    "aria-label": mark.label,
    "data-index": index,
  };
  const { x, width, points } = mark;
  if (width === 0) {
    const middle = (TOP + BASE) / 2;
    return svg(
      "g",
      properties,
      svg("line", { class: "stem", x1: `${x}%`, x2: `${x}%`, y1: middle, y2: BASE }),
      svg("circle", { class: points[0].bad ? "bad" : null, cx: `${x}%`, cy: middle, r: 6 }),
    );
  }
  /** @param {number} amount */
  const height = (amount) => (amount / most) * (BASE - TOP);
  const bad = points.filter((point) => point.bad).length;
  const place = { x: `${x + width * 0.08}%`, width: `${width * 0.84}%` };
  return svg(
    "g",
    properties,
    svg("rect", { class: "reach", x: `${x}%`, width: `${width}%`, y: TOP, height: BASE - TOP }),
    svg("rect", { ...place, y: BASE - height(points.length), height: height(points.length), rx: 1 }),
    bad > 0 && svg("rect", { ...place, class: "bad", y: BASE - height(bad), height: height(bad), rx: 1 }),
  );
}

/**
 * The keyboard and the pointer: one mark is a stop of the Tab key, the arrow keys go to the others.
 *
 * @param {SVGSVGElement} chart
 * @param {Mark[]} marks
 * @param {HTMLElement} tip
 * @param {(row: Row) => void} pick
 */
function operate(chart, marks, tip, pick) {
  const elements = /** @type {SVGGElement[]} */ ([...chart.querySelectorAll(".mark")]);
  /** @param {Event} event */
  const indexOf = (event) =>
    elements.indexOf(/** @type {SVGGElement} */ (/** @type {Element} */ (event.target).closest(".mark")));

  /** @param {number} index */
  function tell(index) {
    const { x, width, label } = marks[index];
    const middle = x + width / 2;
    tip.textContent = label;
    // Set by a script, which the policy allows; at both ends the tip stays inside of the chart.
    tip.style.left = `${middle}%`;
    tip.style.translate = `-${middle}% 0`;
    tip.hidden = false;
  }

  /** @param {Event} event */
  function show(event) {
    const index = indexOf(event);
    if (index !== -1) tell(index);
  }

  const hide = () => (tip.hidden = true);
  chart.addEventListener("pointerover", show);
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("focusin", show);
  chart.addEventListener("focusout", hide);
  chart.addEventListener("click", (event) => {
    const index = indexOf(event);
    if (index !== -1) pick(marks[index].points[0].row);
  });
  chart.addEventListener("keydown", (event) => {
    const index = indexOf(event);
    if (index === -1) return;
    const target = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: elements.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      pick(marks[index].points[0].row);
    } else if (event.key === "Escape") {
      hide();
    } else if (target !== undefined) {
      event.preventDefault();
      const next = elements[Math.max(0, Math.min(elements.length - 1, target))];
      for (const element of elements) element.setAttribute("tabindex", element === next ? "0" : "-1");
      next.focus();
    }
  });
}

/** @param {number} x in percent */
function anchor(x) {
  if (x < 8) return "start";
  return x > 92 ? "end" : "middle";
}
