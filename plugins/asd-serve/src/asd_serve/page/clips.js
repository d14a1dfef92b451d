// The clips judged last, the newest first.

import * as api from "./api.js";
import { h, put } from "./dom.js";
import { exactly, moment, wholly } from "./format.js";
import { shape } from "./shapes.js";
import { texts } from "./texts.js";
import { write } from "./write.js";

const SHOWN = 12;

/** Make the table: `load()` fetches, `verdict(message)` adds one. */
export function clipTable(machine) {
  const words = texts.machine.clips;
  const body = h("tbody");
  const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, words.time),
    h("th.number", { scope: "col" }, words.rarity), h("th.number.wide", { scope: "col" }, words.score),
    h("th.number", { scope: "col" }, words.evidence))), body);
  const empty = h("p.muted", { hidden: true }, words.none);
  const element = h("div", {}, table, empty);
  let clips = [];
  return { element, load, verdict };

  async function load() {
    ({ clips } = await api.get(api.path("machines", machine, "clips"), { limit: SHOWN }));
    draw();
  }

  function verdict(clip) {
    if (clips.some((each) => each.time >= clip.time)) return;
    clips = [clip, ...clips].slice(0, SHOWN);
    draw();
  }

  function draw() {
    [table.hidden, empty.hidden] = [!clips.length, clips.length > 0];
    put(body, clips.slice(0, SHOWN).map((clip) => h("tr", {},
      h("td", { title: wholly(clip.time) }, isToday(clip.time) ? exactly(clip.time) : moment(clip.time, { exact: true })),
      h("td.number", { class: clip.anomalous ? "number unusual" : "number" }, clip.anomalous && unusual(), rarity(clip.p_value)),
      h("td.number.wide", {}, clip.score == null ? "–" : write.three(clip.score)),
      h("td.number", {}, clip.evidence == null ? "–" : write.one(clip.evidence)))));
  }
}

/** What stands before the rarity of a clip that alone would raise an alarm. */
const unusual = () => h("span.state.warning", { title: texts.machine.clips.unusual }, shape("unlike"),
  h("span.hidden", {}, texts.machine.clips.unusual));

/** How rare a clip that scores like this is among healthy ones: "1 in 50". */
function rarity(p) {
  return p > 0 ? texts.machine.clips.oneIn(write.p(p > 0.1 ? Math.round(1 / p) : 1 / p)) : "–";
}

const isToday = (time) => new Date(time * 1000).toDateString() === new Date().toDateString();
