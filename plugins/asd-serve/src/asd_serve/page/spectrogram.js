// A spectrogram that grows at its right edge while sound is listened to.

import { colour, h, put } from "./dom.js";
import { capital, exactly } from "./format.js";
import { COLOURS } from "./sound/colours.js";
import { texts } from "./texts.js";

const SECONDS = { wide: 60, narrow: 30 };
const NARROW = 600;
const [LEFT, BOTTOM] = [58, 24];
const FREQUENCIES = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
const PALETTE = new Uint32Array(COLOURS.buffer);
const NOTHING = -1; // where nothing was heard
const [DARKEST, BRIGHTEST] = [0.02, 0.998]; // parts of the values between which colours are spread …
const LEAST = 40; // … at least so many values apart, so that silence is not drawn as noise
const COARSE = 8; // … in steps of so many, so that colours do not flicker

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
  let heard = new Int16Array(0);
  let form = null; // low, high, bands, step, scale, columns: the layout of `sound`
  let end = 0;
  let paused = false;

  const observer = new ResizeObserver(draw);
  observer.observe(frame);
  addEventListener("theme", draw);
  return { element: frame, pause, take, refuse, end: stop };

  function take(message) {
    if (paused) return;
    let values = bytes(message.data);
    if (!form || ["low", "high", "bands", "step", "scale"].some((each) => form[each] !== message[each])) begin(message);
    const all = values.length / form.bands;
    const behind = end ? Math.round((end - message.time) / form.step) : 0; // who comes back is told a minute again
    values = values.subarray((behind > 0 && behind < form.columns ? Math.min(behind, all) : 0) * form.bands);
    if (!values.length) return;
    const columns = Math.min(form.columns, Math.floor(values.length / form.bands));
    const missing = end ? Math.round((message.time - end) / form.step) : 0;
    if (missing > 1) shift(Math.min(missing, form.columns));
    shift(columns);
    heard.set(values.subarray(values.length - columns * form.bands), heard.length - columns * form.bands);
    end = message.time + all * form.step;
    if (!document.hidden) draw();
  }

  function begin({ low, high, bands, step, scale = "linear" }) {
    form = { low, high, bands, step, scale, columns: Math.ceil(SECONDS.wide / step) };
    [sound.width, sound.height, end] = [form.columns, bands, 0];
    heard = new Int16Array(form.columns * bands).fill(NOTHING);
    notice.hidden = true;
    frame.classList.remove("none");
    pause.hidden = false;
  }

  /** Make room for columns at the right, in which nothing was heard yet. */
  function shift(columns) {
    heard.copyWithin(0, columns * form.bands);
    heard.fill(NOTHING, heard.length - columns * form.bands);
  }

  /** Draw what was heard on a canvas of one pixel a value, from the quietest to the loudest of what is seen. */
  function paint() {
    const [low, high] = range(heard);
    const pen = sound.getContext("2d");
    const image = pen.createImageData(form.columns, form.bands);
    const colours = new Uint32Array(image.data.buffer);
    for (let column = 0, at = 0; column < form.columns; column++) {
      for (let band = 0; band < form.bands; band++, at++) {
        const value = heard[at];
        if (value === NOTHING) continue;
        const part = Math.min(255, Math.max(0, Math.round((255 * (value - low)) / (high - low))));
        colours[(form.bands - 1 - band) * form.columns + column] = PALETTE[part];
      }
    }
    pen.putImageData(image, 0, 0);
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
    paint();
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
    put(notice, capital(text));
    frame.classList.add("none");
  }

  function stop() {
    observer.disconnect();
    removeEventListener("theme", draw);
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));

/** The values that are drawn darkest and brightest. */
function range(heard) {
  const counts = new Uint32Array(256);
  let all = 0;
  for (const value of heard) {
    if (value === NOTHING) continue;
    counts[value] += 1;
    all += 1;
  }
  const quantile = (part) => {
    let [sum, value] = [0, 0];
    while (value < 255 && (sum += counts[value]) < part * all) value += 1;
    return value;
  };
  const low = Math.floor(quantile(DARKEST) / COARSE) * COARSE;
  return [low, Math.max(low + LEAST, Math.ceil(quantile(BRIGHTEST) / COARSE) * COARSE)];
}
