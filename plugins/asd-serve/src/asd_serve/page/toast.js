// Short notices at the edge of the page. Errors are announced at once and stay until closed.

import { h, put } from "./dom.js";
import { texts } from "./texts.js";

const SECONDS = 8;

/**
 * Show a notice.
 * @param {string|Error} what
 * @param {{kind?: "info"|"error", action?: {label: string, run: function()}}} options  an Error is of kind "error"
 */
export function toast(what, { kind = what instanceof Error ? "error" : "info", action } = {}) {
  if (what?.name === "AbortError") return;
  const place = document.getElementById(kind === "error" ? "errors" : "notices");
  const text = what instanceof Error ? what.message : what;
  for (const each of place.children) if (each.dataset.text === text) each.remove();
  const end = () => box.remove();
  const box = h(`div.toast.${kind}`, { "data-text": text },
    h("p", {}, text),
    action && h("button.quiet", { type: "button", click: () => { end(); action.run(); } }, action.label),
    h("button.quiet.close", { type: "button", "aria-label": texts.close, click: end }, "×"));
  place.append(box);
  if (kind === "info") setTimeout(end, SECONDS * 1000);
}

/** Make the places of notices; they have to be there before the first one for screen readers to announce it. */
export function prepare() {
  put(document.getElementById("toasts"),
    h("div", { id: "errors", role: "alert" }), h("div", { id: "notices", role: "status" }));
}
