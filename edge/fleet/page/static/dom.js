// Elements of text and nothing else: every string becomes a text node or an attribute, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `given`: attributes; `on`: {event: handler}; null and false attributes and children are left out. */
export function h(tag, given = {}, ...children) {
  return fill(document.createElement(tag), given, children);
}

/** The same for SVG. */
export function s(tag, given = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), given, children);
}

function fill(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (value !== null && value !== undefined && value !== false) {
      if (name.startsWith("on")) throw new Error(`attribute ${name}`);
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** A link within the page: parts of the path and the query are encoded. */
export function link(parts, query, given, ...children) {
  return h("a", { href: address(parts, query), ...given }, ...children);
}

/** `#/devices/NAME?flag=...` */
export function address(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const asked = new URLSearchParams(kept).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

/** Put `fresh` in place of what `place` holds; focus, caret, open details and sideways scrolling stay where they were. */
export function replace(place, fresh) {
  const active = place.contains(document.activeElement) ? document.activeElement : null;
  const key = active?.getAttribute("data-key");
  const caret = active instanceof HTMLInputElement ? [active.selectionStart, active.selectionEnd] : null;
  const open = [...place.querySelectorAll("details[open][data-key]")].map((one) => one.getAttribute("data-key"));
  const scrolled = [...place.querySelectorAll("[data-scroll]")].map((one) => [one.getAttribute("data-scroll"), one.scrollLeft]);
  place.replaceChildren(...[fresh].flat());
  for (const one of place.querySelectorAll("details[data-key]")) {
    if (open.includes(one.getAttribute("data-key"))) one.open = true;
  }
  for (const [name, left] of scrolled) {
    for (const one of place.querySelectorAll("[data-scroll]")) if (one.getAttribute("data-scroll") === name) one.scrollLeft = left;
  }
  if (!key) return;
  const again = [...place.querySelectorAll("[data-key]")].find((one) => one.getAttribute("data-key") === key);
  again?.focus({ preventScroll: true });
  if (caret && again instanceof HTMLInputElement && again.type === "search") again.setSelectionRange(...caret);
}
