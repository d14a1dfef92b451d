// Evidence over time against the threshold, drawn by uPlot, with events and disturbances.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { colour, h } from "./dom.js";
import { ticks } from "./format.js";
import { texts } from "./texts.js";
import { write } from "./write.js";

const SEVERITIES = ["alarm", "warning", "info"];
const MARK = 7;
const STEPS = [-3, -2, -1, 0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((each) => each * 10 ** power));
const APART = 13; // pixels between two marks: where events are denser, only some have one

/**
 * Make the plot.
 * @param {{clicked: function(object)}} actions  what a click on an event does
 * @returns `element`, `area()`, `draw({times, values, fromZero, threshold, events, conditions}, span)`, `move(span)`, `end()`
 */
export function evidencePlot({ clicked, pointed }) {
  const element = h("div.curve", { tabindex: 0, role: "img", "aria-label": texts.machine.plot(texts.machine.quantities.evidence) });
  let shown = { times: [], values: [], fromZero: true, threshold: null, events: [], conditions: [] };
  let span = { since: 0, until: 1 };
  let tones = colours();
  const plot = new uPlot(options(), [[], []], element);
  const observer = new ResizeObserver(resize);
  observer.observe(element);
  addEventListener("theme", recolour);
  element.addEventListener("click", ({ clientX }) => {
    const found = nearest(clientX);
    if (found) clicked(found);
  });
  return { element, area: () => plot.over.getBoundingClientRect(), draw, move, end };

  function draw(data, towards = span) {
    shown = data;
    span = towards;
    plot.setData([data.times, data.values], false);
    move(span);
  }

  function move(towards) {
    span = towards;
    const [low, high] = visible();
    const around = shown.fromZero ? 0 : Math.max(high - low, Math.abs(high) / 50, 1e-6) * 0.12;
    plot.batch(() => {
      plot.setScale("x", { min: span.since, max: span.until });
      plot.setScale("y", shown.fromZero ? { min: 0, max: Math.max(1, (shown.threshold ?? 0) * 1.3, high * 1.12) }
        : { min: low - around, max: high + around });
    });
  }

  /** The lowest and the highest value that is seen. */
  function visible() {
    let [low, high] = [Infinity, -Infinity];
    shown.times.forEach((time, at) => {
      const value = shown.values[at];
      if (value == null || time < span.since || time > span.until) return;
      [low, high] = [Math.min(low, value), Math.max(high, value)];
    });
    return low > high ? [0, 1] : [low, high];
  }

  function resize() {
    if (element.clientWidth) plot.setSize({ width: element.clientWidth, height: element.clientHeight });
  }

  function recolour() {
    tones = colours();
    plot.redraw(false);
  }

  function end() {
    observer.disconnect();
    removeEventListener("theme", recolour);
    plot.destroy();
  }

  function nearest(clientX) {
    const x = clientX - plot.over.getBoundingClientRect().left;
    const near = shown.events.map((each) => [Math.abs(plot.valToPos(each.time, "x") - x), each]);
    near.sort((one, other) => one[0] - other[0]);
    return near.length && near[0][0] < 12 ? near[0][1] : null;
  }

  function options() {
    const axis = { stroke: () => tones.muted, grid: { stroke: () => tones.line, width: 1 }, ticks: { show: false },
      font: `12px ${getComputedStyle(document.documentElement).fontFamily}` };
    return {
      width: 600, height: 280, padding: [14, 12, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false, setScale: false }, y: false, points: { size: 7 } },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [
        { ...axis, size: 40, space: 74, values: (_, places, __, ___, step) => ticks(places, step) },
        { ...axis, size: 46, space: 34, incrs: STEPS,
          values: (_, places) => places.map((each) => write.number(each)) },
      ],
      series: [{}, { stroke: () => tones.curve, width: 1.75, fill: () => tones.fill, fillTo: ({ scales }) => scales.y.min,
        points: { show: false } }],
      hooks: {
        drawClear: [() => bands(plot)],
        draw: [() => { limit(plot); marks(plot); }],
        setCursor: [(each) => {
          const at = each.cursor.idx;
          pointed?.(at == null ? null : { time: shown.times[at], value: shown.values[at] });
        }],
      },
    };
  }

  function bands({ ctx, bbox, valToPos }) {
    if (!shown.conditions.length) return;
    ctx.save();
    ctx.fillStyle = tones.band;
    for (const { began, ended } of shown.conditions) {
      const from = Math.max(bbox.left, valToPos(began, "x", true));
      const to = Math.min(bbox.left + bbox.width, valToPos(ended ?? Date.now() / 1000, "x", true));
      if (to >= from) ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
    }
    ctx.restore();
  }

  function limit({ ctx, bbox, valToPos }) {
    if (!shown.threshold) return;
    const y = Math.round(valToPos(shown.threshold, "y", true));
    const scale = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = tones.alarm;
    ctx.lineWidth = 1.5 * scale;
    ctx.setLineDash([6 * scale, 4 * scale]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `600 ${12 * scale}px ${getComputedStyle(document.documentElement).fontFamily}`;
    [ctx.textAlign, ctx.textBaseline] = ["left", "bottom"];
    ctx.fillText(texts.machine.threshold(write.one(shown.threshold)), bbox.left + 6 * scale, y - 3 * scale);
    ctx.restore();
  }

  function marks({ ctx, bbox, valToPos }) {
    const scale = devicePixelRatio;
    const signs = [];
    ctx.save();
    for (const severity of SEVERITIES) { // the grave ones first: they get the room
      ctx.strokeStyle = ctx.fillStyle = tones[severity];
      ctx.lineWidth = scale;
      for (const event of shown.events) {
        if (event.severity !== severity || event.time < span.since || event.time > span.until) continue;
        const x = Math.round(valToPos(event.time, "x", true));
        if (severity === "alarm") line(ctx, x, bbox);
        if (signs.some((each) => Math.abs(each - x) < APART * scale)) continue;
        signs.push(x);
        sign(ctx, severity, x, bbox.top, MARK * scale);
      }
    }
    ctx.restore();
  }
}

function line(pen, x, { top, height }) {
  pen.globalAlpha = 0.6;
  pen.beginPath();
  pen.moveTo(x, top);
  pen.lineTo(x, top + height);
  pen.stroke();
  pen.globalAlpha = 1;
}

/** A triangle for alarms, a diamond for warnings, a dot for the rest, just above the plot. */
function sign(pen, severity, x, y, size) {
  const points = { alarm: [[0, -1.7], [1, 0], [-1, 0]], warning: [[0, -1.6], [0.8, -0.8], [0, 0], [-0.8, -0.8]] }[severity];
  pen.beginPath();
  if (points) points.forEach(([across, down]) => pen.lineTo(x + across * size, y + down * size));
  else pen.arc(x, y - size * 0.7, size * 0.45, 0, 7);
  pen.fill();
}

function colours() {
  return { muted: colour("--muted"), line: colour("--line"), curve: colour("--calm"), fill: colour("--curve-fill"),
    alarm: colour("--alarm"), warning: colour("--warn"), info: colour("--strong-line"), band: colour("--band") };
}
