// What a model says about one file.

import { h, put, say } from "../dom.js";
import { capital, together } from "../format.js";
import { shape } from "../shapes.js";
import { Listening } from "../sound/listen.js";
import { write } from "../write.js";

const MOST_DRAWN = 40e6; // bytes of a file that the browser decodes for its picture
const ROWS = 50; // of the table of clips
const KINDS = { usual: "watching", single: "unlike", unusual: "alarm" };

export class Result {
  #control = new AbortController();
  #listening = null;
  /** null while it is judged; "usual", "single", "unusual" or "failed" */
  state = null;

  /**
   * @param {File} file
   * @param {{model: string, state?: string}} choice
   * @param {object} context  of the view
   * @param {function(Result)} removed  called when somebody takes it off the page
   */
  constructor(file, choice, context, removed) {
    this.file = file;
    this.choice = choice;
    this.context = context;
    this.words = context.texts.result;
    this.progress = h("progress", { max: 1, value: 0, "aria-label": this.words.sending(file.name) });
    this.line = h("span.line.muted", {}, this.words.waiting);
    this.mark = h("span.state");
    this.body = h("div.body", {}, this.progress);
    this.details = h("details", { open: true, toggle: () => this.details.open && this.#draw() },
      h("summary", {}, this.mark, h("span.file", {}, file.name), this.line), this.body);
    this.element = h("article.card.result", { "aria-label": file.name }, this.details,
      h("button.quiet.remove", { type: "button", "aria-label": this.words.remove(file.name),
        click: () => { this.close(); this.element.remove(); removed(this); } }, "×"));
  }

  close() {
    this.#control.abort();
    this.#listening?.close();
  }

  /** Send the file, and show what is answered; `open`: with its picture. */
  async judge(open) {
    const { api } = this.context;
    const { words, file } = this;
    this.progress.removeAttribute("value");
    say(this.line, words.judging);
    try {
      const answer = await api.upload(api.path("models", this.choice.model, "score"), file, {
        query: { explain: true, state: this.choice.state, name: file.name },
        type: file.type || "application/octet-stream",
        signal: this.#control.signal,
        progress: (share) => {
          if (share >= 1) this.progress.removeAttribute("value");
          else this.progress.value = share;
          say(this.line, share < 1 ? words.sent(write.percent(share)) : words.judging);
        },
      });
      this.#answered(answer, open);
    } catch (error) {
      if (error.name !== "AbortError") this.#failed(error.message);
    }
  }

  #failed(text) {
    this.state = "failed";
    put(this.mark, shape("info"));
    say(this.line, this.words.failed);
    put(this.body, h("p.problem", { role: "alert" }, text));
  }

  #answered({ clips, explanation, decision }, open) {
    const judged = clips.filter((each) => !each.error);
    if (!judged.length) return this.#failed(clips[0]?.error ?? this.words.nothing);
    const unusual = judged.filter((each) => each.anomalous);
    this.clips = clips;
    this.explanation = explanation ?? {};
    this.worst = judged.reduce((least, each) => (each.p_value < least.p_value ? each : least));
    this.expected = judged.length * (decision?.level ?? 0);
    this.state = stateOf(unusual.length, judged.length, decision?.level ?? 0);
    const kind = KINDS[this.state];
    this.mark.className = `state ${kind}`;
    put(this.mark, shape(kind));
    this.line.className = `line ${kind}`;
    say(this.line, this.words.verdicts[this.state]);
    this.place = h("div");
    put(this.body,
      h("p.verdict", {}, this.#sentence(judged, unusual)),
      this.#reasons(), this.place, clips.length > 1 && this.#table(),
      [...new Set(clips.flatMap((each) => each.notes ?? []))].map((note) => h("p.small.muted", {}, this.words.note(note))));
    this.details.open = open;
    if (open) this.#draw();
    return undefined;
  }

  #sentence(judged, unusual) {
    const { words, worst } = this;
    const p = write.p(worst.p_value);
    if (judged.length > 1) return words.several(unusual.length, judged.length, write.one(this.expected), p);
    return unusual.length ? words.unusual(write.share(worst.p_value), p) : words.usual(write.percent(worst.p_value), p);
  }

  #findings = () => this.explanation.findings ?? [];

  /** Where no place stands out, what is said instead. */
  #reasons() {
    if (this.#findings().length) return null;
    return (this.explanation.sentences ?? []).slice(1).map((each) => h("p.muted", {}, together(capital(each))));
  }

  async #draw() {
    if (!this.place || this.#listening) return;
    if (this.file.size > MOST_DRAWN) return put(this.place, h("p.small.muted", {}, this.words.tooLarge));
    this.#listening = new Listening([
      { name: "file", label: this.words.picture, read: () => this.file.arrayBuffer(), places: this.#findings() },
    ]);
    put(this.place, this.#listening.element);
    try {
      await this.#listening.ready;
    } catch {
      put(this.place, h("p.small.muted", {}, this.words.notDrawn),
        h("ol.sentences", {}, this.#findings().map((each) => h("li", {}, together(capital(each.text))))));
    }
    return undefined;
  }

  #table() {
    const { words, clips } = this;
    return h("details", {}, h("summary", {}, words.table(clips.length)), h("div.scroller", { tabindex: 0, role: "region", "aria-label": words.table(clips.length) }, h("table", {},
      h("thead", {}, h("tr", {}, h("th.number", {}, words.from), h("th", {}, words.verdict), h("th.number", {}, words.p))),
      h("tbody", {}, clips.slice(0, ROWS).map((each, index) => h("tr", {},
        h("td.number", {}, each.start == null ? index + 1 : words.seconds(write.one(each.start))),
        h("td", {}, each.error ?? h("span", { class: `state ${each.anomalous ? "alarm" : "watching"}` },
          words.verdicts[each.anomalous ? "unusual" : "usual"])),
        h("td.number", {}, each.error ? "" : write.p(each.p_value))))))),
    clips.length > ROWS && h("p.small.muted", {}, words.more(clips.length - ROWS)));
  }
}

/**
 * Of a recording of several clips, some are unusual by chance: it is unusual if so many would be rarer, in healthy sound,
 * than one unusual clip is (the binomial distribution, as if clips did not depend on each other).
 */
function stateOf(unusual, all, level) {
  if (!unusual) return "usual";
  let [term, below] = [(1 - level) ** all, 0];
  for (let count = 0; count < unusual; count++) {
    below += term;
    term *= ((all - count) / (count + 1)) * (level / (1 - level));
  }
  return all === 1 || 1 - below <= level ? "unusual" : "single";
}
