// The form that takes a key.

import * as api from "./api.js";
import { h, put } from "./dom.js";
import { texts } from "./texts.js";

/** Show the form in `main` with a line of why, and call `done(session)` when a key was accepted. */
export function signIn(main, why, done) {
  const words = texts.signIn;
  const problem = h("p.problem", { role: "alert", id: "problem" }, why);
  const field = h("input", {
    type: "password", id: "key", name: "key", autocomplete: "current-password", spellcheck: "false",
    autocapitalize: "off", "aria-describedby": "problem",
  });
  const button = h("button.primary", {}, words.button);
  const reveal = h("input", { type: "checkbox", change: () => { field.type = reveal.checked ? "text" : "password"; } });

  const submit = async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!key) return fail(words.empty);
    button.disabled = true;
    try {
      done(await api.session(key));
    } catch (error) {
      fail(error.message);
    }
  };
  const fail = (text) => {
    button.disabled = false;
    problem.textContent = text;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  };

  put(main, h("form.signin.card", { submit },
    h("h1", {}, words.title),
    h("p.muted", {}, words.text, " ", h("code", {}, words.command), "."),
    h("label", { for: "key" }, words.label), field,
    h("label.check", {}, reveal, words.show),
    problem, button));
  field.focus();
}
