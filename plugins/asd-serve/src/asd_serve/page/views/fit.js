// The second step: a model is fitted to what was recorded.

import { problem } from "../dialog.js";
import { h, put, say } from "../dom.js";
import { together } from "../format.js";
import { icon } from "../shapes.js";
import { recorded } from "./recording.js";

const EVERY = 700; // ms between two looks at the job

export class FitStep {
  #timer = 0;
  #closed = false;

  constructor(context, { recording, name, job, started, again }) {
    this.context = context;
    this.words = context.texts.record;
    Object.assign(this, { recording, job, started, again });
    this.called = name;
    this.element = h("section.card.record", { "aria-label": this.words.second });
  }

  async begin() {
    if (this.job) return this.#follow();
    const { api } = this.context;
    try {
      this.#form(await api.get(api.path("recordings", this.recording)));
    } catch (error) {
      this.#gone(error);
    }
    return undefined;
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #form(found, error) {
    const { words } = this;
    this.found = found;
    this.name = h("input", { id: "model-name", required: true, maxlength: 60, value: this.name?.value ?? this.called ?? "", autocomplete: "off",
      "aria-invalid": error ? "true" : null, "aria-describedby": error ? "fit-error" : null });
    const submit = (event) => { event.preventDefault(); this.#start(); };
    put(this.element, h("h2", {}, words.second),
      h("p", {}, recorded(found, words)),
      found.problems?.length ? h("ul.problems", {}, found.problems.map((each) => h("li", {}, each))) : h("p.good", {}, words.noProblems),
      h("form", { submit },
        h("div.field", {}, h("label", { for: "model-name" }, words.modelName), this.name),
        error && h("p.problem", { role: "alert", id: "fit-error" }, error.message),
        h("div.actions", {}, h("button.primary", {}, words.fit),
          h("button.quiet", { type: "button", click: () => this.#discard() }, words.discard))));
  }

  async #start() {
    const { api } = this.context;
    const name = this.name.value.trim();
    if (!name) return this.name.focus();
    try {
      const job = await api.post(api.path("fits"), { recording: this.recording, name });
      this.job = job.id;
      this.started(job.id);
      await this.#follow();
    } catch (error) {
      this.#form(this.found, error);
      this.name.focus();
    }
    return undefined;
  }

  async #follow() {
    const { words } = this;
    this.bar = h("progress", { "aria-label": words.fitting });
    this.text = h("p.muted", { role: "status" });
    put(this.element, h("h2", {}, words.fitting), this.bar, this.text,
      h("div.actions", {}, h("button", { type: "button", click: () => this.#cancel() }, words.cancelFit)));
    await this.#look();
  }

  async #look() {
    const { api } = this.context;
    try {
      const job = await api.get(api.path("jobs", this.job));
      if (this.#closed) return;
      if (job.state === "done") return this.#done(job.result ?? {});
      if (job.state === "failed") return this.#failed(new Error(job.text));
      if (job.total) [this.bar.max, this.bar.value] = [job.total, job.done];
      say(this.text, job.text ?? "");
    } catch (error) {
      if (error.status) return this.#gone(error);
      say(this.text, error.message);
    }
    this.#timer = setTimeout(() => this.#look(), EVERY);
    return undefined;
  }

  #done({ model, promise, sentences = [] }) {
    const { words, context } = this;
    put(this.element, h("h2.good", { tabindex: "-1" }, words.done(model)),
      promise && h("p.verdict", {}, together(promise)),
      sentences.filter((each) => each !== promise).map((each) => h("p.muted", {}, together(each))),
      h("p.muted", {}, words.next, " ", h("code", {}, words.nextCommand)),
      h("div.actions", {},
        h("a.button.primary", { href: context.link("judge", { model }) }, icon("judge"), words.judgeWith),
        h("button", { type: "button", click: this.again }, words.again)));
    this.element.firstChild.focus();
  }

  #failed(error) {
    const { words } = this;
    put(this.element, h("h2", {}, words.failed), problem(error),
      h("div.actions", {},
        this.recording && h("button.primary", { type: "button", click: () => this.begin(this.job = null) }, words.tryAgain),
        h("button", { type: "button", click: this.again }, words.again)));
  }

  #gone(error) {
    put(this.element, h("h2", {}, this.words.gone), problem(error),
      h("div.actions", {}, h("button.primary", { type: "button", click: this.again }, this.words.again)));
  }

  async #cancel() {
    const { api, toast } = this.context;
    clearTimeout(this.#timer);
    try {
      await api.remove(api.path("jobs", this.job));
      toast(this.words.cancelled);
      if (!this.recording) return this.again();
      this.job = null;
      await this.begin();
    } catch (error) {
      toast(error);
      await this.#look();
    }
    return undefined;
  }

  async #discard() {
    const { api, toast } = this.context;
    await api.remove(api.path("recordings", this.recording)).catch(toast);
    this.again();
  }
}
