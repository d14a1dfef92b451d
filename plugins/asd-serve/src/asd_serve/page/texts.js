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
    why: (evidence, threshold) => `The evidence that the sound has changed reached ${evidence}; the alarm is at ${threshold}.`,
    sound: "What was heard",
    thisSound: (time) => `This alarm, ${time}`,
    thisShort: "This alarm",
    healthySound: (time) => `Nearest healthy clip, ${time}`,
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

  microphone: {
    insecure: "The browser lends its microphone only to pages that come over HTTPS, or from this very computer. " +
      "Start asd serve with --certificate and --key-file, or open the page where it runs.",
    failed: (text) => `The microphone cannot be used: ${text}`,
    ended: "The microphone was unplugged, or is no longer allowed.",
    errors: {
      NotAllowedError: "The microphone is not allowed. Allow it for this page beside the address, and try again.",
      NotFoundError: "There is no microphone. Plug one in, and try again.",
      NotReadableError: "The microphone cannot be opened; another program may hold it.",
    },
  },

  meter: { label: "Level", value: (level) => `${level} dB` },

  judge: {
    lead: "How does it sound? Files are judged, and not kept.",
    noModels: "This server has no model. Record healthy sound and fit one under Record, or start it with one:",
    noModelsCommand: "asd serve pump.asd",
    model: "Model",
    state: "State of the machine",
    anyState: "any",
    about: (clips, seconds) => `Learned from ${count(clips, "healthy clip")} of ${number.format(seconds)} s.`,
    choose: "Choose recordings",
    drop: "or drop them here",
    record: "Record with this microphone",
    stop: "Stop, and judge it",
    recorded: (seconds, wanted) => `${seconds} of ${wanted} s`,
    recording: (time) => `Microphone ${time}`,
    summary: (done, all, unusual, failed) =>
      `${number.format(done)} of ${count(all, "file")} judged: ${number.format(unusual)} unusual` +
      (failed ? `, ${number.format(failed)} not readable.` : "."),
  },

  result: {
    waiting: "waits",
    sending: (name) => `Sending ${name}`,
    sent: (share) => `${share} sent`,
    judging: "is judged…",
    failed: "Cannot be judged",
    nothing: "The recording holds no clip.",
    remove: (name) => `Take ${name} off this page`,
    verdicts: { usual: "Sounds healthy", unusual: "Unusual" },
    unusual: (share, p) => `About ${share} of healthy clips sound as unusual as this (p = ${p}).`,
    usual: (share, p) => `About ${share} of healthy clips are at least as unusual (p = ${p}).`,
    several: (unusual, all, p) => `${number.format(unusual)} of ${count(all, "clip")} unusual; the smallest p-value is ${p}.`,
    note: (text) => `Note: ${text}.`,
    picture: "The recording",
    tooLarge: "The file is too large to be drawn and played here.",
    notDrawn: "This browser cannot decode the file; the server could.",
    table: (n) => `All ${count(n, "clip")}`,
    more: (n) => `And ${count(n, "further clip")}.`,
    from: "From",
    verdict: "Verdict",
    p: "p-value",
    seconds: (n) => `${n} s`,
  },

  record: {
    title: "Record and fit",
    lead: "Record the machine while it is healthy; a model then learns what healthy sounds like.",
    mayNot: "Recording and fitting need a key with the role administer.",
    first: "1. Record healthy sound",
    name: "Machine",
    namePlaceholder: "pump 1",
    nameHelp: "What the recording, and later the model, is called.",
    source: "Where the sound comes from",
    browser: "The microphone of this device",
    machine: "A machine that is listened to:",
    whichMachine: "Machine to record",
    hints: [
      "Put the microphone where it will stay, and do not move it.",
      "Let the machine run as it does from day to day, in all its states.",
      "Ten clips are the least; ten minutes or more make a better model.",
    ],
    start: "Start recording",
    fromMachine: (name) => `Recording ${name}`,
    fromBrowser: (label) => (label ? `Recording from ${label}` : "Recording"),
    enough: "Towards ten minutes",
    clips: (n) => `${count(n, "clip")} recorded`,
    stop: "Stop and go on",
    discard: "Discard",
    discardTitle: "Discard the recording?",
    discardText: "What was recorded is deleted.",
    slow: "The network is too slow for the sound. What came before is kept; stop and go on, or begin again.",
    cut: "The connection broke. What came before is kept; stop and go on, or begin again.",
    second: "2. Fit a model",
    recorded: (clips, time) => `${clips} clips, ${time} of sound.`,
    noProblems: "No silence, no clipping, nothing broken was found.",
    modelName: "Name of the model",
    fit: "Fit the model",
    fitting: "The model learns…",
    cancelFit: "Cancel",
    cancelled: "Fitting was cancelled. The recording is kept.",
    done: (name) => `Model ${name} is ready`,
    next: "To watch the machine day and night with it, name it in the settings of a listener:",
    nextCommand: "asd listen plant.toml",
    judgeWith: "Judge a file with it",
    again: "Record another",
    failed: "No model came of it",
    tryAgain: "Try again",
    gone: "This is no longer known",
  },
};

const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(locale, { style: "percent", maximumSignificantDigits: 2 });
const twoDigits = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
const short = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });

export const write = {
  number: (n) => number.format(n),
  one: (n) => one.format(n),
  short: (n) => short.format(n),
  percent: (n) => percent.format(n),
  /** A small share with two digits: "0.25%". */
  share: (n) => fine.format(n),
  /** A p-value. */
  p: (n) => twoDigits.format(n),
  count,
};
