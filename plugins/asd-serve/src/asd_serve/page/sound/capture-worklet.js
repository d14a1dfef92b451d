// Runs where the browser processes sound: hands on what the microphone brings, in blocks.

const BLOCK = 4096; // frames

class Capture extends AudioWorkletProcessor {
  #block = new Float32Array(BLOCK);
  #filled = 0;

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    let taken = 0;
    while (taken < channel.length) {
      const part = channel.subarray(taken, taken + BLOCK - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
      if (this.#filled === BLOCK) {
        this.port.postMessage(this.#block, [this.#block.buffer]);
        this.#block = new Float32Array(BLOCK);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
