// Notes that people leave beside an event.

import { h, put } from "../dom.js";
import { moment, wholly } from "../format.js";

const LONGEST = 2000; // characters

/** Return `{element, fill(event), write()}`; `changed` is called after a note was kept. */
export function notes(event, { api, texts, toast, user }, changed) {
  const words = texts.notes;
  const list = h("ul.notes", {});
  const field = h("textarea", { id: "note", rows: 2, maxlength: LONGEST, placeholder: words.placeholder });
  const button = h("button", {}, words.add);

  const submit = async (happening) => {
    happening.preventDefault();
    const text = field.value.trim();
    if (!text) return field.focus();
    button.disabled = true;
    try {
      await api.post(api.path("events", event.id, "notes"), { text });
      field.value = "";
      await changed();
    } catch (error) {
      toast(error);
    } finally {
      button.disabled = false;
    }
  };
  const withdraw = async (note) => {
    try {
      await api.remove(api.path("events", event.id, "notes", `${note.id}`));
      await changed();
      toast(words.withdrawn, { action: { label: texts.event.undo, run: () => again(note.text) } });
    } catch (error) {
      toast(error);
    }
  };
  const again = async (text) => {
    try {
      await api.post(api.path("events", event.id, "notes"), { text });
      await changed();
    } catch (error) {
      toast(error);
    }
  };
  field.addEventListener("keydown", (press) => {
    if (press.key === "Enter" && (press.ctrlKey || press.metaKey)) submit(press);
    if (press.key === "Escape") field.blur();
  });

  const fill = ({ notes: found = [] }) => {
    const all = Array.isArray(found) ? found : [];
    put(list, all.map((note) => h("li", {},
      h("p.text", {}, note.text),
      h("p.small.muted", {},
        h("span", { title: wholly(note.time) }, `${note.by || texts.event.somebody} · ${moment(note.time)}`),
        user.may("feedback") && note.id != null && note.by === user.name &&
          h("button.quiet.small", { type: "button", click: () => withdraw(note) }, words.withdraw)))));
    list.hidden = !all.length;
    none.hidden = all.length > 0;
  };
  const none = h("p.muted", {}, words.none);
  const element = h("section.card.note-card", { "aria-label": words.title }, h("h2", {}, words.title), list, none,
    user.may("feedback") && h("form", { submit }, h("label.hidden", { for: "note" }, words.label), field, button));
  return { element, fill, write: () => { field.focus(); field.scrollIntoView({ block: "center" }); } };
}
