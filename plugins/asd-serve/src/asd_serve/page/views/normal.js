// "That was normal": what it changes is shown before it is done.

import { ask, problem } from "../dialog.js";
import { h, put } from "../dom.js";
import { localised, moment } from "../format.js";
import { texts } from "../texts.js";
import { write } from "../write.js";

/**
 * Show what would change, and ask.
 * @param {function(): Promise<object>} preview  as `GET /api/events/{id}/preview` answers
 * @returns {Promise<boolean>}
 */
export function askNormal(preview) {
  const words = texts.normal;
  const place = h("div.preview", { "aria-live": "polite" }, h("p.muted", {}, words.computing));
  const ready = preview().then((found) => put(place, changes(found, words)));
  ready.catch((error) => put(place, problem(error)));
  return ask(words.title, [place, h("p.small.muted", {}, words.later)], { yes: words.yes, ready });
}

/** What a preview says, as elements. */
export function changes(found, words) {
  const { before = {}, after = {} } = found;
  const keys = Object.keys(before).filter((key) => key in after && isPlain(before[key]) && isPlain(after[key]));
  const spared = found.alarms_not_raised ?? [];
  return [
    h("p", {}, found.text),
    keys.length > 0 && h("div.scroller", { tabindex: 0, role: "region", "aria-label": words.what }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, words.what), h("th.number", {}, words.before), h("th.number", {}, words.after))),
      h("tbody", {}, keys.map((key) => h("tr", { class: before[key] === after[key] ? "same" : "" },
        h("th", { scope: "row" }, words.keys[key] ?? key.replaceAll("_", " ")),
        h("td.number", {}, plain(key, before[key])), h("td.number", {}, plain(key, after[key]))))))),
    spared.length > 0 && [h("p", {}, words.spared(spared.length)),
      h("ul.small", {}, spared.slice(0, 10).map((each) => h("li", {},
        typeof each === "object" ? `${moment(each.time)} ${localised(each.text ?? "")}` : `${each}`)))],
  ];
}

const isPlain = (value) => value === null || typeof value !== "object";

function plain(key, value) {
  if (typeof value === "number") return write.short(value);
  if (typeof value === "boolean") return value ? texts.normal.yesShort : texts.normal.noShort;
  return (key === "phase" ? texts.phases[value] : value) ?? value ?? "–";
}
