// Icons and the shapes of states. A state is told by word, colour and shape, so that none is needed alone.

import { s } from "./dom.js";

const LINES = {
  wave: "M2 12h4l2.5-6 4 13 3-9.5 1.5 2.5H22",
  overview: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  events: "M6 17V11a6 6 0 0 1 12 0v6l1.5 2h-15zM10 21.5h4",
  judge: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  record: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21",
  settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
};

const SHAPES = {
  alarm: ["M12 2.5 22.5 21h-21z", "M12 9.5v5M12 17.4v.6"],
  unlike: ["M12 1.5 22.5 12 12 22.5 1.5 12z", "M12 7v6M12 16v.6"],
  condition: ["M12 1.5 22.5 12 12 22.5 1.5 12z", "M8 12h8"],
  learning: ["M4 4h16v16H4z", "M8 12h.6M11.7 12h.6M15.4 12h.6"],
  watching: ["M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20z", "m7.5 12.3 3 3 6-6.3"],
  cleared: ["M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20z", "m7.5 12.3 3 3 6-6.3"],
  "not listened to": ["M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20z", "M8.5 8.5l7 7M15.5 8.5l-7 7"],
  info: ["M12 2a10 10 0 1 1 0 20 10 10 0 0 1 0-20z", "M12 11v6M12 7v.6"],
};

/** A line icon that only decorates. */
export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" },
    s("path", { d: LINES[name] }));
}

/** The filled shape of a phase or a kind of event; the word stands beside it. */
export function shape(name) {
  const [body, sign] = SHAPES[name] ?? SHAPES.info;
  return s("svg", { viewBox: "0 0 24 24", class: "shape", "aria-hidden": "true", focusable: "false" },
    s("path", { d: body, class: "body" }), s("path", { d: sign, class: "sign" }));
}
