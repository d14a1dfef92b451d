// Sound from a file or a microphone, judged at once.

import { h, put, say } from "../dom.js";
import { exactly } from "../format.js";
import { icon } from "../shapes.js";
import { levelOf, openMicrophone, wav } from "../sound/capture.js";
import { Meter } from "../meter.js";
import { Result } from "./result.js";

const AT_ONCE = 2; // uploads
const LEAST_SECONDS = 5; // of a recording by the microphone

export async function show(container, parameters, context) {
  const view = new JudgeView(container, context);
  await view.load(parameters.model);
  return () => view.close();
}

class JudgeView {
  #waiting = [];
  #running = 0;
  #results = [];
  #microphone = null;

  constructor(container, context) {
    this.container = container;
    this.context = context;
    this.words = context.texts.judge;
  }

  close() {
    this.#microphone?.close();
    this.#microphone = null;
    this.#waiting = [];
    this.#results.forEach((each) => each.close());
  }

  async load(wanted) {
    const { api, texts } = this.context;
    const { models } = await api.get(api.path("models"));
    const { words } = this;
    put(this.container, h("div", {}, h("h1", {}, texts.pages.judge), h("p.muted", {}, words.lead)));
    if (!models.length) {
      this.container.append(h("p.card.empty", {}, words.noModels, " ", h("code", {}, words.noModelsCommand)));
      return;
    }
    this.models = models;
    this.model = h("select", { id: "model", change: () => this.#choose() },
      models.map((each) => h("option", { value: each.name, selected: each.name === wanted }, each.name)));
    this.state = h("select", { id: "state" });
    this.about = h("p.small.muted", { "aria-live": "polite" });
    this.summary = h("p.summary", { role: "status" });
    this.list = h("div.stack");
    this.container.append(
      h("section.card.judge", { "aria-label": texts.pages.judge },
        h("div.choices", {},
          h("div.field", {}, h("label", { for: "model" }, words.model), this.model),
          this.stateField = h("div.field", {}, h("label", { for: "state" }, words.state), this.state)),
        this.about, this.#drop(), this.#record()),
      this.summary, this.list);
    this.#choose();
  }

  #chosen = () => this.models.find((each) => each.name === this.model.value);

  #choose() {
    const { words } = this;
    const { states = [], clip_seconds: seconds, training_clips: clips, promise } = this.#chosen();
    put(this.state, h("option", { value: "" }, words.anyState), states.map((each) => h("option", { value: each }, each)));
    this.stateField.hidden = states.length < 2;
    put(this.about, [seconds && clips && words.about(clips, seconds), promise && words.promise(promise)].filter(Boolean).join(" "));
  }

  #drop() {
    const { words } = this;
    const field = h("input", { type: "file", id: "files", class: "hidden", multiple: true, accept: "audio/*,.flac,.wav,.ogg,.mp3,.m4a",
      change: () => { this.#take([...field.files]); field.value = ""; } });
    const zone = h("label.drop", { for: "files",
      dragenter: (event) => event.preventDefault(),
      dragover: (event) => { event.preventDefault(); zone.classList.add("over"); },
      dragleave: () => zone.classList.remove("over"),
      drop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        this.#take([...event.dataTransfer.files]);
      },
    }, icon("judge"), h("span.button", {}, words.choose), h("span.muted.wide", {}, words.drop));
    return [field, zone];
  }

  #record() {
    const { words } = this;
    this.recordButton = h("button", { type: "button", click: () => (this.#microphone ? this.#stop() : this.#start()) },
      icon("record"), h("span", {}, words.record));
    this.recordState = h("div.recording", { hidden: true });
    return h("div.microphone", {}, this.recordButton, this.recordState);
  }

  async #start() {
    const { words, context } = this;
    const meter = new Meter();
    const blocks = [];
    const wanted = Math.max(LEAST_SECONDS, this.#chosen().clip_seconds ?? 0);
    const clock = h("span", { role: "timer" });
    this.recordButton.disabled = true;
    try {
      this.#microphone = await openMicrophone((samples) => {
        blocks.push(samples);
        meter.show(levelOf(samples));
        const seconds = (blocks.length * samples.length) / this.#microphone.rate;
        say(clock, words.recorded(Math.floor(seconds), Math.ceil(wanted)));
        if (seconds >= wanted) this.#stop();
      }, (text) => { this.#stop(); context.toast(new Error(text)); });
      this.blocks = blocks;
      put(this.recordState, clock, meter.element);
      this.recordState.hidden = false;
      say(this.recordButton.lastChild, words.stop);
    } catch (error) {
      context.toast(error);
    } finally {
      this.recordButton.disabled = false;
    }
  }

  #stop() {
    const microphone = this.#microphone;
    this.#microphone = null;
    microphone?.close();
    this.recordState.hidden = true;
    say(this.recordButton.lastChild, this.words.record);
    if (microphone && this.blocks.length)
      this.#take([wav(this.blocks, microphone.rate, `${this.words.recording(exactly(Date.now() / 1000))}.wav`)]);
  }

  #take(files) {
    const choice = { model: this.model.value, state: this.state.value || undefined };
    const made = files.map((file) => new Result(file, choice, this.context, (result) => this.#forget(result)));
    this.#results.unshift(...made);
    this.list.prepend(...made.map((each) => each.element));
    this.#waiting.push(...made);
    made[0]?.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    this.#next();
  }

  #forget(result) {
    this.#results = this.#results.filter((each) => each !== result);
    this.#waiting = this.#waiting.filter((each) => each !== result);
    this.#sum();
  }

  async #next() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      const result = this.#waiting.shift();
      this.#running++;
      result.judge(this.#results.length === 1).finally(() => {
        this.#running--;
        this.#sum();
        this.#next();
      });
    }
    this.#sum();
  }

  #sum() {
    const done = this.#results.filter((each) => each.state);
    const unusual = done.filter((each) => each.state === "unusual").length;
    const failed = done.filter((each) => each.state === "failed").length;
    say(this.summary, this.#results.length < 2 ? "" : this.words.summary(done.length, this.#results.length, unusual, failed));
  }
}
