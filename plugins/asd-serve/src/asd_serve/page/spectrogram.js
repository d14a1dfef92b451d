// A spectrogram that grows at its right edge while sound is listened to.

import { colour, h, put } from "./dom.js";
import { exactly } from "./format.js";
import { texts } from "./texts.js";

const SECONDS = { wide: 60, narrow: 30 };
const NARROW = 600;
const [LEFT, BOTTOM] = [58, 24];
const FREQUENCIES = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
/** Colours from quiet to loud, interpolated: dark violet to light yellow, as readers of spectrograms know them. */
const COLOURS = [[9, 7, 24], [40, 17, 89], [93, 24, 111], [152, 44, 103], [208, 72, 77], [243, 118, 43], [251, 180, 50],
  [252, 236, 150]];
const PALETTE = palette();

const SCALES = {
  linear: (frequency) => frequency,
  log: Math.log,
  mel: (frequency) => Math.log1p(frequency / 700),
};

/** Make one: `take(message)` adds what a "spectrum" message holds, `refuse(text)` says why there is none. */
export function spectrogram() {
  const canvas = h("canvas", { role: "img", "aria-label": texts.machine.spectrogram });
  const notice = h("p.muted", {}, texts.machine.waiting);
  const pause = h("button.quiet.noprint", { type: "button", "aria-pressed": "false", click: toggle, hidden: true },
    texts.machine.pause);
  const frame = h("div.spectrogram", {}, canvas, notice);
  const sound = document.createElement("canvas");
  let form = null; // low, high, bands, step, scale, columns: the layout of `sound`
  let end = 0;
  let paused = false;

  const observer = new ResizeObserver(draw);
  observer.observe(frame);
  addEventListener("theme", draw);
  return { element: frame, pause, take, refuse, end: stop };

  function take(message) {
    if (paused) return;
    const columns = bytes(message.data);
    if (!form || ["low", "high", "bands", "step", "scale"].some((each) => form[each] !== message[each])) begin(message);
    const width = Math.floor(columns.length / form.bands);
    const missing = end ? Math.round((message.time - end) / form.step) : 0;
    if (missing > 1) shift(Math.min(missing, form.columns));
    if (width) paint(columns, Math.min(width, form.columns));
    end = message.time + width * form.step;
    draw();
  }

  function begin({ low, high, bands, step, scale = "linear" }) {
    form = { low, high, bands, step, scale, columns: Math.ceil(SECONDS.wide / step) };
    [sound.width, sound.height, end] = [form.columns, bands, 0];
    notice.hidden = true;
    pause.hidden = false;
  }

  function shift(columns) {
    const pen = sound.getContext("2d");
    pen.globalCompositeOperation = "copy";
    pen.drawImage(sound, -columns, 0);
    pen.globalCompositeOperation = "source-over";
  }

  function paint(values, width) {
    shift(width);
    const pen = sound.getContext("2d");
    const image = pen.createImageData(width, form.bands);
    const first = values.length - width * form.bands;
    for (let column = 0; column < width; column++) {
      for (let band = 0; band < form.bands; band++) {
        const value = values[first + column * form.bands + band];
        image.data.set(PALETTE.subarray(4 * value, 4 * value + 4), 4 * ((form.bands - 1 - band) * width + column));
      }
    }
    pen.putImageData(image, form.columns - width, 0);
  }

  function draw() {
    const [width, height] = [frame.clientWidth, frame.clientHeight];
    if (!form || !width) return;
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const seconds = width < NARROW ? SECONDS.narrow : SECONDS.wide;
    const shown = Math.min(form.columns, Math.round(seconds / form.step));
    const [across, down] = [width - LEFT, height - BOTTOM];
    pen.fillStyle = colour("--sunken"); // where nothing was heard
    pen.fillRect(LEFT, 0, across, down);
    pen.drawImage(sound, form.columns - shown, 0, shown, form.bands, LEFT, 0, across, down);
    pen.font = `12px ${getComputedStyle(frame).fontFamily}`;
    pen.fillStyle = pen.strokeStyle = colour("--muted");
    frequencies(pen, down);
    times(pen, across, down, seconds);
  }

  function frequencies(pen, down) {
    const place = SCALES[form.scale] ?? SCALES.linear;
    const [low, high] = [place(Math.max(form.low, form.scale === "log" ? 1 : 0)), place(form.high)];
    [pen.textAlign, pen.textBaseline] = ["right", "middle"];
    let last = Infinity;
    for (const each of FREQUENCIES) {
      const y = down * (1 - (place(each) - low) / (high - low));
      if (y < 8 || y > down - 4 || last - y < 20) continue;
      last = y;
      pen.fillText(texts.machine.frequency(each), LEFT - 8, y);
      pen.fillRect(LEFT - 5, Math.round(y), 5, 1);
    }
  }

  function times(pen, across, down, seconds) {
    if (!end) return;
    const every = across / seconds < 10 ? 15 : 10;
    pen.textBaseline = "top";
    for (let at = Math.floor(end / every) * every; at > end - seconds; at -= every) {
      const x = LEFT + across * (1 - (end - at) / seconds);
      pen.textAlign = x > LEFT + across - 28 ? "right" : "center";
      if (x < LEFT + 28) continue;
      pen.fillRect(Math.round(x) - (x >= LEFT + across ? 1 : 0), down, 1, 5);
      pen.fillText(exactly(at), Math.min(x, LEFT + across), down + 8);
    }
  }

  function toggle() {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    put(pause, paused ? texts.machine.go : texts.machine.pause);
  }

  function refuse(text) {
    form = null;
    canvas.width = 0;
    notice.hidden = false;
    pause.hidden = true;
    put(notice, text);
  }

  function stop() {
    observer.disconnect();
    removeEventListener("theme", draw);
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));

function palette() {
  const found = new Uint8ClampedArray(256 * 4);
  for (let value = 0; value < 256; value++) {
    const place = (value / 255) * (COLOURS.length - 1);
    const from = Math.min(COLOURS.length - 2, Math.floor(place));
    const part = place - from;
    COLOURS[from].forEach((low, at) => { found[4 * value + at] = low + part * (COLOURS[from + 1][at] - low); });
    found[4 * value + 3] = 255;
  }
  return found;
}
