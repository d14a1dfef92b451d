// A list of events that may be long: rows are made only where they are seen, and fetched as somebody scrolls.

import * as api from "./api.js";
import { h, say } from "./dom.js";
import { moment, wholly } from "./format.js";
import { link } from "./route.js";
import { shape } from "./shapes.js";
import { without } from "./states.js";
import { texts } from "./texts.js";

const ROW = 68; // pixels, as in style.css
const SPARE = 6; // rows made beyond those in sight
const PAGE = 50;

/**
 * Make the list.
 * @param {object} filter  parameters of GET /api/events, such as `{machine}`
 * @param {{named?: boolean, toast: function}} options  `named`: whether rows name their machine
 * @returns `element`, `load()` (again, from the newest on), `add(event)`, `end()`
 */
export function eventList(filter, { named = false, toast }) {
  const rows = h("ol.rows", { role: "list" });
  const status = h("p.muted.small.foot", { role: "status" });
  const element = h("div.events", { tabindex: 0, role: "region", "aria-label": texts.events.list, scroll: soon }, rows, status);
  const made = new Map();
  let events = [];
  let next = null;
  let wanted = null; // the request that is on its way
  let told = []; // what came meanwhile
  let drawing = 0;
  const observer = new ResizeObserver(soon);
  observer.observe(element);
  return { element, load, add, end };

  async function load(changed = filter) {
    filter = changed;
    wanted?.abort();
    wanted = null;
    await more(true);
  }

  async function more(anew = false) {
    if (wanted || (!anew && next === null)) return;
    [wanted, told] = [new AbortController(), []];
    const { signal } = wanted;
    if (anew && !events.length) say(status, texts.loading);
    try {
      const found = await api.get("api/events", { ...filter, limit: PAGE, before: anew ? null : next }, { signal });
      if (anew) [events, element.scrollTop] = [[], 0];
      if (anew) forget();
      const known = new Set(events.map((each) => each.id));
      events.push(...found.events.filter((each) => !known.has(each.id)));
      next = found.next;
      told.forEach(put);
    } catch (error) {
      if (signal.aborted) return;
      next = null;
      toast(error, { action: { label: texts.retry, run: () => load() } });
    }
    wanted = null;
    say(status, events.length ? "" : texts.events.none);
    soon();
  }

  function add(event) {
    if (wanted) told.push(event); // the answer that is on its way may not have it
    put(event);
    forget();
    soon();
  }

  function put(event) {
    const at = events.findIndex((each) => each.id === event.id);
    if (at >= 0) events[at] = { ...events[at], ...event };
    else {
      const before = events.findIndex((each) => each.time <= event.time); // an event may be told after later ones
      events.splice(before < 0 ? events.length : before, 0, event);
      if (element.scrollTop > 0 && before * ROW <= element.scrollTop) element.scrollTop += ROW; // what is read stays in place
    }
  }

  function forget() {
    made.clear();
    rows.replaceChildren();
  }

  function soon() {
    drawing ||= requestAnimationFrame(draw);
  }

  function draw() {
    drawing = 0;
    rows.style.height = `${events.length * ROW}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - SPARE);
    const last = Math.min(events.length, Math.ceil((element.scrollTop + element.clientHeight) / ROW) + SPARE);
    for (const [at, each] of made) {
      if ((at < first || at >= last) && !each.contains(document.activeElement)) {
        each.remove();
        made.delete(at);
      }
    }
    for (let at = first; at < last; at++) if (!made.has(at)) make(at);
    if (last > events.length - 2 * SPARE) more();
  }

  /** Keep the order of the document that of the list: the tab key follows it. */
  function make(at) {
    const each = row(events[at], at);
    let after = at + 1;
    while (after < events.length && after < at + 40 && !made.has(after)) after += 1;
    rows.insertBefore(each, made.get(after) ?? null);
    made.set(at, each);
  }

  function row(event, at) {
    const marks = [event.judgement && texts.events.judged[event.judgement], event.acknowledged && texts.events.acknowledged,
      event.notes > 0 && texts.events.notes(event.notes)].filter(Boolean);
    const kind = texts.kinds[event.kind] ?? event.kind;
    return h("li", { style: { top: `${at * ROW}px` }, "aria-setsize": next === null ? events.length : -1, "aria-posinset": at + 1 },
      h("a.event", { href: link("events", event.id), class: `event ${event.severity}` },
        shape({ alarm: "alarm", warning: event.kind === "condition" ? "condition" : "unlike" }[event.severity] ?? "info"),
        h("div.text", {},
          h("div.line", {}, h("strong", {}, kind, named && h("span", {}, ` · ${event.machine || texts.name}`)),
            h("time.muted", { title: wholly(event.time) }, moment(event.time))),
          h("div.line.muted", {}, h("span.cut", {}, without(event.text, event.machine)),
            marks.length > 0 && h("span.marks", {}, marks.join(" · "))))));
  }

  function end() {
    wanted?.abort();
    observer.disconnect();
    cancelAnimationFrame(drawing);
  }
}
