// The first step: sound is recorded, and checked while it comes.

import { ask, problem } from "../dialog.js";
import { h, put, say } from "../dom.js";
import { span } from "../format.js";
import { Meter } from "../meter.js";
import { icon } from "../shapes.js";
import { levelOf, openMicrophone, pcm } from "../sound/capture.js";
import { write } from "../write.js";

const EVERY = 1000; // ms between two looks at what the server has
const MESSAGE = 0.25; // seconds of sound in one message
const BEHIND = 8e6; // bytes that wait to be sent, from which on sound is lost
const ENOUGH = 600; // seconds
const DONE = 4000; // why the server closes the connection when it has enough

export class RecordStep {
  #id = null;
  #microphone = null;
  #socket = null;
  #timer = 0;
  #closed = false;
  #pending = [];

  /** @param {{resume?: object}} what  `resume`: a machine's recording that is under way, as the server tells it */
  constructor(context, { started, finished, resume }) {
    this.resume = resume;
    this.context = context;
    this.words = context.texts.record;
    this.started = started;
    this.finished = finished;
    this.element = h("section.card.record", { "aria-label": this.words.title });
    this.leave = (event) => this.#microphone && event.preventDefault();
  }

  async begin() {
    const { api } = this.context;
    addEventListener("beforeunload", this.leave);
    if (this.resume) {
      this.#id = this.resume.id;
      this.recording = true;
      this.meter = new Meter();
      this.#show(this.resume.name, this.resume.machine);
      return this.#look();
    }
    const { machines = [] } = await api.get(api.path("machines")).catch(() => ({}));
    this.machines = machines.filter((each) => each.listening);
    return this.#form();
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    removeEventListener("beforeunload", this.leave);
    clearTimeout(this.#timer);
    this.#release();
    const { api } = this.context;
    if (this.#id && this.recording && !this.machine) api.post(api.path("recordings", this.#id, "stop"), {}).catch(() => {});
  }

  #form(error) {
    const { words, machines } = this;
    this.name = h("input", { id: "name", required: true, maxlength: 60, value: this.name?.value ?? "", autocomplete: "off",
      placeholder: words.namePlaceholder, "aria-describedby": "name-help" });
    const choice = (value, label, checked) => h("label.check", {},
      h("input", { type: "radio", name: "source", value, checked }), label);
    this.choice = h("select", { "aria-label": words.whichMachine, change: () => { this.sources.querySelector("[value=machine]").checked = true; } },
      machines.map((each) => h("option", { value: each.name }, each.name)));
    this.sources = h("fieldset", {}, h("legend", {}, words.source),
      choice("browser", words.browser, true),
      machines.length > 0 && h("div.pair", {}, choice("machine", words.machine, false), this.choice));
    const submit = (event) => { event.preventDefault(); this.#start(); };
    put(this.element, h("h2", {}, words.first),
      h("form", { submit },
        h("div.field", {}, h("label", { for: "name" }, words.name), this.name, h("p.small.muted", { id: "name-help" }, words.nameHelp)),
        this.sources,
        h("ul.hints.small.muted", {}, words.hints.map((each) => h("li", {}, each))),
        error && problem(error),
        h("div.actions", {}, h("button.primary", {}, icon("record"), words.start))));
  }

  async #start() {
    const { api } = this.context;
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    const machine = this.element.querySelector("[name=source]:checked").value === "machine" ? this.choice.value : null;
    this.meter = new Meter();
    try {
      if (!machine) this.#microphone = await openMicrophone((block) => this.#hear(block), (text) => this.#lost(text));
      const { id } = await api.post(api.path("recordings"), machine ? { name, machine } : { name, browser: true });
      this.#id = id;
      this.recording = true;
      this.started(id);
      if (!machine) this.#connect();
      this.#show(name, machine);
      this.#look();
    } catch (error) {
      this.#release();
      this.#form(error);
    }
    return undefined;
  }

  #show(name, machine) {
    const { words } = this;
    this.machine = machine;
    this.clock = h("p.time", { role: "timer" }, this.context.texts.times.second(0));
    this.state = h("p.muted", { role: "status" });
    this.bar = h("progress", { max: ENOUGH, value: 0, "aria-label": words.enough });
    this.problems = h("ul.problems", { "aria-live": "polite" });
    this.note = h("p.small.muted");
    put(this.element,
      h("h2.live", {}, h("span.dot", { "aria-hidden": "true" }), machine ? words.fromMachine(machine) : words.fromBrowser(this.#microphone.label)),
      this.clock, this.meter.element,
      h("div.towards", {}, this.state, h("span.small.muted", {}, words.enough)), this.bar, this.problems, this.note,
      h("div.actions", {},
        this.stopButton = h("button.primary", { type: "button", click: () => this.#stop(name) }, words.stop),
        h("button.quiet", { type: "button", click: () => this.#discard() }, words.discard)));
    this.stopButton.focus();
  }

  /** Take a block of the microphone: it is shown at once, and sent with its neighbours. */
  #hear(block) {
    this.meter.show(levelOf(block));
    this.#pending.push(block);
    const length = this.#pending.length * block.length;
    if (this.#socket?.readyState !== WebSocket.OPEN || length < MESSAGE * this.#microphone.rate) return;
    for (const each of this.#pending.splice(0)) this.#socket.send(pcm(each));
    if (this.#socket.bufferedAmount > BEHIND) this.#lost(this.words.slow);
  }

  #connect() {
    const { api } = this.context;
    const address = api.socketUrl(api.path("recordings", this.#id, "sound"), { rate: this.#microphone.rate, format: "s16le" });
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.error) this.#lost(message.error);
    };
    socket.onclose = ({ code }) => code !== DONE && this.#socket === socket && this.recording && this.#lost(this.words.cut);
  }

  /** The microphone or the connection is gone: what was recorded is kept. */
  #lost(text) {
    this.#release();
    if (!this.recording) return this.#closed || this.#form(new Error(text));
    put(this.note, problem(new Error(text)));
    return undefined;
  }

  #release() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#microphone?.close();
    this.#microphone = null;
  }

  async #look() {
    const { api, texts } = this.context;
    try {
      const found = await api.get(api.path("recordings", this.#id));
      if (this.#closed || !this.recording) return;
      say(this.clock, span(found.heard ?? found.seconds));
      say(this.state, this.words.clips(found.clips, found.left_out));
      this.bar.value = Math.min(ENOUGH, found.seconds);
      if (this.#microphone === null && found.level != null) this.meter.show({ level: found.level, peak: found.peak ?? found.level });
      this.#tell(found.problems ?? []);
      if (found.done) return this.#stop(found.name);
    } catch (error) {
      if (error.status) return this.#lost(error.message);
      say(this.state, texts.errors.connection);
    }
    if (!this.#closed) this.#timer = setTimeout(() => this.#look(), EVERY);
    return undefined;
  }

  #tell(found) {
    const key = JSON.stringify(found);
    if (this.told === key) return;
    this.told = key;
    put(this.problems, found.map((each) => h("li", {}, each)));
  }

  async #stop(name) {
    const { api, toast } = this.context;
    clearTimeout(this.#timer);
    this.stopButton.disabled = true;
    this.#release();
    try {
      await api.post(api.path("recordings", this.#id, "stop"), {});
      this.recording = false;
      this.finished(this.#id, name);
    } catch (error) {
      this.stopButton.disabled = false;
      toast(error);
    }
  }

  async #discard() {
    const { words, context } = this;
    if (!(await ask(words.discardTitle, [h("p", {}, words.discardText)], { yes: words.discard }))) return;
    this.#release();
    this.recording = false;
    await context.api.remove(context.api.path("recordings", this.#id)).catch((error) => context.toast(error));
    this.finished(this.#id, "", true);
  }
}

/** What was recorded, in words. */
export const recorded = ({ clips, seconds }, words) => words.recorded(write.number(clips), span(seconds));
