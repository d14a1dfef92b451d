import { h, put } from "../dom.js";

export function show(container, parameters, { texts }) {
  put(container, h("h1", {}, texts.pages.overview));
}
