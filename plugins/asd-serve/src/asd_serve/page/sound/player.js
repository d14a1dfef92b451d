// Plays one of several sounds at a time, all of them from one clock: a change from one to the other is heard without a
// gap, at the same position, at the same volume.

const FADE = 0.008; // seconds; without it a change clicks
const STEEPNESS = 4; // filters in a row at each edge of a band

/** A player of decoded sounds. The first is the longest that counts; shorter ones begin again meanwhile. */
export class Player {
  #context = null;
  #buffers = new Map();
  #running = null; // {sources, gains, began, from} while it plays
  #position = 0;
  #band = null;
  #gain = 1;

  /** @param {function(): void} changed  called when it starts, stops, or another sound is chosen */
  constructor(changed) {
    this.changed = changed;
    this.chosen = null;
  }

  /** Take a sound. */
  add(name, buffer) {
    const playing = this.playing;
    this.pause();
    this.#buffers.set(name, buffer);
    this.chosen ??= name;
    if (playing) this.play();
  }

  has(name) {
    return this.#buffers.has(name);
  }

  get playing() {
    return this.#running !== null;
  }

  /** Seconds of the first sound. */
  get seconds() {
    return this.#buffers.values().next().value?.duration ?? 0;
  }

  get position() {
    if (!this.#running) return this.#position;
    return Math.min(this.seconds, this.#running.from + this.#context.currentTime - this.#running.began);
  }

  set position(seconds) {
    const playing = this.playing;
    if (playing) this.#stop();
    this.#position = Math.min(Math.max(0, seconds), this.seconds);
    if (playing) this.play();
    else this.changed();
  }

  /** The position in one of the sounds. */
  positionOf(name) {
    const { duration } = this.#buffers.get(name);
    return duration < this.seconds ? this.position % duration : Math.min(this.position, duration);
  }

  play() {
    if (this.playing || !this.seconds) return;
    this.#context ??= new AudioContext();
    this.#context.resume();
    if (this.#position >= this.seconds - 0.01) this.#position = 0;
    const out = this.#output();
    const [sources, gains] = [[], new Map()];
    for (const [name, buffer] of this.#buffers) {
      const source = new AudioBufferSourceNode(this.#context, { buffer, loop: sources.length > 0 });
      const gain = new GainNode(this.#context, { gain: name === this.chosen ? 1 : 0 });
      source.connect(gain).connect(out);
      source.start(0, this.positionOf(name));
      sources.push(source);
      gains.set(name, gain);
    }
    this.#running = { sources, gains, out, began: this.#context.currentTime, from: this.#position };
    sources[0].onended = () => {
      this.#stop();
      this.changed();
    };
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.#stop();
    this.changed();
  }

  /** Let another of the sounds be heard. */
  choose(name) {
    if (!this.has(name) || name === this.chosen) return;
    this.chosen = name;
    this.#running?.gains.forEach((gain, each) => {
      gain.gain.setTargetAtTime(each === name ? 1 : 0, this.#context.currentTime, FADE);
    });
    this.changed();
  }

  /** Let only a band be heard, `[low, high]` in Hz; null: all of it. */
  set band(band) {
    this.#band = band;
    this.position = this.position;
  }

  get band() {
    return this.#band;
  }

  /** Play louder than recorded, by so many dB; what would clip is held back. */
  set louder(decibels) {
    this.#gain = 10 ** (decibels / 20);
    this.position = this.position;
  }

  close() {
    this.pause();
    this.#context?.close();
    this.#context = null;
  }

  #stop() {
    this.#position = this.position;
    const { sources, out } = this.#running;
    this.#running = null;
    sources[0].onended = null;
    sources.forEach((source) => source.stop());
    out.disconnect();
  }

  /** What all sounds run through: the band, the gain, and a limiter. */
  #output() {
    const context = this.#context;
    const first = new GainNode(context, { gain: this.#gain });
    const nodes = [first];
    const nyquist = context.sampleRate / 2;
    for (let count = 0; this.#band && count < STEEPNESS; count++) {
      const [low, high] = this.#band;
      nodes.push(new BiquadFilterNode(context, { type: "highpass", frequency: Math.min(low, nyquist) }));
      nodes.push(new BiquadFilterNode(context, { type: "lowpass", frequency: Math.min(high, nyquist) }));
    }
    if (this.#gain > 1) nodes.push(new DynamicsCompressorNode(context, { threshold: -3, knee: 0, ratio: 20, attack: 0.002 }));
    nodes.reduce((before, after) => before.connect(after)).connect(context.destination);
    return first;
  }
}
