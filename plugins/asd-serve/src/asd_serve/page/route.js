// Addresses within the page: `#/machines/Pump%201?from=…`. They hold no secrets and need nothing of the server.

const ROUTES = [
  ["", "overview"],
  ["machines/:machine", "machine"],
  ["events", "events"],
  ["events/:event", "event"],
  ["judge", "judge"],
  ["record", "record"],
  ["settings", "settings"],
];

/** The address of a place for `href`: `link("machines", name)`; an object at the end becomes the query. */
export function link(...parts) {
  const query = typeof parts.at(-1) === "object" ? new URLSearchParams(parts.pop()).toString() : "";
  return `#/${parts.map(encodeURIComponent).join("/")}${query && `?${query}`}`;
}

/** Go there: `go("events", id)`. */
export function go(...parts) {
  location.hash = link(...parts);
}

/** Which view an address asks for, with its parameters: `{name, parameters}`; null if there is none. */
export function found(hash) {
  const [place, query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const parts = place.split("/").filter(Boolean);
  for (const [pattern, name] of ROUTES) {
    const wanted = pattern.split("/").filter(Boolean);
    if (wanted.length !== parts.length) continue;
    if (!wanted.every((each, at) => each.startsWith(":") || each === parts[at])) continue;
    const parameters = Object.fromEntries(new URLSearchParams(query));
    wanted.forEach((each, at) => { if (each.startsWith(":")) parameters[each.slice(1)] = decoded(parts[at]); });
    return { name, parameters };
  }
  return null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
