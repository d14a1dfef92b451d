// Questions that need an answer before something is done.

import { h } from "./dom.js";
import { texts } from "./texts.js";

/**
 * Ask, and resolve to true or false.
 * @param {string} title
 * @param {Array} content  elements and texts; they may change while the question stands
 * @param {{yes: string, no?: string, ready?: Promise}} options  "yes" can be chosen once `ready` is fulfilled
 */
export function ask(title, content, { yes, no = texts.cancel, ready } = {}) {
  return new Promise((resolve) => {
    const end = (answer) => { box.close(); box.remove(); resolve(answer); };
    const accept = h("button.primary", { type: "button", click: () => end(true), disabled: Boolean(ready) }, yes);
    const box = h("dialog", { "aria-labelledby": "question", cancel: (event) => { event.preventDefault(); end(false); } },
      h("h2", { id: "question" }, title), content,
      h("div.actions.end", {}, h("button", { type: "button", click: () => end(false) }, no), accept));
    ready?.then(() => { accept.disabled = false; accept.focus(); }, () => {});
    document.body.append(box);
    box.showModal();
    addEventListener("hashchange", () => box.isConnected && end(false), { once: true });
  });
}

/** The line of an error in a dialog or card. */
export const problem = (error) => h("p.problem", { role: "alert" }, error.message);
