// Fields of forms: a label, a control that fits the value, an explanation, and an error beside it.

import { h, say } from "./dom.js";

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

export class Field {
  /**
   * @param {{key: string, label: string, value: any, id: string, help?: string, unit?: string, options?: [string, string][],
   *   type?: "number"|"text"|"boolean", required?: boolean, editable?: boolean}} about
   */
  constructor({ key, label, value, id, help = "", unit = "", options, type, required = false, editable = true }) {
    this.key = key;
    this.type = type ?? (typeof value === "boolean" ? "boolean" : typeof value === "number" ? "number" : "text");
    this.help = h("p.small.muted", { id: `${id}-help` }, help);
    this.error = h("p.problem.small", { id: `${id}-error`, role: "alert" });
    this.control = this.#control({ id, value, options, required, editable, described: help ? `${id}-help` : null });
    const name = h("label", { for: id }, label);
    this.element = this.type === "boolean"
      ? h("div.field", {}, h("div.check", {}, this.control, name), help && this.help, this.error)
      : h("div.field", {}, name, h("div.with-unit", {}, this.control, unit && h("span.muted", { "aria-hidden": "true" }, unit)),
        help && this.help, this.error);
  }

  #control({ id, value, options, required, editable, described }) {
    const common = { id, name: id, disabled: !editable, "aria-describedby": [described, `${id}-error`].filter(Boolean).join(" ") };
    if (options) {
      const known = options.some(([each]) => each === `${value}`) ? options : [...options, [`${value}`, `${value}`]];
      return h("select", common, known.map(([each, text]) => h("option", { value: each, selected: each === `${value}` }, text)));
    }
    if (this.type === "boolean") return h("input", { ...common, type: "checkbox", checked: Boolean(value) });
    return h("input", { ...common, type: "text", inputmode: this.type === "number" ? "decimal" : null, value: value ?? "", required,
      autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  }

  /** What stands in the field; a number that is none stays text, so that the server says what it expects. */
  get value() {
    if (this.type === "boolean") return this.control.checked;
    const text = this.control.value.trim();
    return this.type === "number" && NUMBER.test(text) ? Number(text) : text;
  }

  fail(text) {
    this.control.setAttribute("aria-invalid", "true");
    say(this.error, text);
    this.control.focus();
  }

  clear() {
    this.control.removeAttribute("aria-invalid");
    say(this.error, "");
  }
}

/** Several fields. */
export class Fields {
  constructor(fields) {
    this.fields = fields;
    this.element = h("div.fields", {}, fields.map((each) => each.element));
  }

  values = () => Object.fromEntries(this.fields.map((each) => [each.key, each.value]));

  clear() {
    this.fields.forEach((each) => each.clear());
  }

  /** Show an error beside a field; false if there is no such field. */
  fail(key, text) {
    const field = this.fields.find((each) => each.key === key);
    field?.fail(text);
    return Boolean(field);
  }
}
