// One event: what was heard, and what people say it was.

import { h, put } from "../dom.js";
import { capital, moment, span, together, wholly } from "../format.js";
import { keysOn, shortcuts, turnKeys } from "../keys.js";
import { shape } from "../shapes.js";
import { Listening } from "../sound/listen.js";
import { write } from "../write.js";
import { askNormal } from "./normal.js";
import { notes } from "./notes.js";

const HOUR = 3600;

export async function show(container, { event: id }, context) {
  const view = new EventView(container, id, context);
  await view.load();
  return () => view.close();
}

class EventView {
  #control = new AbortController();
  #endings = [];
  #listening = null;

  constructor(container, id, context) {
    this.container = container;
    this.id = id;
    this.context = context;
    this.words = context.texts.event;
    this.may = context.user.may("feedback");
    this.judgement = h("section.card.judgement", { "aria-label": this.words.what });
    this.chips = h("p.chips", {});
  }

  close() {
    this.#control.abort();
    this.#listening?.close();
    this.#endings.forEach((end) => end());
  }

  async load() {
    const since = this.context.api.now();
    this.event = await this.#get();
    const { event, words } = this;
    document.title = `${event.machine} · ${words.title} · ${this.context.texts.name}`;
    this.notes = notes(event, this.context, () => this.refresh());
    put(this.container,
      this.#head(),
      event.sound ? this.#sound() : event.kind === "alarm" && h("p.card.muted", {}, words.noSound),
      h("div.columns", {},
        h("div.stack", {}, isJudged(event) && this.judgement, this.#details()),
        h("div.stack", {}, this.notes.element, event.sound && this.#keys())));
    this.#fill();
    this.#endings.push(shortcuts(this.#actions()));
    // What others say of it appears by itself.
    this.#endings.push(this.context.live.open("api/live", {
      since,
      opened: (again) => again && this.refresh(),
      message: (data) => data.type === "event" && data.machine === event.machine && this.refresh(),
    }));
  }

  #get = () => this.context.api.get(this.context.api.path("events", this.id), {}, { signal: this.#control.signal });

  refresh = async () => {
    try {
      this.event = await this.#get();
      this.#fill();
    } catch (error) {
      this.context.toast(error);
    }
  };

  #fill() {
    const { event, words } = this;
    put(this.chips,
      h("span", { class: `state ${event.kind}` }, shape(event.kind), this.context.texts.kinds[event.kind] ?? event.kind),
      h("time", { datetime: new Date(event.time * 1000).toISOString(), title: wholly(event.time) },
        `${moment(event.time, { exact: true })} · ${this.context.texts.times.ago(span(Date.now() / 1000 - event.time))}`),
      event.acknowledged && h("span.chip", {}, words.acknowledgedBy(event.acknowledged_by || words.somebody)));
    this.#fillJudgement();
    this.notes.fill(event);
  }

