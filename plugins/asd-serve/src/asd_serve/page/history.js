// A machine's evidence, scores or levels, live and past in one plot: fetched for the span that is seen, and moved on as
// clips come in.

import * as api from "./api.js";
import { evidencePlot } from "./evidenceplot.js";
import { h, say } from "./dom.js";
import { moment } from "./format.js";
import { link } from "./route.js";
import { gestures, latest, moved, zoomed } from "./span.js";
import { texts } from "./texts.js";

const PRESETS = { hour: 3600, day: 86400, week: 7 * 86400, month: 30 * 86400, year: 365 * 86400 };
const QUANTITIES = ["evidence", "score", "level"];
const WAIT = 120; // ms after the last move of a finger
const AROUND = 0.5; // parts of the span fetched on either side, so that moving shows something at once
const [FEWEST, MOST] = [200, 1200];

/**
 * Make the plot with its controls.
 * @param {string} machine
 * @param {{since?: string, until?: string, span?: string}} parameters  from the address, to which the span is written
 * @param {{go: function, toast: function}} context
 * @returns `element`, `load()`, `verdict(message)`, `event(message)`, `end()`
 */
export function historyPlot(machine, parameters, { go, toast }) {
  const words = texts.machine;
  const value = h("p.muted.small.reading");
  const plot = evidencePlot({ clicked: ({ id }) => go("events", id), pointed: read });
  const presets = Object.entries(PRESETS).map(([name, length]) =>
    h("button", { type: "button", click: () => change(() => latest(length)) }, words.presets[name]));
  const tool = (label, sign, action) => h("button.quiet", { type: "button", "aria-label": label, title: label,
    click: () => change(action) }, sign);
  const now = h("button.quiet", { type: "button", click: () => change((span) => latest(span.until - span.since)) }, words.now);
  const quantities = QUANTITIES.map((each) => h("button", { type: "button", click: () => choose(each) }, words.quantities[each]));
  const element = h("div.history", {},
    h("div.plotbar", {},
      h("div.segments", { role: "group", "aria-label": words.quantity }, quantities),
      h("div.segments", { role: "group", "aria-label": words.span }, presets),
      h("div.zoom.noprint", {}, tool(words.earlier, "‹", (span) => moved(span, -0.5)), tool(words.later, "›", (span) => moved(span, 0.5)),
        tool(words.zoomOut, "−", (span) => zoomed(span, 2)), tool(words.zoomIn, "+", (span) => zoomed(span, 0.5)), now)),
    plot.element, value);

  let span = first(parameters);
  let anyhow = !parameters.span && !parameters.since; // nobody has chosen the span
  let quantity = QUANTITIES[0];
  let data = { times: [], values: [], fromZero: true, threshold: null, events: [], conditions: [], step: 0 };
  let [waiting, request, fetched, pointing] = [0, null, 0, false];
  gestures(plot.element, plot.area, change);
  const timer = setInterval(follow, 1000);
  mark();
  return { element, load, verdict, event, end };

  function change(action) {
    anyhow = false;
    span = action(span);
    plot.move(span);
    mark();
    clearTimeout(waiting);
    waiting = setTimeout(() => load().catch(toast), WAIT);
  }

  function choose(another) {
    quantity = another;
    mark();
    load().catch(toast);
  }

  async function load() {
    request?.abort();
    request = new AbortController();
    const length = span.until - span.since;
    const points = Math.round(Math.min(MOST, Math.max(FEWEST, plot.element.clientWidth)) * (1 + AROUND));
    const query = { since: span.since - AROUND * length, until: span.until + (span.following ? 0 : AROUND * length), points };
    const wanted = quantity;
    const ask = (what) => api.get(api.path("machines", machine, what), query, { signal: request.signal });
    const [found, levels] = await Promise.all([ask("series"), wanted === "level" ? ask("levels") : null]);
    fetched = Date.now() / 1000;
    const earliest = found.points[0]?.time ?? 0;
    if (anyhow && fetched - earliest < 2 * PRESETS.hour) {
      [anyhow, span] = [false, latest(PRESETS.hour)]; // a day of a machine that is new here would be a line
      mark();
      return load();
    }
    anyhow = false;
    const values = levels ? levels.times.map((time, at) => ({ time, value: levels.level[at] }))
      : found.points.map((each) => ({ time: each.time, value: each[wanted] }));
    const step = (levels ?? found).step ?? (query.until - query.since) / points;
    data = { ...found, ...withGaps(values, step), quantity: wanted, fromZero: wanted === "evidence", limit: found.threshold };
    data.threshold = data.fromZero ? data.limit : null;
    plot.element.setAttribute("aria-label", words.plot(words.quantities[wanted]));
    plot.draw(data, span);
    history.replaceState(null, "", link("machines", machine, asParameters(span)));
    read(null);
  }

  function verdict(message) {
    const value = message[data.quantity];
    if (value == null) return; // levels come each minute
    if (data.fromZero) data.threshold = message.threshold ?? data.threshold;
    const last = data.times.at(-1);
    if (last !== undefined && message.time <= last) return;
    data.times.push(message.time);
    data.values.push(value);
    if (span.following) {
      span = latest(span.until - span.since);
      plot.draw(data, span);
      if (!pointing) read(null);
    }
  }

  function event(message) {
    if (data.events.some((each) => each.id === message.id)) return;
    data.events.push(message);
    plot.draw(data, span);
  }

  /** Let the plot move on with time; a long span is fetched again, as its points are sums of many clips. */
  function follow() {
    if (!span.following || document.hidden) return;
    const length = span.until - span.since;
    const passed = Date.now() / 1000;
    if (passed - span.until > length / 600) {
      span = latest(length);
      plot.move(span);
    }
    if (passed - fetched > Math.max(60, length / 300)) {
      fetched = passed;
      load().catch(() => {}); // the next try follows; a lost connection is told elsewhere
    }
  }

  function mark() {
    const length = span.until - span.since;
    Object.values(PRESETS).forEach((each, at) =>
      presets[at].setAttribute("aria-pressed", String(span.following && Math.abs(length / each - 1) < 0.01)));
    QUANTITIES.forEach((each, at) => quantities[at].setAttribute("aria-pressed", String(each === quantity)));
    now.disabled = span.following;
  }

  function read(point) {
    pointing = Boolean(point);
    const at = point ?? lastOf(data);
    if (!at || at.value == null) return say(value, at ? "" : words.noHistory);
    say(value, words.readings[data.quantity](moment(at.time, { exact: data.step < 60 }), at.value));
  }

  function end() {
    clearInterval(timer);
    clearTimeout(waiting);
    request?.abort();
    plot.end();
  }
}

function first({ since, until, span }) {
  const [from, to, length] = [since, until, span].map(Number);
  if (from > 0 && to > from) return { since: from, until: to, following: false };
  return latest(length > 0 ? length : PRESETS.day);
}

const asParameters = ({ since, until, following }) =>
  following ? { span: Math.round(until - since) } : { since: Math.round(since), until: Math.round(until) };

function lastOf({ times, values }) {
  for (let at = times.length - 1; at >= 0; at--) if (values[at] != null) return { time: times[at], value: values[at] };
  return null;
}

/** Columns of the points, with an empty one wherever nothing was judged, so that the curve breaks there. */
function withGaps(points, step) {
  const [times, values] = [[], []];
  const typical = Math.max(step, median(points.map((each, at) => (at ? each.time - points[at - 1].time : 0)).slice(1)));
  for (const point of points) {
    if (times.length && point.time - times.at(-1) > 3 * typical) {
      times.push(times.at(-1) + typical);
      values.push(null);
    }
    times.push(point.time);
    values.push(point.value ?? null);
  }
  return { times, values, step: typical };
}

const median = (values) => values.sort((one, other) => one - other)[values.length >> 1] ?? 0;
