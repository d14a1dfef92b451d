// Settings of alarms, of kept sound, and of who is told.

import { h, put, say } from "../dom.js";
import { problem } from "../dialog.js";
import { Field, Fields } from "../fields.js";
import { Sinks } from "./sinks.js";

export async function show(container, parameters, context) {
  const view = new SettingsView(container, context);
  await view.load();
  return () => view.close();
}

class SettingsView {
  #dirty = false;

  constructor(container, context) {
    this.container = container;
    this.context = context;
    this.words = context.texts.settings;
    this.leave = (event) => this.#dirty && event.preventDefault();
  }

  close() {
    removeEventListener("beforeunload", this.leave);
  }

  async load() {
    const { api, texts } = this.context;
    const title = h("div", {}, h("h1", {}, texts.pages.settings));
    if (!this.context.user.may("administer")) {
      put(this.container, title, h("p.card.muted", {}, this.words.mayNot), this.#keys());
      return;
    }
    let found;
    try {
      found = await api.get(api.path("settings"));
    } catch (error) {
      if (error.status !== 404 && error.status !== 403 && error.status !== 409) throw error;
      put(this.container, title, h("div.card", {}, problem(error), h("p.muted", {}, this.words.none)), this.#keys());
      return;
    }
    this.found = found;
    this.editable = found.editable !== false;
    if (found.path) title.append(h("p.muted", {}, this.words.lead, " ", h("code", {}, found.path.split(/[\\/]/).at(-1))));
    if (!this.editable) title.append(h("p.muted", {}, found.reason || this.words.mayNot));
    put(this.container, title, this.#form(), this.#keys());
    addEventListener("beforeunload", this.leave);
  }

  #form() {
    const { words, found, editable } = this;
    const { settings } = found;
    const section = (table, known) => {
      const fields = Object.entries(words[table].fields).filter(([key]) => key in known).map(([key, about]) =>
        new Field({ key, value: known[key], ...about, editable, id: `${table}-${key}` }));
      this.parts[table] = new Fields(fields);
      return h("section.card", { "aria-labelledby": `${table}-title` }, h("h2", { id: `${table}-title` }, words[table].title),
        words[table].text && h("p.muted.small", {}, words[table].text), this.parts[table].element);
    };
    this.parts = {};
    this.sinks = new Sinks(settings.sink ?? [], found.sinks ?? [],
      found.machines ?? (settings.source ?? []).map((each) => each.name).filter(Boolean), editable, words.sink, () => this.#touch());
    this.problem = h("div.top-problem");
    this.state = h("span.muted", { role: "status" });
    this.save = h("button.primary", {}, words.save);
    this.reset = h("button", { type: "button", click: () => { this.#clean(); this.load(); } }, words.reset);
    this.bar = h("div.save", { hidden: true }, this.state, this.reset, this.save);
    const changed = (event) => event.target.closest(".settings") && this.#touch();
    return h("form.settings", { novalidate: true, input: changed, change: changed, submit: (event) => { event.preventDefault(); this.#send(); } },
      h("div.columns", {}, section("alerts", { false_alarms: settings.false_alarms ?? "", ...settings.alerts }),
        section("evidence", settings.evidence ?? {})),
      h("section.card", { "aria-labelledby": "sink-title" }, h("h2", { id: "sink-title" }, words.sink.title), this.sinks.element),
      this.problem,
      editable && this.bar);
  }

  #touch() {
    if (!this.editable) return;
    this.#dirty = true;
    this.bar.hidden = this.save.disabled = false;
    say(this.state, this.words.changed);
  }

  #clean() {
    this.#dirty = false;
    this.bar.hidden = true;
  }

  async #send() {
    const { api, toast } = this.context;
    const { false_alarms: falseAlarms, ...alerts } = this.parts.alerts.values();
    const settings = { false_alarms: falseAlarms, alerts, evidence: this.parts.evidence.values(), sink: this.sinks.values() };
    put(this.problem);
    [this.parts.alerts, this.parts.evidence, this.sinks].forEach((each) => each.clear());
    this.save.disabled = true;
    say(this.state, this.words.saving);
    try {
      const answer = await api.replace(api.path("settings"), { settings });
      this.#clean();
      toast(answer?.text || this.words.saved);
      await this.load();
    } catch (error) {
      this.save.disabled = false;
      say(this.state, this.words.notSaved);
      if (!this.#point(error)) put(this.problem, problem(error));
    }
  }

  /** Show an error beside its field, if the server says which one it is. */
  #point(error) {
    const { table = "", key = "" } = error.answer ?? {};
    const [name, index] = table.replace("]", "").split("[");
    if (name === "sink") return this.sinks.fail(Number(index), key, error.message);
    return (this.parts[name || "alerts"] ?? this.parts.alerts).fail(key, error.message);
  }

  #keys() {
    const { words } = this;
    return h("section.card.keys-card", { "aria-labelledby": "keys-title" }, h("h2", { id: "keys-title" }, words.keys.title),
      h("p", {}, words.keys.text),
      h("dl.facts", {}, words.keys.commands.map(([command, text]) => [h("dt", {}, h("code", {}, command)), h("dd", {}, text)])));
  }
}
