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

  cancel: "Cancel",
  frequencies: { hertz: (low, high) => `${low} to ${high} Hz`, kilohertz: (low, high) => `${low} to ${high} kHz` },

  listen: {
    play: "Play",
    pause: "Pause",
    position: "Position in the recording",
    compare: "Which recording is heard",
    heard: "you hear this",
    volume: "Volume",
    louder: (decibels) => (decibels ? `${decibels} dB louder` : "As recorded"),
    clock: (at, all) => `${at} / ${all} s`,
    at: (seconds) => `${seconds} seconds`,
    hear: (seconds) => `Hear it from ${seconds} s`,
    only: (band) => `Hear only ${band}`,
    share: (percent) => `(${percent} of the unusual score)`,
  },

  event: {
    title: "Event",
    machine: (name) => `‹ ${name}`,
    sound: "What was heard",
    thisSound: (time) => `This alarm, ${time}`,
    thisShort: "This alarm",
    healthySound: (time) => `Most alike healthy clip, ${time}`,
    healthyShort: "Healthy",
    raised: "alarm raised",
    download: "Download (FLAC)",
    picture: "Spectrogram of the recording",
    plain: "This browser cannot decode the recording for comparing; here it is as it was kept.",
    noSound: "No sound of this alarm is kept: it was deleted by age or size, or is still being written.",
    somebody: "somebody",
    acknowledgedBy: (name) => `Acknowledged by ${name}`,
    what: "What was it?",
    ask: "Compare it with the healthy clip. Nothing is learned from it before you confirm.",
    notYet: "Nobody has said what it was.",
    mayNot: "Your key may look only. Ask for one with the role feedback to answer.",
    judgements: { normal: "that was normal", fault: "it was a fault", undo: "taken back" },
    judged: (what, name, time) => `${name} said: ${what}, ${time}.`,
    judgedBare: (what) => `Somebody said: ${what}.`,
    allJudgements: "All that was said",
    fault: "It was a fault",
    normal: "That was normal…",
    acknowledge: "Acknowledge",
    undo: "Undo",
    done: {
      normal: "Kept as normal: its clips are healthy from now on, and the evidence begins anew.",
      fault: "Kept as a fault.",
      acknowledge: "Acknowledged.",
      undo: "Taken back.",
    },
    details: "Figures and explanation",
    explanation: "All that stands out",
    facts: {
      evidence: "Evidence",
      evidenceText: (value, threshold) => `${value}; the alarm is at ${threshold}`,
      p: "Clip that raised it",
      pText: (share) => `about ${share} of healthy clips are as unusual`,
      since: "Since",
      kept: "Sound kept",
      keptText: (seconds) => `${seconds} s`,
      id: "Number",
    },
    keysTitle: "Keys",
    keysOn: "Use these keys",
    keys: {
      Space: ["play, pause"],
      "← →": ["a second back, on"],
      X: ["change between this alarm and the healthy clip"],
      F: ["it was a fault", "feedback"],
      N: ["that was normal", "feedback"],
      A: ["acknowledge", "feedback"],
      W: ["write a note", "feedback"],
    },
  },

  normal: {
    title: "Was that normal?",
    computing: "Working out what would change…",
    later: "It can be undone. To teach the model itself what was marked, open the machine.",
    yes: "Yes, that was normal",
    what: "What changes",
    before: "Now",
    after: "Then",
    yesShort: "yes",
    noShort: "no",
    spared: (n) => `${count(n, "earlier alarm")} would not have been raised:`,
    keys: {
      clips: "Healthy clips known",
      healthy_clips: "Healthy clips known",
      evidence: "Evidence",
      threshold: "Evidence of an alarm",
      phase: "State",
    },
  },

  notes: {
    title: "Notes",
    none: "No notes yet.",
    label: "Note",
    placeholder: "What did you find at the machine?",
    add: "Add note",
    withdraw: "Take back",
    withdrawn: "The note was taken back.",
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

const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(locale, { style: "percent", maximumSignificantDigits: 2 });
const short = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });

export const write = {
  number: (n) => number.format(n),
  one: (n) => one.format(n),
  short: (n) => short.format(n),
  percent: (n) => percent.format(n),
  /** A small share with two digits: "0.25%". */
  share: (n) => fine.format(n),
  count,
};
