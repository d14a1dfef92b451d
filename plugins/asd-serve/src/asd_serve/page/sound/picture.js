// A spectrogram with axes, outlined places, the moment of the alarm, and a line where it plays.

import { h, put } from "../dom.js";
import { paint } from "./colours.js";
import { height, LOWEST } from "./spectrum.js";

const FREQUENCIES = [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600];
const TICKS = 7; // at most, on a phone too
const RANGE = [45, 80]; // dB between the darkest and the brightest colour

/** The levels that colours of several spectrograms stand for, so that they can be compared: `[floor, ceiling]` in dB. */
export function levelsOf(spectrograms) {
  const all = Float32Array.from(spectrograms.flatMap((each) => [...each.levels.filter((_, at) => at % 7 === 0)])).sort();
  const at = (share) => all[Math.min(all.length - 1, Math.floor(share * all.length))];
  const ceiling = at(0.998);
  return [Math.max(ceiling - RANGE[1], Math.min(ceiling - RANGE[0], at(0.03))), ceiling];
}

export class Picture {
  #seconds = 0;
  #rate = 0;

  /**
   * @param {string} label  what a screen reader says
   * @param {function(number): void} seek  called with seconds when somebody points at the picture
   */
  constructor(label, seek) {
    this.canvas = h("canvas", { role: "img", "aria-label": label });
    this.line = h("div.playhead", { hidden: true });
    this.overlay = h("div.overlay");
    this.plot = h("div.plot", {}, this.canvas, this.overlay, this.line);
    this.frequencies = h("div.frequencies", { "aria-hidden": "true" });
    this.times = h("div.times", { "aria-hidden": "true" });
    this.element = h("div.picture", {}, this.frequencies, this.plot, this.times);
    const point = (event) => {
      const { left, width } = this.plot.getBoundingClientRect();
      seek(Math.min(1, Math.max(0, (event.clientX - left) / width)) * this.#seconds);
    };
    this.plot.addEventListener("pointerdown", (event) => {
      if (event.button || !this.#seconds) return;
      this.plot.setPointerCapture(event.pointerId);
      point(event);
    });
    this.plot.addEventListener("pointermove", (event) => this.plot.hasPointerCapture(event.pointerId) && point(event));
  }

  /** Draw a spectrogram, as reading.js makes it, with colours from `floor` to `ceiling` in dB. */
  draw(found, [floor, ceiling]) {
    this.#seconds = found.seconds;
    this.#rate = found.rate;
    const values = Uint8ClampedArray.from(found.levels, (level) => ((level - floor) / (ceiling - floor)) * 255);
    paint(this.canvas, values, found.columns, found.rows);
    put(this.frequencies, FREQUENCIES.filter((each) => each < found.rate / 2.1).map((each) =>
      h("span", { style: { bottom: percent(height(each, found.rate)) } }, each < 1000 ? `${each}` : `${each / 1000}k`)));
    const step = STEPS.find((each) => found.seconds / each <= TICKS) ?? STEPS.at(-1);
    const ticks = Array.from({ length: Math.floor(found.seconds / step + 1e-6) + 1 }, (_, index) => index * step);
    put(this.times, ticks.map((each) =>
      h("span", { style: { left: percent(each / found.seconds) } }, `${+each.toFixed(1)}${each ? "" : " s"}`)));
  }

  /**
   * Outline places, and draw the moment of the alarm.
   * @param {{start: number, end: number, low: number, high: number}[]} places  in seconds and Hz
   * @param {{seconds: number, label: string}|null} mark
   */
  outline(places, mark = null) {
    put(this.overlay,
      places.map((each, index) => {
        const [bottom, top] = [each.low, each.high].map((frequency) => height(Math.max(frequency, LOWEST), this.#rate));
        const [left, right] = [each.start, each.end].map((second) => Math.min(1, second / this.#seconds));
        const style = { left: percent(left), width: percent(right - left), bottom: percent(bottom), height: percent(top - bottom) };
        return h("div.place", { style }, h("span", { "aria-hidden": "true" }, index + 1));
      }),
      mark && h("div.mark", { class: mark.seconds > this.#seconds / 2 ? "mark late" : "mark",
        style: { left: percent(mark.seconds / this.#seconds) } }, h("span", {}, mark.label)));
  }

  /** Show where it plays; null: nowhere. */
  move(seconds) {
    this.line.hidden = seconds === null || !this.#seconds;
    if (!this.line.hidden) this.line.style.setProperty("left", percent(seconds / this.#seconds));
  }
}

const percent = (share) => `${(share * 100).toFixed(3)}%`;
