// One machine: its state, its sound now, its evidence over time, its events and the last clips.

import { clipTable } from "../clips.js";
import { h, put, say } from "../dom.js";
import { bar } from "../evidence.js";
import { eventList } from "../eventlist.js";
import { moment, wholly } from "../format.js";
import { historyPlot } from "../history.js";
import { shape } from "../shapes.js";
import { spectrogram } from "../spectrogram.js";
import { modelName, since, sinceWhen, standing, state, without } from "../states.js";
import { teaching } from "./teach.js";

export async function show(container, parameters, context) {
  const { api, live, texts, toast } = context;
  const words = texts.machine;
  const name = parameters.machine;
  const top = panel(context);
  const sound = spectrogram();
  const plot = historyPlot(name, parameters, context);
  const events = eventList({ machine: name }, { toast });
  const clips = clipTable(name);
  const lessons = teaching(name, context);
  document.title = `${name} · ${texts.name}`;

  const began = api.now();
  let machine = await api.get(api.path("machines", name));
  top.update(machine);
  put(container,
    h("p.crumbs.small", {}, h("a", { href: context.link() }, `‹ ${texts.back}`)),
    h("div.head", {}, h("h1", {}, name), top.state),
    top.element,
    h("section.card", { "aria-labelledby": "sound" },
      h("div.head", {}, h("h2", { id: "sound" }, words.sound), sound.pause), sound.element),
    h("section.card", { "aria-labelledby": "evidence" }, h("h2", { id: "evidence" }, words.evidence), plot.element, meaning(texts)),
    h("div.columns", {},
      h("section.card", { "aria-labelledby": "events" }, h("h2", { id: "events" }, texts.pages.events), events.element),
      h("section.card", { "aria-labelledby": "clips" }, h("h2", { id: "clips" }, words.clips.title), clips.element)),
    lessons.element);

  const fresh = () => Promise.all([plot.load(), clips.load(), events.load()]);
  const again = async () => {
    machine = await api.get(api.path("machines", name));
    top.update(machine);
  };
  let loaded = fresh().catch(toast); // what is told meanwhile comes after it
  const take = {
    verdict(message) {
      machine = { ...machine, evidence: message.evidence, threshold: message.threshold ?? machine.threshold };
      top.update(machine);
      plot.verdict(message);
      clips.verdict(message);
      if (message.phase && message.phase !== machine.phase) again().catch(toast);
    },
    event(message) {
      plot.event(message);
      events.add(message);
      again().catch(toast);
    },
    condition: () => again().catch(toast),
  };
  const hear = { spectrum: sound.take, no_sound: ({ text }) => sound.refuse(text) };
  const close = live.open(api.path("machines", name, "live"), {
    since: began,
    message: ({ type, ...message }) => (type in hear ? hear[type](message) : loaded.then(() => take[type]?.(message))),
    opened: (anew) => { if (anew) loaded = Promise.all([again(), fresh()]).catch(toast); },
  });
  const timer = setInterval(() => top.update(machine), 30000);
  return () => {
    close();
    clearInterval(timer);
    lessons.close();
    [sound, plot, events].forEach((each) => each.end());
  };
}

/** The machine's state in a line, and the facts beside it. */
function panel({ texts, link }) {
  const words = texts.machine;
  const phase = h("div", { role: "status" });
  const evidence = bar();
  const [when, level, model, alarm] = [0, 1, 2, 3].map(() => h("dd"));
  const remarks = h("div.remarks");
  const fact = (label, place) => h("div", {}, h("dt.muted.small", {}, label), place);
  const element = h("section.card.panel", { "aria-label": words.state }, evidence.element,
    h("dl.keyfacts", {}, fact(words.since, when), fact(words.lastAlarm, alarm), fact(words.level, level), fact(words.model, model)),
    remarks);
  let shown = "";
  return { element, state: phase, update };

  function update(machine) {
    const now = standing(machine);
    if (shown !== now) put(phase, state(now));
    shown = now;
    element.className = `card panel ${now.replaceAll(" ", "-")}`;
    evidence.update(machine);
    put(when, sinceWhen(since(machine)) ?? "–");
    say(level, machine.level == null ? "–" : words.decibel(machine.level));
    say(model, modelName(machine.model) ?? "–");
    model.title = machine.model ?? "";
    const last = machine.last_alarm;
    put(alarm, last ? h("a", { href: link("events", last.id), title: wholly(last.time) }, moment(last.time)) : texts.overview.noAlarm);
    put(remarks, (machine.conditions ?? []).map((each) =>
      h("p.warning.remark", {}, shape("condition"), h("span", {}, without(each.text, machine.name)))));
  }
}

function meaning({ machine: { meaning: words } }) {
  return h("details.meaning.small", {}, h("summary", {}, words.title), words.text.map((each) => h("p", {}, each)));
}
