// Healthy sound recorded from the page, and a model fitted to it.

import { h, put } from "../dom.js";
import { FitStep } from "./fit.js";
import { RecordStep } from "./recording.js";

export async function show(container, { recording, job }, context) {
  const { texts, user, api, link } = context;
  const words = texts.record;
  container.classList.add("narrow");
  const place = h("div.stack");
  put(container, h("div", {}, h("h1", {}, words.title), h("p.muted", {}, words.lead)), place);
  if (!user.may("administer")) {
    put(place, h("p.card.empty", {}, words.mayNot));
    return undefined;
  }
  let step = null;
  // The address keeps what goes on, so that a page that is loaded again finds it.
  const at = (query) => history.replaceState(null, "", link("record", query));
  const go = async (next, query) => {
    step?.close();
    at(query);
    step = next;
    put(place, step.element);
    await step.begin();
  };
  const begin = (resume) => go(new RecordStep(context, {
    resume,
    started: (id) => at({ recording: id }),
    finished: (id, name, again) => (again ? begin() : fit({ recording: id, name })),
  }), resume ? { recording: resume.id } : {});
  const fit = (known) => go(new FitStep(context, {
    ...known, started: (id) => at({ job: id }), again: () => begin(),
  }), known.job ? { job: known.job } : { recording: known.recording });

  if (job) await fit({ job });
  else if (recording) await goOn(await api.get(api.path("recordings", recording)).catch(() => ({ id: recording, done: true })));
  else await begin();

  /** Of a recording: that of a machine goes on without the page, that of the browser's microphone does not. */
  async function goOn(found) {
    if (!found.done && found.machine) return begin(found);
    if (!found.done) await api.post(api.path("recordings", found.id, "stop"), {}).catch(() => {});
    return fit({ recording: found.id, name: found.name });
  }
  return () => step?.close();
}
