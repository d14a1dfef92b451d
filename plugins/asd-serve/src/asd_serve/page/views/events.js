// All events of all machines, the newest first.

import { h, put } from "../dom.js";
import { capital } from "../format.js";
import { eventList } from "../eventlist.js";

const SEVERITIES = ["", "warning", "alarm"]; // at least so grave

export async function show(container, parameters, context) {
  const { api, live, texts, toast } = context;
  const words = texts.events;
  const filter = { severity: parameters.severity || null, machine: parameters.machine || null };
  const list = eventList(filter, { named: true, toast });
  const buttons = SEVERITIES.map((each) => h("button", { type: "button", click: () => choose(each) }, words.severities[each]));
  const machine = h("select", { "aria-label": words.machine, change: () => choose(filter.severity ?? "") },
    h("option", { value: "" }, words.allMachines));
  put(container,
    h("div.head", {}, h("h1", {}, texts.pages.events), h("div.filters", {}, machine,
      h("div.segments", { role: "group", "aria-label": words.severity }, buttons))),
    h("div.card.whole", {}, list.element));
  const began = api.now();
  try {
    await fillMachines();
  } catch (error) {
    if (error.status !== 404) throw error;
    put(container, h("h1", {}, texts.pages.events), h("p.card.empty", {}, capital(error.message))); // this server only judges
    return list.end;
  }
  await choose(filter.severity ?? "");
  const close = live.open(api.path("live"), {
    since: began,
    opened: (again) => again && list.load(),
    message: ({ type, ...event }) => type === "event" && suits(event) && list.add(event),
  });
  return () => {
    close();
    list.end();
  };

  function choose(severity) {
    filter.severity = severity || null;
    filter.machine = machine.value || null;
    buttons.forEach((each, at) => each.setAttribute("aria-pressed", String(SEVERITIES[at] === severity)));
    const query = Object.entries(filter).filter(([, value]) => value);
    history.replaceState(null, "", query.length ? context.link("events", Object.fromEntries(query)) : context.link("events"));
    return list.load({ ...filter });
  }

  async function fillMachines() {
    const { machines } = await api.get(api.path("machines"));
    machine.append(...machines.map(({ name }) => h("option", { value: name }, name)));
    machine.value = filter.machine ?? "";
  }

  function suits(event) {
    return SEVERITIES.indexOf(filter.severity ?? "") <= Math.max(0, SEVERITIES.indexOf(event.severity)) && (!filter.machine || event.machine === filter.machine);
  }
}
