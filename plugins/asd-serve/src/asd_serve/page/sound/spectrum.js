// A spectrogram with the rows and columns of a picture, as asd_pages.pictures makes it: each is the mean power of what
// it covers; rows are equal on a logarithmic scale of frequency.

/** Where the axis begins, in Hz: a logarithmic one has no zero. */
export const LOWEST = 40;
const WINDOW = 0.064; // seconds
const SILENCE = 1e-14;

/**
 * Analyse sound.
 * @param {Float32Array} samples
 * @param {number} rate  in Hz
 * @param {number} columns  at most
 * @param {number} rows
 * @returns {{levels: Float32Array, columns: number, rows: number}}  in dB of a sine of full scale, column after column,
 *   of each the lowest frequency first
 */
export function analyse(samples, rate, columns, rows) {
  const size = 2 ** Math.max(6, Math.round(Math.log2(WINDOW * rate)));
  const hop = Math.max(size >> 2, Math.min(size >> 1, Math.ceil(samples.length / columns)));
  const frames = Math.max(1, Math.ceil(samples.length / hop));
  const used = Math.min(columns, frames);
  const powers = new Float64Array(used * (size / 2 + 1));
  const counts = new Uint32Array(used);
  const transform = transformer(size);
  const padded = new Float32Array(samples.length + 2 * size);
  padded.set(samples, size / 2);
  for (let frame = 0; frame < frames; frame++) {
    const column = Math.floor((frame * used) / frames);
    transform(padded, frame * hop, powers.subarray(column * (size / 2 + 1)));
    counts[column]++;
  }
  const levels = new Float32Array(used * rows);
  const scale = (size / 4) ** 2; // a Hann window makes of a sine of full scale size / 4
  const edges = edgesOf(rate, size, rows);
  for (let column = 0; column < used; column++) {
    const total = summed(powers.subarray(column * (size / 2 + 1), (column + 1) * (size / 2 + 1)));
    for (let row = 0; row < rows; row++) {
      const power = between(total, edges[row], edges[row + 1]) / counts[column] / scale;
      levels[column * rows + row] = 10 * Math.log10(Math.max(power, SILENCE));
    }
  }
  return { levels, columns: used, rows };
}

/** Where a frequency lies on the axis: 0 at its lower end, 1 at half the sample rate. */
export const height = (frequency, rate) =>
  Math.min(1, Math.max(0, Math.log(Math.max(frequency, 1) / LOWEST) / Math.log(rate / 2 / LOWEST)));

/** Where the rows' edges lie among the frequencies of the transform. */
function edgesOf(rate, size, rows) {
  const edge = (row) => ((LOWEST * (rate / 2 / LOWEST) ** (row / rows)) * size) / rate + 0.5;
  return Float64Array.from({ length: rows + 1 }, (_, row) => Math.min(edge(row), size / 2 + 1));
}

/** The sums of all values before each. */
function summed(values) {
  const found = new Float64Array(values.length + 1);
  for (let index = 0; index < values.length; index++) found[index + 1] = found[index] + values[index];
  return found;
}

/** The mean between two places: of several values, or of a part of one. */
function between(total, low, high) {
  const at = (place) => {
    const below = Math.min(Math.floor(place), total.length - 2);
    return total[below] + (total[below + 1] - total[below]) * (place - below);
  };
  return Math.max(0, at(high) - at(low)) / (high - low);
}

/** A function that adds the power spectrum of a windowed frame to `power`: Cooley and Tukey's transform, radix 2. */
function transformer(size) {
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const circle = Array.from({ length: size }, (_, index) => (2 * Math.PI * index) / size);
  const cosine = Float64Array.from(circle, Math.cos);
  const sine = Float64Array.from(circle, Math.sin);
  const bits = Math.log2(size);
  const reversed = Uint32Array.from({ length: size }, (_, index) => {
    let found = 0;
    for (let bit = 0; bit < bits; bit++) found |= ((index >> bit) & 1) << (bits - 1 - bit);
    return found;
  });
  return (samples, start, power) => {
    for (let index = 0; index < size; index++) {
      real[reversed[index]] = samples[start + index] * (0.5 - 0.5 * cosine[index]);
    }
    imaginary.fill(0);
    for (let length = 2; length <= size; length *= 2) butterflies(real, imaginary, cosine, sine, length);
    for (let index = 0; index <= size / 2; index++) power[index] += real[index] ** 2 + imaginary[index] ** 2;
  };
}

function butterflies(real, imaginary, cosine, sine, length) {
  const half = length >> 1;
  const step = (real.length / length) | 0;
  for (let block = 0; block < real.length; block += length) {
    for (let index = block, angle = 0; index < block + half; index++, angle += step) {
      const other = index + half;
      const re = real[other] * cosine[angle] + imaginary[other] * sine[angle];
      const im = imaginary[other] * cosine[angle] - real[other] * sine[angle];
      real[other] = real[index] - re;
      imaginary[other] = imaginary[index] - im;
      real[index] += re;
      imaginary[index] += im;
    }
  }
}
