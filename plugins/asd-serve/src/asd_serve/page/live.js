// Live connections: WebSockets that come back by themselves, and say since when they are lost.

import * as api from "./api.js";

const FIRST = 500;
const LONGEST = 15000;
const QUIET = 20000; // without a message for so long, ask whether the server is still there
const ANSWER = 5000;
const AGAIN = 60; // seconds: what is told is written some time after its own time

const connections = new Set();
const watchers = new Set();

/** Call `action({lost: seconds since 1970 | null})` now and whenever it changes. Returns a function that ends it. */
export function watch(action) {
  watchers.add(action);
  action(state());
  return () => watchers.delete(action);
}

const state = () => {
  const times = [...connections].map((each) => each.lost).filter((each) => each !== null);
  return { lost: times.length ? Math.min(...times) : null };
};
const tell = () => watchers.forEach((action) => action(state()));

/**
 * Keep a connection until the returned function is called.
 * @param {string} address  from `api.path(…)`
 * @param {{message: function(object), opened?: function(boolean), since?: number}} handlers
 *   `opened(again)` follows each (re)connection: fetch there what was missed; `since`: when the page began to fetch what
 *   it shows (`api.now()`): what happened from then until the connection was there is told first
 */
export function open(address, handlers) {
  const connection = new Connection(address, handlers);
  connections.add(connection);
  connection.connect();
  return () => {
    connections.delete(connection);
    connection.end();
    tell();
  };
}

class Connection {
  lost = null;
  #socket = null;
  #timer = 0;
  #tries = 0;
  #opened = false;
  #ended = false;

  constructor(address, handlers) {
    this.address = address;
    this.handlers = handlers;
  }

  connect() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(api.socketUrl(this.address, this.#opened ? {} : this.#since()));
    this.#socket = socket;
    socket.onopen = () => {
      this.#tries = 0;
      this.#set(null);
      this.handlers.opened?.(this.#opened);
      this.#opened = true;
      this.#listen();
    };
    socket.onmessage = ({ data }) => {
      this.#listen();
      for (const line of data.split("\n")) this.handlers.message(JSON.parse(line));
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#again();
    };
  }

  #since() {
    const { since } = this.handlers;
    return since === undefined ? {} : { since: Math.max(0, since - AGAIN) };
  }

  /** Try now: the network is back, or somebody looks at the page again. */
  hurry() {
    if (this.lost !== null && this.#socket?.readyState !== WebSocket.CONNECTING) this.connect();
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(); // closed now, it is an error
    else socket?.close();
  }

  #again() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#set(this.lost ?? Date.now() / 1000);
    const wait = Math.min(LONGEST, FIRST * 2 ** this.#tries++);
    this.#timer = setTimeout(() => this.#retry(), wait * (0.75 + Math.random() / 2));
  }

  async #retry() {
    // A refused WebSocket says nothing about why: an expired session is found out by asking, and leads to the sign-in.
    if (this.#tries > 1) await api.get("api/session").then(null, (error) => error.status === 401 && api.expired());
    if (!this.#ended) this.connect();
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), QUIET);
  }

  async #check() {
    try {
      await fetch(api.url("healthz"), { signal: AbortSignal.timeout(ANSWER), cache: "no-store" });
      if (!this.#ended && this.lost === null) this.#listen();
    } catch {
      const socket = this.#socket;
      this.#socket = null; // what it still says does not count
      socket?.close();
      this.#again();
    }
  }

  #set(lost) {
    if (this.lost === lost) return;
    this.lost = lost;
    tell();
  }
}

const hurry = () => connections.forEach((each) => each.hurry());
addEventListener("online", hurry);
document.addEventListener("visibilitychange", () => document.hidden || hurry());
