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
    enough: "ten minutes",
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

  settings: {
    lead: "What holds for all machines of this listener. Kept in",
    none: "With settings in a file, this server listens by itself: asd serve --listen plant.toml",
    mayNot: "Changing settings needs a key with the role administer.",
    save: "Save",
    reset: "Discard changes",
    changed: "Not saved yet",
    saving: "Is checked and saved…",
    saved: "Saved. The listener began anew with it.",
    notSaved: "Not saved",
    alerts: {
      title: "Alarms",
      text: "",
      fields: {
        false_alarms: {
          label: "False alarms promised for each machine",
          help: "More evidence is asked for where fewer are promised, so an alarm comes a little later.",
          options: [["", "usual: 1 a month"], ["1/day", "1 a day"], ["1/week", "1 a week"], ["1/month", "1 a month"], ["1/year", "1 a year"]],
        },
        confirm: { label: "Confirm", unit: "seconds", type: "number", help: "An alarm is told once it has stood for so long. 0: at once." },
        cool_down: { label: "Cool down", unit: "seconds", type: "number", help: "An alarm that comes again within this time is told once." },
        condition: { label: "Disturbances", unit: "seconds", type: "number", help: "A silent or clipped microphone is told once it has stood for so long." },
        remind: { label: "Remind", unit: "seconds", type: "number", help: "An alarm that nobody has acknowledged is told again after so long. 0: never." },
      },
    },
    evidence: {
      title: "Kept sound",
      text: "",
      fields: {
        before: { label: "Before an alarm", unit: "seconds", type: "number" },
        after: { label: "After an alarm", unit: "seconds", type: "number" },
        healthy_per_day: { label: "Healthy clips kept a day", type: "number", help: "To compare alarms with by ear." },
        healthy_seconds: { label: "Length of a healthy clip", unit: "seconds", type: "number" },
        keep_days: { label: "Kept for", unit: "days", type: "number" },
        keep_gb: { label: "At most", unit: "GB", type: "number", help: "Above this the oldest goes." },
        keep_free_mb: { label: "Left free on the disk", unit: "MB", type: "number", help: "With less, the oldest goes." },
      },
    },
    sink: {
      title: "Who is told",
      none: "Nobody is told yet; events stand on this page alone.",
      add: "Add",
      remove: "Remove",
      kind: "Way of telling",
      machines: "Machines whose events are told",
      kinds: { email: "E-mail", mqtt: "MQTT broker", webhook: "Web address", jsonl: "File of lines", apprise: "Apprise" },
      fields: {
        name: { label: "Name", help: "What you call it." },
        at_least: { label: "What is told", options: [["info", "everything"], ["warning", "warnings and alarms"], ["alarm", "alarms alone"]] },
        quiet_hours: { label: "Quiet hours", help: "Such as 22:00-06:00; afterwards one summary tells of them. Empty: none." },
        quiet_alarms: { label: "Tell alarms in quiet hours too" },
      },
      parameters: { host: "Host", port: "Port", url: "Address", topic: "Topic", path: "File", to: "To", sender: "From", user: "User",
        tls: "TLS", timeout: "Time limit (s)", max_mb: "Largest size (MB)", discovery: "Home Assistant prefix",
        security: "Security", ca_file: "Certificates (file)", password_env: "Password (variable)", password_file: "Password (file)",
        secret_env: "Secret (variable)", secret_file: "Secret (file)", url_env: "Address (variable)", url_file: "Address (file)",
        urls_env: "Addresses (variable)", urls_file: "Addresses (file)" },
    },
    keys: {
      title: "Keys",
      text: "Who may use this page, and what for, is decided where the server runs. Keys are made and withdrawn on its command line:",
      commands: [
        ["asd serve key create Ann --role feedback", "makes a key, and shows it once. Roles: look, feedback, administer."],
        ["asd serve key list", "shows whose keys there are, and when each was last used."],
        ["asd serve key revoke Ann", "withdraws one; its sessions end at once."],
      ],
    },
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
