// Machines at a glance: the most urgent first, live.

import { h, put, say } from "../dom.js";
import { bar } from "../evidence.js";
import { capital, moment, wholly } from "../format.js";
import { shape } from "../shapes.js";
import { modelName, since, sinceWhen, standing, state, urgency, without } from "../states.js";

const TICK = 30000;

export async function show(container, parameters, context) {
  const { api, live, texts, link } = context;
  const words = texts.overview;
  const cards = new Map();
  const summary = h("p.glance", { role: "status" });
  const list = h("ul.glances");
  put(container, h("div.head", {}, h("h1", {}, words.title), summary), list);

  const load = async () => {
    const { machines } = await api.get(api.path("machines"));
    const names = new Set(machines.map((each) => each.name));
    for (const name of cards.keys()) if (!names.has(name)) cards.delete(name);
    machines.forEach(take);
    arrange();
  };
  const take = (machine) => {
    const known = cards.get(machine.name) ?? card(context);
    known.update({ ...known.machine, ...machine });
    cards.set(machine.name, known);
  };
  const arrange = () => {
    const sorted = [...cards.values()].sort((one, other) => urgency(one.machine, other.machine));
    say(summary, words.summary(...counts(sorted.map((each) => standing(each.machine)))));
    if (!sorted.length) return put(list, h("li.card.empty", {}, words.empty, " ", h("code", {}, words.command)));
    const elements = sorted.map((each) => each.element);
    if (elements.some((each, at) => list.children[at] !== each) || list.children.length !== elements.length) {
      keepFocus(list, () => list.replaceChildren(...elements));
    }
  };

  try {
    await load();
  } catch (error) {
    if (error.status !== 404) throw error;
    put(list, nothing(capital(error.message), context)); // this server only judges
    return undefined;
  }
  const close = live.open(api.path("live"), {
    opened: (again) => again && load().catch(context.toast),
    message: (message) => {
      if (message.type !== "machine") return;
      take(message);
      arrange();
    },
  });
  const timer = setInterval(() => cards.forEach((each) => each.update(each.machine)), TICK);
  return () => {
    close();
    clearInterval(timer);
  };

  function card() {
    const mark = h("div");
    const name = h("a.title");
    const model = h("span.muted.small");
    const when = h("span.small");
    const evidence = bar();
    const notes = h("div.told.small");
    const element = h("li.card.machine", {}, h("div.state-since", {}, mark, when),
      h("div.what", {}, name, model), evidence.element, notes);
    const each = { element, machine: {}, update };
    return each;

    function update(machine) {
      each.machine = machine;
      const now = standing(machine);
      element.className = `card machine ${now.replaceAll(" ", "-")}`;
      put(mark, state(now));
      say(name, machine.name);
      name.href = link("machines", machine.name);
      say(model, machine.model ? words.model(modelName(machine.model)) : "");
      put(when, sinceWhen(since(machine)));
      evidence.update(machine);
      put(notes, remarks(machine));
    }
  }

  function remarks(machine) {
    const found = (machine.conditions ?? []).map((each) =>
      h("p.warning.remark", {}, shape("condition"), h("span", {}, without(each.text, machine.name))));
    const last = machine.last_alarm;
    if (last) {
      found.push(h("p", {}, h("a", { href: link("events", last.id), title: wholly(last.time) },
        machine.phase === "alarm" ? words.thisAlarm : words.lastAlarm(moment(last.time)))));
    } else if (!found.length) found.push(h("p.muted", {}, words.noAlarm));
    return found;
  }
}

/** What stands in place of machines on a server that shows none. */
function nothing(why, { texts, link }) {
  return h("li.card.empty", {}, h("p", {}, why),
    h("p.actions", {}, h("a.button.primary", { href: link("judge") }, texts.pages.judge)));
}

/** How many raise an alarm, want somebody to look, and are fine. */
function counts(states) {
  const alarms = states.filter((each) => each === "alarm").length;
  const attention = states.filter((each) => ["unlike", "condition", "not listened to"].includes(each)).length;
  return [alarms, attention, states.length - alarms - attention];
}

/** Moving an element takes the focus from it; give it back. */
function keepFocus(place, change) {
  const had = place.contains(document.activeElement) ? document.activeElement : null;
  change();
  had?.focus({ preventScroll: true });
}
