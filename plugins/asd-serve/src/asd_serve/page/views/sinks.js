// Who is told: a card for each sink, made of what its component says about its parameters.

import { h, put } from "../dom.js";
import { Field, Fields } from "../fields.js";

const OWN = ["name", "kind", "at_least", "quiet_hours", "quiet_alarms", "machines"];
const TYPES = { "a number": "number", "a whole number": "number", "true or false": "boolean", "yes or no": "boolean" };
let made = 0;

export class Sinks {
  /**
   * @param {object[]} sinks  as in the settings
   * @param {object[]} kinds  `{name, summary, state, parameters}` of each
   * @param {string[]} machines
   * @param {boolean} editable
   * @param {object} words
   * @param {function()} touched  called when one is added or removed
   */
  constructor(sinks, kinds, machines, editable, words, touched) {
    Object.assign(this, { kinds, machines, editable, words, touched });
    this.list = h("div.stack");
    this.none = h("p.muted", {}, words.none);
    this.cards = sinks.map((each) => this.#card(each));
    this.element = h("div.stack", {}, this.none, this.list, editable && kinds.length > 0 && this.#adder());
    this.#fill();
  }

  values = () => this.cards.map((each) => each.values());

  clear() {
    this.cards.forEach((each) => each.fields.clear());
  }

  fail(index, key, text) {
    const card = this.cards[index];
    if (!card) return false;
    card.details.open = true;
    return card.fields.fail(key, text) || card.fields.fail("name", text);
  }

  #fill() {
    put(this.list, this.cards.map((each) => each.element));
    this.none.hidden = this.cards.length > 0;
  }

  #adder() {
    const usual = Object.keys(this.words.kinds); // the usual ones first: e-mail; those of strangers' plugins last
    const place = ({ name }) => (usual.includes(name) ? usual.indexOf(name) : usual.length);
    const choice = h("select", { "aria-label": this.words.kind },
      [...this.kinds].sort((one, other) => place(one) - place(other)).map((each) => h("option", { value: each.name }, `${this.words.kinds[each.name] ?? each.name}`)));
    const add = () => {
      const card = this.#card({ kind: choice.value, name: "" }, true);
      this.cards.push(card);
      this.#fill();
      this.touched();
      card.element.querySelector("input")?.focus();
    };
    return h("div.pair.adder", {}, choice, h("button", { type: "button", click: add }, this.words.add));
  }

  #card(sink, open = false) {
    const { words, editable, kinds, machines } = this;
    const id = `sink-${++made}`;
    const kind = kinds.find((each) => each.name === sink.kind);
    const own = [
      new Field({ key: "name", value: sink.name ?? "", ...words.fields.name, editable, id: `${id}-name` }),
      new Field({ key: "at_least", value: sink.at_least ?? "info", ...words.fields.at_least, editable, id: `${id}-at_least` }),
      new Field({ key: "quiet_hours", value: sink.quiet_hours ?? "", ...words.fields.quiet_hours, editable, id: `${id}-quiet_hours` }),
      new Field({ key: "quiet_alarms", value: sink.quiet_alarms ?? true, ...words.fields.quiet_alarms, editable, id: `${id}-quiet_alarms` }),
    ];
    const fields = new Fields([...own, ...this.#parameters(sink, kind, id)]);
    const boxes = machines.map((each) => h("input", { type: "checkbox", value: each, disabled: !editable,
      checked: !sink.machines?.length || sink.machines.includes(each) }));
    const details = h("details", { open }, h("summary", {}, sink.name || words.kinds[sink.kind] || sink.kind,
      h("span.muted.small", {}, ` ${words.kinds[sink.kind] ?? sink.kind}`)),
    kind?.summary && h("p.small.muted", {}, `${kind.summary}.`), fields.element,
    machines.length > 1 && h("fieldset.machines", {}, h("legend", {}, words.machines),
      machines.map((each, index) => h("label.check", {}, boxes[index], each))),
    editable && h("button.quiet.danger-text", { type: "button", click: () => this.#remove(card) }, words.remove));
    const values = () => {
      const chosen = boxes.filter((each) => each.checked).map((each) => each.value);
      const unknown = (sink.machines ?? []).filter((each) => !machines.includes(each));
      const all = chosen.length === boxes.length;
      return { kind: sink.kind, ...fields.values(), machines: all ? unknown.length ? sink.machines : [] : [...chosen, ...unknown] };
    };
    const card = { element: h("div.sink", {}, details), details, fields, values };
    return card;
  }

  /** Fields of the component's own parameters; of those that were given, too, if the server knows no component. */
  #parameters(sink, kind, id) {
    const given = { ...sink.parameters, ...Object.fromEntries(Object.entries(sink).filter(([key]) => !OWN.includes(key) && key !== "parameters")) };
    const about = kind?.parameters ?? Object.keys(given).map((name) => ({ name, takes: "text", default: "" }));
    return about.map(({ name, takes, default: usual, required, description }) => new Field({
      key: name, id: `${id}-${name}`, label: this.words.parameters[name] ?? name.replaceAll("_", " "), help: description ?? "",
      value: given[name] ?? usual ?? "", type: TYPES[takes] ?? (typeof usual === "boolean" ? "boolean" : typeof usual === "number" ? "number" : "text"),
      required, editable: this.editable,
    }));
  }

  #remove(card) {
    this.cards = this.cards.filter((each) => each !== card);
    this.#fill();
    this.touched();
  }
}
