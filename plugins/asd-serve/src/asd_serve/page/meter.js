// A level meter: how loud the microphone is now, and lately at most.

import { h } from "./dom.js";
import { texts } from "./texts.js";
import { write } from "./write.js";

const LOWEST = -72; // dB of full scale
const HIGH = -1; // from here on it clips
const FALL = 0.6; // dB by which the peak falls with each block

export class Meter {
  #peak = LOWEST;

  constructor() {
    this.bar = h("div.loudness-bar");
    this.tip = h("div.loudness-tip");
    this.text = h("span.small", {});
    this.scale = h("div.loudness-scale", { role: "meter", "aria-label": texts.meter.label, "aria-valuemin": LOWEST, "aria-valuemax": 0,
      "aria-valuenow": LOWEST }, this.bar, this.tip);
    this.element = h("div.loudness", {}, this.scale, this.text);
  }

  /** Show a level and a peak, in dB of full scale. */
  show({ level, peak }) {
    this.#peak = Math.max(peak, this.#peak - FALL);
    const place = (value) => `${Math.max(0, Math.min(1, 1 - value / LOWEST)) * 100}%`;
    this.bar.style.setProperty("width", place(level));
    this.tip.style.setProperty("left", place(this.#peak));
    this.element.classList.toggle("clips", this.#peak > HIGH);
    this.scale.setAttribute("aria-valuenow", Math.round(level));
    this.scale.setAttribute("aria-valuetext", texts.meter.value(write.number(Math.round(level))));
    this.text.textContent = texts.meter.value(write.number(Math.round(level)));
  }
}
