// All texts of the page. To translate it, translate this file: strings, and functions where a text holds a number or a
// name. Times and numbers are written as `locale` says.

export const locale = "en-GB";

const number = new Intl.NumberFormat(locale);
const digits = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
const two = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
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
      near: "Close to an alarm",
      enough: "Enough for an alarm",
    },
    learning: "No alarm is possible yet",
    unlike: "No further change",
    unknown: "No evidence: nothing is heard",
    figure: (value, threshold) => `${value} · alarm at ${threshold}`,
  },

  overview: {
    title: "Machines",
    summary: (alarms, attention, fine) =>
      [alarms && count(alarms, "alarm"), attention && `${number.format(attention)} to look at`, fine && `${number.format(fine)} fine`]
        .filter(Boolean).join(" · "),
    empty: "No machine is listened to yet. Start the server with your machines:",
    command: "asd serve --listen plant.toml",
    thisAlarm: "See this alarm",
    lastAlarm: (time) => `Last alarm ${time}`,
    noAlarm: "No alarm so far",
  },

  machine: {
    state: "State",
    since: "In this state",
    lastAlarm: "Last alarm",
    level: "Level",
    model: "Model",
    decibel: (level) => `${one.format(level)} dB`,
    sound: "Sound now",
    spectrogram: "Spectrogram of the sound of the last minute: time across, frequency upwards, louder is brighter",
    waiting: "Waiting for sound…",
    pause: "Pause",
    go: "Go on",
    frequency: (hertz) => (hertz < 1000 ? `${hertz} Hz` : `${number.format(hertz / 1000)} kHz`),
    evidence: "Evidence of a change",
    plot: "Evidence over time against the alarm threshold. Arrow keys move, plus and minus zoom, End shows the present.",
    threshold: (value) => `alarm at ${value}`,
    reading: (time, value) => `${time}: evidence ${value}`,
    noHistory: "Nothing was judged in this time.",
    span: "Span shown",
    presets: { hour: "Hour", day: "Day", week: "Week", month: "Month", year: "Year" },
    earlier: "Earlier",
    later: "Later",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    now: "Now",
    clips: {
      title: "Last clips",
      time: "Time",
      rarity: "Rarity if healthy",
      score: "Score",
      evidence: "Evidence",
      oneIn: (n) => `1 in ${n}`,
      unusual: "Unusual",
      none: "No clip was judged yet.",
    },
    meaning: {
      title: "What the evidence means",
      text: [
        "Every clip is compared with those before it. One unusual clip says little; the evidence adds up many. It is a logarithm: one more means that the evidence is ten times as strong. It falls again while the machine sounds as usual.",
        "The alarm is raised at the dashed line. It is so high that a healthy machine reaches it no more often than the model promises.",
        "Triangles are alarms, diamonds warnings, dots other events; click one to open it. Shaded times were disturbed: nothing was judged in them. Where the curve breaks, nobody listened.",
        "Drag to move. To zoom, pinch, turn the wheel with Ctrl held, or use + and −.",
      ],
    },
  },

  events: {
    list: "Events, the newest first",
    none: "No events.",
    judged: { normal: "was normal", fault: "was a fault" },
    acknowledged: "acknowledged",
    notes: (n) => count(n, "note"),
    machine: "Machine",
    allMachines: "All machines",
    severity: "Severity",
    severities: { "": "All", warning: "Warnings and alarms", alarm: "Alarms" },
  },
};

/** Numbers as they are written: whole ones, with one decimal, with three digits that count, with two. */
export const write = {
  number: (n) => number.format(n), one: (n) => one.format(n), digits: (n) => digits.format(n), rounded: (n) => two.format(n), count,
};
