// The span of time that a plot shows: zoomed and moved by mouse, fingers and keys.

const SHORTEST = 300;
const LONGEST = 400 * 86400;
const FOLLOWING = 1.02; // an end this near to now follows it

/** `{since, until, following}` of a span after a zoom by `factor` about the fraction `about` of it. */
export function zoomed({ since, until, following }, factor, about = following ? 1 : 0.5) {
  const length = Math.min(LONGEST, Math.max(SHORTEST, (until - since) * factor));
  const fixed = since + about * (until - since);
  return held({ since: fixed - about * length, until: fixed + (1 - about) * length });
}

/** The span moved by a fraction of its length. */
export function moved({ since, until }, part) {
  const by = part * (until - since);
  return held({ since: since + by, until: until + by });
}

/** The last `length` seconds, following the present. */
export const latest = (length, now = Date.now() / 1000) => ({ since: now - length, until: now, following: true });

/** Keep the span out of the future; one that reaches it follows the present. */
function held({ since, until }) {
  const now = Date.now() / 1000;
  const length = until - since;
  return until >= now - (FOLLOWING - 1) * length ? latest(length, now) : { since, until, following: false };
}

/** Turn what hands do on `element` into calls of `change(function of the span)`; `area()` is the plot's rectangle. */
export function gestures(element, area, change) {
  const fingers = new Map();
  let dragged = false;
  const part = (x) => Math.min(1, Math.max(0, (x - area().left) / area().width));

  element.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!sideways && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    if (sideways) change((span) => moved(span, event.deltaX / area().width));
    else change((span) => zoomed(span, Math.exp(event.deltaY / 200), part(event.clientX)));
  }, { passive: false });

  element.addEventListener("dblclick", (event) => change((span) => zoomed(span, 0.5, part(event.clientX))));

  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    dragged = false;
    fingers.set(event.pointerId, event.clientX);
  });
  element.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    if (!element.hasPointerCapture(event.pointerId)) {
      if (Math.abs(event.clientX - fingers.get(event.pointerId)) < 4) return; // a click is no drag
      element.setPointerCapture(event.pointerId);
      dragged = true;
    }
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    if (after.length === 1) change((span) => moved(span, (before[0] - after[0]) / area().width));
    else change((span) => pinched(span, before, after, part));
  });
  const lift = (event) => fingers.delete(event.pointerId);
  for (const each of ["pointerup", "pointercancel"]) element.addEventListener(each, lift);
  element.addEventListener("click", (event) => dragged && event.stopImmediatePropagation(), { capture: true });

  element.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    change(action);
  });
}

const KEYS = {
  ArrowLeft: (span) => moved(span, -0.2),
  ArrowRight: (span) => moved(span, 0.2),
  PageUp: (span) => moved(span, -1),
  PageDown: (span) => moved(span, 1),
  "+": (span) => zoomed(span, 0.5),
  "=": (span) => zoomed(span, 0.5),
  "-": (span) => zoomed(span, 2),
  End: (span) => latest(span.until - span.since),
};

function pinched(span, before, after, part) {
  const apart = ([one, other]) => Math.max(20, Math.abs(one - other));
  const middle = ([one, other]) => (one + other) / 2;
  const near = zoomed(span, apart(before) / apart(after), part(middle(before)));
  return moved(near, part(middle(before)) - part(middle(after)));
}
