// Name, navigation, theme and account: a bar above; on a phone the navigation stands below.

import { h, put } from "./dom.js";
import { icon } from "./shapes.js";
import { link } from "./route.js";
import { texts } from "./texts.js";

const PAGES = ["overview", "events", "judge", "record", "settings"];
const PLACES = { overview: link(), events: link("events"), judge: link("judge"), record: link("record"),
  settings: link("settings") };
const BELONGS = { machine: "overview", event: "events" };

const place = document.getElementById("header");
const links = new Map();

/** Draw the bar for somebody, or (null) for nobody. */
export function header(user, { signOut } = {}) {
  links.clear();
  const skip = h("a.skip", { href: "#main", click: jump }, texts.skip);
  const name = h("a.name", { href: link() }, icon("wave"), texts.name);
  put(place, skip, name, user && navigation(), h("div.tools", {}, themes(), user && account(user, signOut)));
}

/** Mark which page is shown. */
export function mark(view) {
  for (const [name, each] of links) {
    if (name === (BELONGS[view] ?? view)) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
}

function navigation() {
  return h("nav", { "aria-label": texts.navigation }, PAGES.map((name) => {
    const each = h("a", { href: PLACES[name] }, icon(name), h("span", {}, texts.pages[name]));
    links.set(name, each);
    return each;
  }));
}

function jump(event) {
  event.preventDefault(); // "#main" would be a place of the router
  document.getElementById("main").focus();
}

function themes() {
  const words = texts.theme;
  const chosen = document.documentElement.dataset.theme ?? "auto";
  const choose = ({ target }) => {
    if (target.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = target.value;
    try {
      localStorage.setItem("theme", target.value);
    } catch { /* then it holds until the page is closed */ }
    dispatchEvent(new Event("theme"));
  };
  return h("label.theme", {}, icon("theme"), h("span.hidden", {}, words.label),
    h("select", { change: choose },
      ["auto", "light", "dark"].map((each) => h("option", { value: each, selected: each === chosen }, words[each]))));
}

function account(user, signOut) {
  return h("div.account", {},
    h("span.who", { title: texts.account.roles[user.role] }, user.name),
    h("button.quiet", { type: "button", click: signOut }, texts.account.signOut));
}

// The canvas has to be drawn anew in other colours when the system changes its theme, too.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
