// Elements from plain calls. Whatever is put in as a child becomes a text node: names, notes and texts of the server
// can hold no markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag  name and classes, such as "button.primary"
 * @param {object} properties  attributes; functions are listeners by the name of their event (`click: () => …`);
 *   true, false and null set and leave out; `style` is an object of CSS properties (custom ones too)
 * @param {...(Node|string|number|Array|null|false)} children
 */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  return fill(element, properties, children);
}

/** Make an SVG element; like `h`, without classes in the name. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Replace all children. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(9).filter(isThere));
  return element;
}

/** Set the text if it is another one: screen readers announce only changes. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "style") for (const [name, each] of Object.entries(value)) element.style.setProperty(name, each);
    else if (key === "value" || key === "checked" || key === "disabled") element[key] = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(9).filter(isThere));
  return element;
}

const isThere = (child) => child !== null && child !== undefined && child !== false;

/** The colour of a custom property as the canvas wants it, in the theme that is shown. */
export function colour(name) {
  const probe = h("span", { style: { color: `var(${name})` }, hidden: true });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
