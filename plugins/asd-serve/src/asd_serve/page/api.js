// The interface over HTTP: JSON in and out, errors with the server's own line.
// Addresses are relative to the document, so that the page works under any path of a proxy.

import { texts } from "./texts.js";

let csrf = "";
let ahead = 0; // milliseconds by which the server's clock is ahead of this computer's
let signedOut = () => {};

/**
 * An answer that is none: `message` is a line for people, `status` the HTTP status (0: no connection), `answer` what the
 * server sent besides.
 */
export class ApiError extends Error {
  constructor(message, status, answer = null) {
    super(message);
    this.status = status;
    this.answer = answer;
  }
}

/** The address of a path of the server, such as `api/events/4f/audio`, for players, pictures and links. */
export function url(path, query = {}) {
  const address = new URL(path, document.baseURI);
  address.hash = "";
  for (const [name, value] of Object.entries(query)) if (value != null) address.searchParams.set(name, value);
  return address.href;
}

/** The same for a WebSocket. */
export const socketUrl = (path, query) => url(path, query).replace(/^http/, "ws");

/** Build a path from parts, each percent-encoded: `path("machines", name, "series")` is `api/machines/…/series`. */
export const path = (...parts) => ["api", ...parts.map(stepless).map(encodeURIComponent)].join("/");

/** A name in which browsers and proxies would see a step of a path, such as `..`, in the way that the server knows. */
function stepless(part) {
  if (!/(^|[\\/])\.\.?($|[\\/])|^base64=/.test(part)) return part;
  const bytes = String.fromCharCode(...new TextEncoder().encode(part));
  return `base64=${btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/**
 * Ask the server.
 * @param {string} method
 * @param {string} address  relative, from `path(…)`
 * @param {{query?: object, body?: any, type?: string, signal?: AbortSignal}} options  `body`: an object is sent as JSON;
 *   a File, Blob, ArrayBuffer or FormData as it is, with `type` as its media type
 * @returns {Promise<any>} the JSON of the answer; null if it is empty
 */
export async function ask(method, address, { query, body, type, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  const raw = body instanceof Blob || body instanceof ArrayBuffer || body instanceof FormData;
  if (body !== undefined && !raw) headers["Content-Type"] = "application/json";
  if (raw && type) headers["Content-Type"] = type;
  let response;
  try {
    response = await fetch(url(address, query), {
      method, headers, signal, body: body === undefined || raw ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(texts.errors.connection, 0);
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (date) ahead = date - Date.now();
  const text = await response.text();
  const answer = parsed(text);
  if (response.ok) return answer;
  if (response.status === 401 && address !== "api/session") signedOut();
  throw new ApiError(answer?.error ?? texts.errors.status(response.status), response.status, answer);
}

/** The time by the server's clock, in seconds since 1970. */
export const now = () => (Date.now() + ahead) / 1000;

export const get = (address, query, options = {}) => ask("GET", address, { query, ...options });
export const post = (address, body, options = {}) => ask("POST", address, { body, ...options });
export const replace = (address, body, options = {}) => ask("PUT", address, { body, ...options });
export const remove = (address, options = {}) => ask("DELETE", address, options);

/** Sign in with a key, or (without one) ask who is signed in: `{name, role, csrf}`. */
export async function session(key) {
  const found = key === undefined ? await get("api/session") : await post("api/session", { key });
  csrf = found?.csrf ?? "";
  return found;
}

export async function signOut() {
  await remove("api/session");
  csrf = "";
}

/** Say that the server no longer knows the session. */
export const expired = () => signedOut();

/** Call `action` when the server no longer knows the session. */
export function whenSignedOut(action) {
  signedOut = action;
}

/**
 * Send a file and tell how much of it has arrived, which `fetch` cannot.
 * @param {string} address
 * @param {Blob|FormData} body
 * @param {{query?: object, type?: string, progress?: function(number), signal?: AbortSignal}} options  `progress` is
 *   given the fraction that is sent
 */
export function upload(address, body, { query, type, progress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url(address, query));
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRF-Token", csrf);
    if (type) request.setRequestHeader("Content-Type", type);
    request.upload.onprogress = ({ loaded, total }) => progress?.(total ? loaded / total : 0);
    request.onerror = () => reject(new ApiError(texts.errors.connection, 0));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status < 300) return resolve(answer);
      if (request.status === 401) signedOut();
      reject(new ApiError(answer?.error ?? texts.errors.status(request.status), request.status));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
