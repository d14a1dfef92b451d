// Listening to one recording, or to two of them in turn: transport, spectrograms, and the places that stand out.

import { h, say } from "../dom.js";
import { capital, frequencies, together } from "../format.js";
import { levelsOf, Picture } from "./picture.js";
import { Player } from "./player.js";
import { decode, spectrogram } from "./reading.js";
import { texts } from "../texts.js";
import { write } from "../write.js";

const LOUDER = [0, 12, 24]; // dB
const BEFORE_PLACE = 0.4; // seconds that are heard before a place, for the ear to compare

/**
 * @typedef {object} Track
 * @property {string} name
 * @property {string} label
 * @property {function(): Promise<ArrayBuffer>} read
 * @property {object[]} [places]  as `Finding.to_dict` of asd, in the order of importance
 * @property {{seconds: number, label: string}} [mark]
 */

/** A panel that plays tracks. `element` is to be put in the page, `close` ends it; `ready` says when all is drawn. */
export class Listening {
  #tracks;
  #frame = 0;
  #closed = false;

  /** @param {Track[]} tracks  the first is what is looked at; it may be compared with the second */
  constructor(tracks) {
    this.player = new Player(() => this.#show());
    this.#tracks = tracks.map((each) => ({ ...each, picture: new Picture(each.label, (at) => this.#point(each, at)) }));
    this.#build();
    this.ready = this.#load();
  }

  close() {
    this.#closed = true;
    cancelAnimationFrame(this.#frame);
    this.player.close();
  }

  toggle = () => (this.player.playing ? this.player.pause() : this.player.play());

  /** Hear the other one. */
  swap = () => {
    const names = this.#tracks.map((each) => each.name).filter((each) => this.player.has(each));
    this.player.choose(names[(names.indexOf(this.player.chosen) + 1) % names.length]);
  };

  step = (seconds) => (this.player.position += seconds);

  #build() {
    const words = texts.listen;
    this.button = h("button.play", { type: "button", "aria-label": words.play, disabled: true, click: this.toggle });
    this.clock = h("span.clock", {}, "");
    this.slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0, disabled: true, "aria-label": words.position,
      input: () => (this.player.position = Number(this.slider.value)) });
    this.choices = this.#tracks.map((each) => h("button", { type: "button", "data-track": each.name, disabled: true,
      "aria-pressed": "false", click: () => this.player.choose(each.name) }, each.short ?? each.label));
    const louder = h("select", { change: () => (this.player.louder = Number(louder.value)) },
      LOUDER.map((each) => h("option", { value: each }, words.louder(each))));
    this.figures = this.#tracks.map((each) => h("figure", { "data-track": each.name },
      h("figcaption", {}, each.label, h("span.heard", {}, words.heard)), each.picture.element,
      each === this.#tracks[0] && this.slider));
    this.element = h("div.listening", {},
      h("div.pictures", {}, this.figures),
      h("div.transport", {}, this.button, this.clock,
        this.#tracks.length > 1 && h("div.segments", { role: "group", "aria-label": words.compare }, this.choices),
        h("label.volume", {}, h("span.hidden", {}, words.volume), louder)),
      this.#places());
  }

  /** The list of places; each can be heard, and its band alone. */
  #places() {
    const { places = [] } = this.#tracks[0];
    if (!places.length) return null;
    const words = texts.listen;
    this.bands = places.map((each) => h("button.quiet", { type: "button", "aria-pressed": "false",
      "aria-label": words.onlyBand(frequencies(each.low, each.high)), click: () => this.#only(each) }, words.only));
    return h("ol.places", {}, places.map((each, index) => h("li", {},
      h("span.number", { "aria-hidden": "true" }, index + 1),
      h("p", {}, together(capital(each.text)), each.contribution != null && h("span.muted", {}, ` ${words.share(write.percent(each.contribution))}`)),
      h("div.actions", {},
        h("button.quiet", { type: "button", "aria-label": words.hearFrom(write.one(each.start)),
          click: () => this.#hear(each) }, words.hear),
        this.bands[index]))));
  }

  async #load() {
    const found = await Promise.allSettled(this.#tracks.map(async (each) => {
      const buffer = await decode(await each.read());
      return [each, buffer, await spectrogram(buffer)];
    }));
    if (this.#closed) return;
    if (found[0].status === "rejected") throw found[0].reason;
    const whole = found.filter((each) => each.status === "fulfilled").map((each) => each.value);
    const levels = levelsOf(whole.map(([, , drawn]) => drawn));
    for (const [track, buffer, drawn] of whole) {
      this.player.add(track.name, buffer);
      track.picture.draw(drawn, levels);
      track.picture.outline(track.places ?? [], track.mark);
    }
    this.figures.forEach((each) => (each.hidden = !this.player.has(each.dataset.track)));
    this.choices.forEach((each) => (each.disabled = !this.player.has(each.dataset.track)));
    this.button.disabled = this.slider.disabled = false;
    this.slider.max = this.player.seconds;
    this.#show();
  }

  #point(track, seconds) {
    const { player } = this;
    player.choose(track.name);
    const first = track === this.#tracks[0];
    player.position = first ? seconds : player.position - player.positionOf(track.name) + seconds;
  }

  #hear(place) {
    this.player.choose(this.#tracks[0].name);
    this.player.position = Math.max(0, place.start - BEFORE_PLACE);
    this.player.play();
  }

  #only(place) {
    const { player } = this;
    const same = player.band?.[0] === place.low && player.band?.[1] === place.high;
    player.band = same ? null : [place.low, place.high];
    const places = this.#tracks[0].places;
    this.bands.forEach((each, index) => each.setAttribute("aria-pressed", !same && places[index] === place));
    if (!same && !player.playing) this.#hear(place);
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    const { player } = this;
    this.button.setAttribute("aria-label", player.playing ? texts.listen.pause : texts.listen.play);
    this.element.classList.toggle("playing", player.playing);
    for (const each of [...this.choices, ...this.figures]) {
      const chosen = each.dataset.track === player.chosen;
      if (each.tagName === "BUTTON") each.setAttribute("aria-pressed", chosen);
      else each.classList.toggle("chosen", chosen && this.#tracks.length > 1);
    }
    this.#move();
  }

  #move() {
    const { player } = this;
    const position = player.position;
    for (const each of this.#tracks) each.picture.move(player.has(each.name) ? player.positionOf(each.name) : null);
    if (document.activeElement !== this.slider || player.playing) this.slider.value = position;
    say(this.clock, texts.listen.clock(write.one(position), write.one(player.seconds)));
    this.slider.setAttribute("aria-valuetext", texts.listen.at(write.one(position)));
    if (player.playing) this.#frame = requestAnimationFrame(() => this.#move());
  }
}
