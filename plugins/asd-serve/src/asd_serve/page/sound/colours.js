// The colours of all spectrograms, live and kept: matplotlib's magma (CC0), which rises evenly in lightness.

const STOPS = ["000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf"];

/** Red, green, blue and opacity of 256 steps from quiet to loud. */
export const COLOURS = table(STOPS.map((stop) => [0, 2, 4].map((place) => parseInt(stop.slice(place, place + 2), 16))));

/**
 * Draw values as a picture, one pixel each.
 * @param {HTMLCanvasElement} canvas  gets the size of the picture
 * @param {Uint8Array} values  column after column; of each the lowest frequency first
 */
export function paint(canvas, values, columns, rows) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = new Uint32Array(COLOURS.buffer);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++)
      pixels[(rows - 1 - row) * columns + column] = colours[values[column * rows + row]];
  context.putImageData(image, 0, 0);
}

function table(stops) {
  const found = new Uint8ClampedArray(1024);
  for (let step = 0; step < 256; step++) {
    const place = (step / 255) * (stops.length - 1);
    const [low, high] = [stops[Math.floor(place)], stops[Math.ceil(place)]];
    low.forEach((value, part) => (found[step * 4 + part] = value + (high[part] - value) * (place % 1)));
    found[step * 4 + 3] = 255;
  }
  return found;
}
