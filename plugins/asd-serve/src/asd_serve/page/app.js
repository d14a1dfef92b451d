// The shell: who is signed in, which view is shown, and what surrounds it.

import * as api from "./api.js";
import { h, put } from "./dom.js";
import { moment } from "./format.js";
import { header, mark } from "./header.js";
import * as live from "./live.js";
import { found, go, link } from "./route.js";
import { signIn } from "./signin.js";
import { texts } from "./texts.js";
import { prepare, toast } from "./toast.js";

const RANKS = ["look", "feedback", "administer"];
const main = document.getElementById("main");

let user = null;
let shown = 0;
let cleanup = null;

/** What every view is given; see docs/decisions/0050. */
const context = {
  api, texts, go, link, live, toast,
  /** Who is signed in: `{name, role, may(role)}`. */
  get user() { return user; },
};

async function start() {
  prepare();
  watchConnection();
  api.whenSignedOut(() => user && enter(texts.signIn.expired));
  addEventListener("hashchange", () => (keyOfAddress() ? start() : user && show()));
  const key = takeKey();
  try {
    welcome(await api.session(key));
  } catch (error) {
    if (error.status === 0) failed(error, start);
    else enter(key === undefined ? "" : error.message);
  }
}

const keyOfAddress = () => new URLSearchParams(location.hash.replace(/^#\/?/, "")).get("key");

/** Take the key out of the address (`#key=…`, as the server printed it), so that it does not stay in sight or history. */
function takeKey() {
  const key = keyOfAddress() ?? undefined;
  if (key) history.replaceState(null, "", "#/");
  return key;
}

function enter(text) {
  user = null;
  leave();
  header(null);
  document.title = `${texts.signIn.title} · ${texts.name}`;
  signIn(main, text, welcome);
}

function welcome(session) {
  user = { ...session, may: (role) => RANKS.indexOf(session.role) >= RANKS.indexOf(role) };
  header(user, { signOut });
  show(true);
}

async function signOut() {
  try {
    await api.signOut();
    enter("");
  } catch (error) {
    toast(error);
  }
}

function leave() {
  shown += 1;
  const last = cleanup;
  cleanup = null;
  try {
    last?.();
  } catch (error) {
    console.error(error);
  }
}

async function show(first = false) {
  leave();
  const turn = shown;
  const place = found(location.hash);
  mark(place?.name);
  document.title = `${texts.pages[place?.name] ?? texts.name} · ${texts.name}`;
  const view = h("div.view");
  put(main, view);
  scrollTo(0, 0);
  if (!place) return put(view, h("h1", {}, texts.notFound), h("p", {}, h("a", { href: link() }, texts.back)));
  try {
    const { show: fillView } = await import(`./views/${place.name}.js`);
    if (turn !== shown) return;
    const end = await fillView(view, place.parameters, context);
    if (turn !== shown) return end?.(); // somebody went on while the view was loading
    cleanup = end;
    if (!first) focusTitle(view);
  } catch (error) {
    if (turn === shown && error.name !== "AbortError" && user) failed(error, () => location.reload());
  }
}

/** Tell keyboard and screen reader users where they are now. */
function focusTitle(view) {
  const title = view.querySelector("h1");
  if (!title || view.contains(document.activeElement)) return;
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
}

function failed(error, again) {
  const known = error instanceof api.ApiError;
  if (!known) console.error(error);
  put(main, h("div.view.narrow", {},
    h("h1", {}, known ? error.message : texts.errors.view(error.message)),
    h("button.primary", { type: "button", click: again }, known && error.status === 0 ? texts.retry : texts.reload)));
}

function watchConnection() {
  const place = document.getElementById("connection");
  let wasLost = false;
  live.watch(({ lost }) => {
    place.classList.toggle("lost", lost !== null);
    place.textContent = lost === null ? "" : texts.connection.lost(moment(lost, { exact: true }));
    if (wasLost && lost === null) toast(texts.connection.back);
    wasLost = lost !== null;
  });
}

start();
