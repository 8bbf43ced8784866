// Elements, formatting of figures, and components of the pages. Text is always set as text, never as markup.

const LOCALE = "en";
const numbers = new Intl.NumberFormat(LOCALE);
const dates = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });

// An element. Attributes that begin with `on` are listeners; `null` and `false` leave one out.
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const count = (n) => numbers.format(n);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  let unit = "bytes";
  for (const larger of ["kB", "MB", "GB", "TB"]) {
    if (n < 1000) break;
    n /= 1000;
    unit = larger;
  }
  return unit === "bytes" ? plural(n, "byte") : `${Number(n.toPrecision(3))} ${unit}`;
}

export function duration(seconds) {
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

export function time(text) {
  return text ? h("time", { datetime: text, title: text }, dates.format(new Date(text))) : "–";
}

// Dollars with a useful number of digits.
export const dollars = (n) => (n === 0 ? "$0" : n < 0.01 ? "under $0.01" : `$${n.toFixed(2)}`);

// Announces a text to screen readers; when no dialog is open, because they do not read what is behind one.
export function say(text) {
  const dialog = document.querySelector("dialog[open]");
  if (dialog) dialog.addEventListener("close", () => say(text), { once: true });
  else document.getElementById("said").textContent = text;
}

// Shows a temporary problem; an empty text removes it.
export function hitch(text) {
  document.getElementById("hitch").textContent = text;
}

export function button(text, onclick, attributes) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

// A link to a page of the console.
export const link = (to, text, attributes) => h("a", { href: `#/${to}`, ...attributes }, text);

export function alert(error) {
  const text = typeof error === "string" ? error : error.message;
  return h("p", { class: "alert", role: "alert" }, text);
}

// Moves the focus when its element is gone: to its replacement, or to the page's title.
function refocus(instead) {
  const focused = document.activeElement;
  if (focused !== document.body && !focused.hidden) return;
  const to = instead?.isConnected ? instead : document.querySelector("#view h1");
  to?.focus({ preventScroll: true });
}

// Runs a button's action: the button is disabled in the meantime, and an error is shown after it.
export function busy(text, work, attributes) {
  const self = button(text, async () => {
    self.nextElementSibling?.matches(".alert") && self.nextElementSibling.remove();
    const focused = document.activeElement === self;
    self.disabled = true;
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError") self.after(alert(error));
    }
    self.disabled = false;
    if (focused) refocus(self);
  }, attributes);
  return self;
}

// Redraws a container, and keeps the focus.
export function redraw(place, ...content) {
  const focused = document.activeElement;
  const within = place.contains(focused);
  place.replaceChildren(...content);
  if (!within) return;
  const same = ["id", "href"].map((name) => {
    const value = focused.getAttribute(name);
    return value && place.querySelector(`[${name}="${CSS.escape(value)}"]`);
  });
  refocus(place.contains(focused) ? focused : same.find(Boolean));
}

// Reloads a container after a successful change.
export function reload(place, load) {
  load().catch((error) => {
    if (error.name !== "AbortError") place.replaceChildren(alert(error));
  });
}

// A table; narrow screens show each row as a card, hence the roles and the cells' labels.
export function table(label, columns, rows) {
  const cell = (content, at) => h("td", { role: "cell", "data-label": columns[at] }, content ?? "–");
  return h("table", { role: "table", "aria-label": label, class: "cards" },
    h("thead", { role: "rowgroup" },
      h("tr", { role: "row" }, columns.map((name) => h("th", { role: "columnheader", scope: "col" }, name)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, row.map(cell)))));
}

// A list of names and values.
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

let labels = 0;

export const select = (attributes, options) => h("select", attributes, options.map(([value, text]) => h("option", { value }, text)));

// A control with its label, which is behind a check box and above others.
export function labelled(label, control, ...more) {
  control.id ||= `field-${++labels}`;
  const isBox = control.type === "checkbox";
  const words = h("label", { for: control.id }, label);
  return h("div", { class: isBox ? "field check" : "field" }, isBox ? [control, words] : [words, control], more);
}

