// What state a machine is in, for people, and how urgent it is.

import { h } from "./dom.js";
import { capital, localised, moment, span, wholly } from "./format.js";
import { shape } from "./shapes.js";
import { texts } from "./texts.js";

const URGENCY = ["alarm", "unlike", "condition", "not listened to", "cleared", "learning", "watching"];
const CALM = ["watching", "learning", "cleared"];

/** What is shown of a machine: its phase, or that a disturbed recording keeps it from being judged. */
export function standing({ phase, conditions }) {
  return conditions?.length && CALM.includes(phase) ? "condition" : phase;
}

/** Sort: the most urgent first, then the latest change or the most evidence, then by name. */
export function urgency(one, other) {
  const rank = (machine) => URGENCY.indexOf(standing(machine));
  return rank(one) - rank(other) || (rank(one) < 3 ? (since(other) ?? 0) - (since(one) ?? 0) : 0)
    || steps(other) - steps(one) || one.name.localeCompare(other.name);
}

/** Quarters of the way to the alarm: in steps, so that machines do not change places with every clip. */
const steps = ({ evidence, threshold }) => (threshold > 0 ? Math.floor((4 * (evidence ?? 0)) / threshold) : 0);

/** Since when it stands so. */
export function since(machine) {
  return standing(machine) === "condition" ? Math.min(...machine.conditions.map((each) => each.began)) : machine.since;
}

/** The word with its shape. */
export function state(name, words = texts.phases[name] ?? name) {
  return h("span", { class: `state ${name.replaceAll(" ", "-")}` }, shape(name), words);
}

/** A time with how long ago it was; in whole when pointed at. */
export function sinceWhen(time) {
  if (!time) return null;
  const ago = Date.now() / 1000 - time;
  return h("time", { datetime: new Date(time * 1000).toISOString(), title: wholly(time) },
    texts.times.since(moment(time)), h("span.muted", {}, ` · ${span(ago)}`));
}

/** What a model is called; one that is known by its digest alone, by the beginning of it. */
export const modelName = (model) => (/^[0-9a-f]{64}$/.test(model ?? "") ? model.slice(0, 8) : model);

/** An event's text without the machine's name, where that stands beside it already. */
export const without = (text, machine) => {
  const rest = text.startsWith(`${machine}: `) ? text.slice(machine.length + 2) : text;
  return localised(capital(rest));
};
