// Evidence against the threshold: a bar, and words for it.

import { h, say } from "./dom.js";
import { texts } from "./texts.js";
import { write } from "./write.js";

const BEYOND = 1.25; // the bar ends at so many times the threshold

/** A word for how near the evidence is to the alarm. */
export function strength(evidence, threshold) {
  const part = evidence / threshold;
  const { none, little, growing, near, enough } = texts.evidence.words;
  return part >= 1 ? enough : part >= 0.75 ? near : part >= 0.5 ? growing : part >= 0.25 ? little : none;
}

function wording(phase, evidence, threshold) {
  if (phase === "learning") return texts.evidence.learning;
  if (phase === "alarm" && evidence < threshold) return texts.evidence.falling;
  return phase === "unlike" && evidence < threshold / 4 ? texts.evidence.unlike : strength(evidence, threshold);
}

/** Make a bar; `update(machine)` shows another state of it. */
export function bar() {
  const fill = h("div.fill");
  const meter = h("div.gauge", { role: "meter", "aria-label": texts.evidence.label, "aria-valuemin": 0 }, fill,
    h("div.limit", { style: { left: `${100 / BEYOND}%` } }));
  const word = h("span.word");
  const figure = h("span.figure");
  const element = h("div.evidence", {}, h("div.line", {}, word, figure), meter);
  return { element, update };

  function update({ phase, evidence, threshold }) {
    const known = evidence != null && threshold > 0 && phase !== "not listened to";
    meter.hidden = !known;
    if (!known) {
      say(word, texts.evidence.unknown);
      return say(figure, "");
    }
    const [value, limit] = [write.one(evidence), write.one(threshold)];
    const part = evidence / threshold;
    element.className = `evidence ${part >= 1 || phase === "alarm" ? "alarm" : part >= 0.5 ? "warning" : "quiet"}`;
    fill.style.width = `${Math.min(100, Math.max(0, (100 * part) / BEYOND))}%`;
    meter.setAttribute("aria-valuenow", Math.max(0, evidence).toFixed(2));
    meter.setAttribute("aria-valuemax", (threshold * BEYOND).toFixed(2));
    meter.setAttribute("aria-valuetext", `${wording(phase, evidence, threshold)}: ${texts.evidence.figure(value, limit)}`);
    say(word, wording(phase, evidence, threshold));
    say(figure, texts.evidence.figure(value, limit));
  }
}