  #head() {
    const { event, words, context } = this;
    const about = { from: Math.floor(event.time - HOUR), to: Math.ceil(event.time + HOUR) };
    const sentence = event.explanation?.findings?.[0]?.text;
    return h("header.event-head", {},
      h("p", {}, h("a.up", { href: context.link("machines", event.machine, about) }, words.machine(event.machine))),
      h("h1", {}, together(`${capital(sentence ?? bare(event))}.`)),
      sentence && event.data?.evidence != null &&
        h("p.muted", {}, words.why(write.one(event.data.evidence), write.one(event.data.threshold))),
      this.chips);
  }

  #sound() {
    const { event, words, context } = this;
    const read = (address) => async () => {
      const response = await fetch(context.api.url(address), { signal: this.#control.signal });
      if (!response.ok) throw new Error(context.texts.errors.status(response.status));
      return response.arrayBuffer();
    };
    const file = context.api.path("events", event.id, "audio");
    const tracks = [{
      name: "event", label: words.thisSound(moment(event.time, { exact: true })), short: words.thisShort, read: read(file),
      places: event.explanation?.findings ?? [],
      mark: event.sound.before == null ? null : { seconds: event.sound.before, label: words.raised },
    }];
    if (event.nearest) tracks.push({
      name: "healthy", label: words.healthySound(moment(event.nearest.time)), short: words.healthyShort,
      read: read(context.api.path("events", event.id, "nearest", "audio")),
    });
    const panel = new Listening(tracks);
    this.#listening = panel;
    const card = h("section.card", { "aria-label": words.sound },
      h("div.head", {}, h("h2", {}, words.sound), h("a.small", { href: context.api.url(file), download: "" }, words.download)),
      panel.element);
    panel.ready.catch((error) => error.name !== "AbortError" && put(card, h("h2", {}, words.sound), this.#plain(file)));
    return card;
  }

  /** Where the browser cannot decode the sound, its own player and the server's picture do. */
  #plain(file) {
    const { api } = this.context;
    return [
      this.event.picture && h("img", { src: api.url(api.path("events", this.event.id, "picture")), alt: this.words.picture }),
      h("audio", { controls: true, src: api.url(file) }),
      h("p.muted", {}, this.words.plain),
    ];
  }

  #fillJudgement() {
    const { event, words } = this;
    const last = event.judgements?.at(-1);
    const said = event.judgement;
    put(this.judgement, h("h2", {}, words.what),
      said
        ? h("p.said", { class: `said ${said}` }, last ? words.judged(words.judgements[said], last.by || words.somebody, moment(last.time))
          : words.judgedBare(words.judgements[said]))
        : h("p.muted", {}, this.may ? words.ask : words.notYet),
      this.may && h("div.actions", {},
        said
          ? h("button", { type: "button", click: () => this.takeBack() }, words.undo)
          : [
            h("button.answer", { type: "button", click: () => this.judge("fault") }, h("span.state.alarm", {}, shape("alarm")), words.fault),
            h("button.answer", { type: "button", click: () => this.normal() },
              h("span.state.watching", {}, shape("watching")), words.normal),
          ],
        !event.acknowledged && h("button.quiet", { type: "button", click: () => this.acknowledge() }, words.acknowledge)),
      !this.may && h("p.small.muted", {}, words.mayNot),
      event.judgements?.length > 1 && h("details", {}, h("summary", {}, words.allJudgements),
        h("ul.small", {}, event.judgements.map((each) =>
          h("li", {}, words.judged(words.judgements[each.judgement] ?? each.judgement, each.by || words.somebody, moment(each.time)))))));
  }

  /** Show what "normal" changes, ask, and do it. */
  async normal() {
    if (!this.may || this.event.judgement) return;
    const { api } = this.context;
    if (await askNormal(() => api.get(api.path("events", this.id, "preview")))) await this.judge("normal");
  }

  judge(judgement) {
    if (!this.may || this.event.judgement) return undefined;
    const { api } = this.context;
    return this.#send(() => api.post(api.path("events", this.id, "judgement"), { judgement }),
      this.words.done[judgement], () => this.takeBack());
  }

  takeBack() {
    const { api } = this.context;
    return this.#send(() => api.remove(api.path("events", this.id, "judgement")), this.words.done.undo);
  }

  acknowledge() {
    if (!this.may || this.event.acknowledged) return undefined;
    const { api } = this.context;
    const place = api.path("events", this.id, "acknowledge");
    return this.#send(() => api.post(place, {}), this.words.done.acknowledge,
      () => this.#send(() => api.remove(place), this.words.done.undo));
  }

  async #send(action, text, undo) {
    const { toast, texts } = this.context;
    try {
      const answer = await action();
      toast(answer?.text || text, undo ? { action: { label: texts.event.undo, run: undo } } : {});
      await this.refresh();
    } catch (error) {
      toast(error);
    }
  }

  #actions() {
    const panel = () => this.#listening;
    return {
      " ": () => panel()?.toggle(),
      ArrowLeft: () => panel()?.step(-1),
      ArrowRight: () => panel()?.step(1),
      x: () => panel()?.swap(),
      f: () => isJudged(this.event) && this.judge("fault"),
      n: () => isJudged(this.event) && this.normal(),
      a: () => this.acknowledge(),
      w: () => this.notes.write(),
    };
  }

  #keys() {
    const { words } = this;
    const list = Object.entries(words.keys).filter(([, [, role]]) => role !== "feedback" || this.may);
    const box = h("input", { type: "checkbox", checked: keysOn(), change: () => turnKeys(box.checked) });
    return h("details.card.keys", {}, h("summary", {}, words.keysTitle),
      h("dl.facts", {}, list.map(([key, [text]]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
      h("label.check", {}, box, words.keysOn));
  }

  #details() {
    const { event, words } = this;
    const { data = {} } = event;
    const facts = [
      [words.facts.evidence, data.evidence != null && words.facts.evidenceText(write.one(data.evidence), write.one(data.threshold))],
      [words.facts.p, data.p_value != null && words.facts.pText(write.share(data.p_value))],
      [words.facts.since, data.since && wholly(data.since)],
      [words.facts.kept, event.sound && words.facts.keptText(write.one(event.sound.seconds))],
      [words.facts.id, h("code", {}, event.id)],
    ].filter(([, value]) => value);
    return h("details.card", {}, h("summary", {}, words.details),
      h("dl.facts", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      event.explanation?.sentences?.length > 0 && [h("h3", {}, words.explanation),
        h("ul.sentences", {}, event.explanation.sentences.map((each) => h("li", {}, each)))]);
  }
}

const isJudged = (event) => event.kind === "alarm";
/** The text of an event without the machine's name, which stands above it. */
const bare = ({ text, machine }) => (text.startsWith(`${machine}: `) ? text.slice(machine.length + 2) : text).replace(/\.$/, "");
