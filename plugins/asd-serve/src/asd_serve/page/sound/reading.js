// Sound from files: decoded by the browser at the file's own rate, and analysed beside the page.

const RATES = [8000, 96000]; // what every browser decodes at
let worker = null;
let number = 0;
const waiting = new Map();

/**
 * Decode a file.
 * @param {ArrayBuffer} content
 * @returns {Promise<AudioBuffer>}  rejected if the browser cannot decode it
 */
export async function decode(content) {
  const rate = Math.min(RATES[1], Math.max(RATES[0], rateOf(new DataView(content)) ?? 48000));
  return new OfflineAudioContext(1, 1, rate).decodeAudioData(content);
}

/**
 * Make the spectrogram of decoded sound; see `analyse` in spectrum.js.
 * @returns {Promise<{levels: Float32Array, columns: number, rows: number, rate: number, seconds: number}>}
 */
export function spectrogram(buffer, columns = 900, rows = 160) {
  const samples = mono(buffer);
  worker ??= started();
  const id = ++number;
  return new Promise((resolve, reject) => {
    waiting.set(id, {
      resolve: (found) => resolve({ ...found, rate: buffer.sampleRate, seconds: buffer.duration }),
      reject,
    });
    worker.postMessage({ id, samples, rate: buffer.sampleRate, columns, rows }, [samples.buffer]);
  });
}

function started() {
  const made = new Worker(new URL("spectrum-worker.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data }) => {
    waiting.get(data.id)?.resolve(data);
    waiting.delete(data.id);
  };
  made.onerror = (event) => {
    waiting.forEach((each) => each.reject(new Error(event.message)));
    waiting.clear();
    worker = null;
  };
  return made;
}

/** The mean of all channels, as a copy. */
function mono(buffer) {
  const found = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    const other = buffer.getChannelData(channel);
    for (let index = 0; index < found.length; index++) found[index] += other[index];
  }
  if (buffer.numberOfChannels > 1) found.forEach((value, index) => (found[index] = value / buffer.numberOfChannels));
  return found;
}

/** The sample rate in the header of a FLAC or WAV file; null: it is another file. */
function rateOf(bytes) {
  if (bytes.byteLength < 32) return null;
  const name = String.fromCharCode(...[0, 1, 2, 3].map((place) => bytes.getUint8(place)));
  if (name === "fLaC") return bytes.getUint32(18) >>> 12 || null;
  if (name === "RIFF") return bytes.getUint32(24, true) || null;
  return null;
}
