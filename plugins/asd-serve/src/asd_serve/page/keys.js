// Single keys as shortcuts. They can be turned off: a voice that dictates, or a hand that trembles, sets them off unmeant.

const STORE = "shortcuts";

export const keysOn = () => read() !== "off";

export function turnKeys(on) {
  try {
    localStorage.setItem(STORE, on ? "on" : "off");
  } catch { /* then it holds until the page is closed */ }
  memory = on ? "on" : "off";
}

/** Run actions by keys (`{" ": play, "ArrowLeft": back}`) until the returned function is called. */
export function shortcuts(actions) {
  const press = (event) => {
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || !keysOn() || event.ctrlKey || event.metaKey || event.altKey || busy(event)) return;
    event.preventDefault();
    action();
  };
  document.addEventListener("keydown", press);
  return () => document.removeEventListener("keydown", press);
}

let memory = null;

function read() {
  try {
    return memory ?? localStorage.getItem(STORE);
  } catch {
    return memory;
  }
}

/** Whether the key means something else where it is pressed. */
function busy({ target, key }) {
  if (document.querySelector("dialog[open]")) return true;
  if (target.closest("input:not([type=range]), textarea, select, [contenteditable]")) return true;
  if (target.matches("input[type=range]") && key.startsWith("Arrow")) return true;
  return key === " " && target.closest("button, a, summary") !== null;
}
