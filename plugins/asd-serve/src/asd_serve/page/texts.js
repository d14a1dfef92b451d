// All texts of the page. To translate it, translate this file: strings, and functions where a text holds a number or a
// name. Times and numbers are written as `locale` says.

export const locale = "en-GB";

const number = new Intl.NumberFormat(locale);
const one = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** "1 clip", "2,000 clips". */
const count = (n, singular, plural = `${singular}s`) => `${number.format(n)} ${n === 1 ? singular : plural}`;

export const texts = {
  name: "asd",
  skip: "Skip to content",
  navigation: "Pages",
  pages: { overview: "Machines", events: "Events", judge: "Judge a file", record: "Record", settings: "Settings" },
  loading: "Loading…",
  notFound: "There is no such page.",
  back: "All machines",
  retry: "Try again",
  reload: "Load the page again",
  close: "Close",

  theme: { label: "Theme", auto: "As the system", light: "Light", dark: "Dark" },

  account: {
    menu: (name) => `Signed in as ${name}`,
    roles: { look: "may look", feedback: "may give feedback", administer: "may administer" },
    signOut: "Sign out",
  },

  signIn: {
    title: "Sign in",
    text: "Enter the key that you were given. The server printed the first one when it started; more are made with",
    command: "asd serve key create",
    label: "Key",
    show: "Show the key",
    button: "Sign in",
    expired: "Your session is over. Sign in again.",
    empty: "Enter a key. It begins with asd_.",
  },

  errors: {
    connection: "The server does not answer. Check the network, and whether asd serve runs.",
    status: (code) => `The server answered with status ${code}.`,
    view: (text) => `This page failed: ${text}`,
  },

  connection: {
    lost: (time) => `Connection lost since ${time}. Trying again…`,
    back: "Connected again.",
  },

  phases: {
    learning: "Learning",
    watching: "Watching",
    unlike: "Unlike before",
    alarm: "Alarm",
    cleared: "Cleared",
    "not listened to": "Not listened to",
    condition: "Disturbed",
  },

  kinds: {
    alarm: "Alarm",
    unlike: "Unlike before",
    drift: "Drift",
    cleared: "Alarm over",
    condition: "Disturbance",
    "condition-over": "Disturbance over",
    started: "Started",
    stopped: "Stopped",
    acknowledged: "Acknowledged",
  },

  times: {
    now: "just now",
    yesterday: (time) => `yesterday ${time}`,
    since: (time) => `since ${time}`,
    ago: (span) => `${span} ago`,
    second: (n) => `${n} s`,
    minute: (n) => `${n} min`,
    hour: (n) => `${n} h`,
    day: (n) => count(n, "day"),
  },

  evidence: {
    label: "Evidence that the sound has changed",
    words: {
      none: "No sign of a change",
      little: "Little evidence of a change",
      growing: "Some evidence of a change",
      near: "Much evidence of a change",
      enough: "Enough evidence for an alarm",
    },
    learning: "No alarm is possible yet",
    unknown: "Nothing is known",
    figure: (value, threshold) => `${value} of ${threshold}`,
  },

  overview: {
    title: "Machines",
    /** `counts`: a Map from state to how many machines are in it, the most urgent first. */
    summary: (counts) => [...counts].map(([state, n]) => words(state, n)).join(" · "),
    empty: "No machine is listened to yet. Start the server with your machines:",
    command: "asd serve --listen plant.toml",
    thisAlarm: "See this alarm",
    lastAlarm: (time) => `Last alarm ${time}`,
    noAlarm: "No alarm so far",
  },
};

function words(state, n) {
  const named = {
    alarm: count(n, "alarm"),
    unlike: `${number.format(n)} unlike before`,
    condition: `${number.format(n)} disturbed`,
    "not listened to": `${number.format(n)} not listened to`,
    cleared: `${number.format(n)} cleared`,
    learning: `${number.format(n)} learning`,
    watching: `${number.format(n)} watching`,
  };
  return named[state] ?? `${number.format(n)} ${state}`;
}

export const write = { number: (n) => number.format(n), one: (n) => one.format(n), count };