// A form of labelled fields: `{name, label, hint, value, options, …attributes}`. The server's errors of a field are shown at the field, others
// above the buttons. `other` is the text of a second button; `submit` gets the values, and whether that one was pressed. `element.block(text)`
// disables both and says why; `element.hint(name, text)` changes a hint; `element.reveal(name, is)` shows or hides a field.
export function form({ fields, action, other, submit, secondary, className }) {
  const inputs = new Map();
  const general = h("div");
  const rows = fields.map(({ name, label, hint, options, value, ...attributes }) => {
    const id = `field-${++labels}`;
    const fault = h("span", { id: `${id}-fault`, class: "fault" });
    const described = hint ? `${id}-hint ${id}-fault` : `${id}-fault`;
    const all = { id, name, "aria-describedby": described, ...attributes };
    const input = options ? select(all, options) : h("input", { autocomplete: "off", spellcheck: "false", ...all });
    if (value !== undefined && value !== null) input.value = value;
    const note = hint && h("span", { id: `${id}-hint`, class: "hint" }, hint);
    const row = labelled(label, input, note, fault);
    inputs.set(name, { input, fault, note, row });
    return row;
  });
  const button = h("button", { class: "primary" }, action);
  const second = other && h("button", null, other);
  const why = h("span", { class: "fault", role: "status" });
  let working = false;
  const ready = () => {
    for (const one of [button, second]) if (one) one.disabled = working || why.textContent !== "";
  };
  const element = h("form", { novalidate: true, class: className ?? "fields" }, rows, general,
    h("div", { class: "actions" }, button, second, secondary, why));
  element.block = (text) => {
    if (why.textContent !== text) why.textContent = text;
    ready();
  };
  element.hint = (name, text) => { inputs.get(name).note.textContent = text; };
  element.reveal = (name, is) => { inputs.get(name).row.hidden = !is; };
  const show = (error, pressed) => {
    const rest = [];
    for (const { field, message } of error.fields ?? []) {
      const at = inputs.get(field);
      if (!at) rest.push(`${field} ${message}`);
      else {
        at.fault.textContent = message;
        at.input.setAttribute("aria-invalid", "true");
      }
    }
    const first = [...inputs.values()].find(({ input }) => input.hasAttribute("aria-invalid"));
    if (!first || rest.length) general.replaceChildren(alert(rest.join("; ") || error.message));
    (first?.input ?? pressed).focus();
  };
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    general.replaceChildren();
    for (const { input, fault } of inputs.values()) {
      fault.textContent = "";
      input.removeAttribute("aria-invalid");
    }
    const pressed = event.submitter ?? button;
    const focused = document.activeElement === pressed;
    working = true;
    ready();
    try {
      const valueOf = ({ type, checked, value }) => (type === "checkbox" ? checked : value.trim());
      await submit(Object.fromEntries([...inputs].map(([name, { input }]) => [name, valueOf(input)])), pressed === second);
      working = false;
      ready();
      if (focused) refocus(pressed);
    } catch (error) {
      working = false;
      ready();
      show(error, pressed);
    }
  });
  return element;
}

// A dialog over the page, which Escape closes; a sheet is at its side.
export function dialog(title, content, { sheet } = {}) {
  const id = `title-${++labels}`;
  const element = h("dialog", { "aria-labelledby": id, class: sheet ? "sheet" : null },
    h("div", { class: "title" }, h("h2", { id }, title), button("Close", () => element.close(), { class: "quiet" })),
    content);
  const opener = document.activeElement;
  element.addEventListener("close", () => {
    element.remove();
    // The button that opened it may have been redrawn since.
    refocus(document.getElementById(opener.id));
  });
  document.body.append(element);
  element.showModal();
  return element;
}

// Asks for confirmation. The explanation is a text, or an element.
export function ask(title, text, action, work) {
  const element = dialog(title, h("div", null, typeof text === "string" ? h("p", null, text) : text, h("div", { class: "actions" },
    busy(action, async () => {
      await work();
      element.close();
    }, { class: "danger" }),
    button("Keep it as it is", () => element.close()))));
}

// Waits, or stops waiting when the user leaves the page.
export function pause(millis, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(new DOMException("left", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, millis);
    signal?.addEventListener("abort", leave, { once: true });
  });
}
