// What was marked as normal goes into a machine's model: first shown, then done, and taken back if it was wrong.

import { ask, problem } from "../dialog.js";
import { h, put, say } from "../dom.js";
import { changes } from "./normal.js";

const EVERY = 700; // ms between two looks at the job

/**
 * A card for the page of a machine.
 * @param {string} machine
 * @param {object} context  of the view
 * @returns {{element: HTMLElement, close: function()}}
 */
export function teaching(machine, context) {
  const { api, texts, toast, user } = context;
  const words = texts.teach;
  const place = api.path("machines", machine, "update");
  const body = h("div.preview", { "aria-live": "polite" });
  let timer = 0;
  let closed = false;

  const look = async () => {
    put(body, h("p.muted", {}, texts.normal.computing));
    try {
      const found = await api.get(place);
      if (!closed) put(body, changes(found, texts.normal), user.may("administer") ? offers(found) : h("p.small.muted", {}, words.mayNot));
    } catch (error) {
      put(body, problem(error));
    }
  };
  const offers = (found) => h("div.actions", {},
    found.clips > 0 && h("button.primary", { type: "button", click: () => teach(found) }, words.teach),
    found.undo && h("button", { type: "button", click: takeBack }, words.undo));
  const teach = async (found) => {
    if (!(await ask(words.title, [changes(found, texts.normal), h("p.small.muted", {}, words.later)], { yes: words.teach }))) return;
    try {
      const job = await api.post(place, {});
      follow(job.id);
    } catch (error) {
      toast(error);
    }
  };
  const follow = (id) => {
    const bar = h("progress", { "aria-label": words.learning });
    const text = h("p.muted", { role: "status" }, words.learning);
    put(body, bar, text);
    const turn = async () => {
      try {
        const job = await api.get(api.path("jobs", id));
        if (closed) return undefined;
        if (job.state === "failed") return put(body, problem(new Error(job.text)));
        if (job.state === "done") {
          toast(job.result?.text || words.done, { action: { label: texts.event.undo, run: takeBack } });
          return look();
        }
        if (job.total) [bar.max, bar.value] = [job.total, job.done];
        say(text, job.text || words.learning);
      } catch (error) {
        if (error.status) return put(body, problem(error));
      }
      timer = setTimeout(turn, EVERY);
      return undefined;
    };
    turn();
  };
  const takeBack = async () => {
    try {
      toast((await api.remove(place))?.text || texts.event.done.undo);
      await look();
    } catch (error) {
      toast(error);
    }
  };

  const element = h("details.card", { toggle: () => element.open && look() }, h("summary", {}, words.summary),
    h("p.muted.small", {}, words.text), body);
  return { element, close: () => { closed = true; clearTimeout(timer); } };
}
