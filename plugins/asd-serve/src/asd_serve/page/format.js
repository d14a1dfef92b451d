// Times for people: local, as short as they can be without being ambiguous.

import { texts } from "./texts.js";
import { locale } from "./write.js";

const format = (options) => new Intl.DateTimeFormat(locale, options);
const clock = format({ hour: "2-digit", minute: "2-digit" });
const seconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = format({ day: "numeric", month: "short" });
const dayOfYear = format({ day: "numeric", month: "short", year: "numeric" });
const full = format({ dateStyle: "full", timeStyle: "medium" });

const date = (time) => new Date(time * 1000);
const midnight = (time) => new Date(time * 1000).setHours(0, 0, 0, 0);

/** "14:32", "yesterday 14:32", "24 Nov 14:32", "24 Nov 2025 14:32"; `time` in seconds since 1970. */
export function moment(time, { exact = false } = {}) {
  const now = Date.now() / 1000;
  const at = (exact ? seconds : clock).format(date(time));
  const days = Math.round((midnight(now) - midnight(time)) / 86400000);
  if (days === 0) return at;
  if (days === 1) return texts.times.yesterday(at);
  const sameYear = date(time).getFullYear() === date(now).getFullYear();
  return `${(sameYear ? day : dayOfYear).format(date(time))} ${at}`;
}

/** "14:32:05". */
export const exactly = (time) => seconds.format(date(time));

/** "Friday, 27 November 2026 at 14:32:05". */
export const wholly = (time) => full.format(date(time));

/** "40 s", "12 min", "3 h 20 min", "2 days". */
export function span(length) {
  const { second, minute, hour, day: days } = texts.times;
  if (length < 60) return second(Math.max(0, Math.round(length)));
  const minutes = Math.round(length / 60);
  if (minutes < 60) return minute(minutes);
  if (minutes < 48 * 60) {
    const rest = minutes % 60;
    return rest && minutes < 10 * 60 ? `${hour(Math.floor(minutes / 60))} ${minute(rest)}` : hour(Math.round(minutes / 60));
  }
  return days(Math.round(minutes / 1440));
}

const month = format({ month: "short" });

/** Labels of a time axis whose ticks lie `step` seconds apart: local times, and the day wherever it changes. */
export function ticks(times, step) {
  let before = null;
  return times.map((time) => {
    const at = date(time);
    const started = before;
    before = at;
    if (step >= 28 * 86400) {
      return started && started.getFullYear() === at.getFullYear() ? month.format(at) : `${month.format(at)}\n${at.getFullYear()}`;
    }
    if (step >= 86400) {
      const year = (started ?? new Date()).getFullYear();
      return year === at.getFullYear() ? day.format(at) : `${day.format(at)}\n${at.getFullYear()}`;
    }
    const written = (step < 60 ? seconds : clock).format(at);
    return started && started.toDateString() === at.toDateString() ? written : `${written}\n${day.format(at)}`;
  });
}

/** "80 to 120 Hz", "2.1 to 2.6 kHz". */
export function frequencies(low, high) {
  const { hertz, kilohertz } = texts.frequencies;
  const kilo = high >= 1000;
  const number = (value) => new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 }).format(kilo ? value / 1000 : value);
  return (kilo ? kilohertz : hertz)(number(low), number(high));
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A text in whose numbers and units no line breaks. */
export const together = (text) => text.replace(/(\d) (s|dB|Hz|kHz|%)(?![a-z])/g, "$1\u00a0$2");

const STAMP = /\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g;

/** A text of the server with its moments as they are written here: the server may be in another time zone. */
export const localised = (text) => text.replace(STAMP, (stamp) => moment(Date.parse(stamp) / 1000, { exact: true }));
