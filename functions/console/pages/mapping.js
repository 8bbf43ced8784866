// The columns of a preview: its table, in which the user chooses the field of each column. The choice is remembered for the next file with
// the same header.

import { h, select } from "./dom.js";
import { check, COLUMNS, find, named, plain, preset } from "./header.js";

const FIELDS = [["", "Not used"], ...COLUMNS.map(({ name, label }) => [name, label])];

const textOf = (fields) => JSON.stringify(fields.map((field) => field?.name ?? null));

let tables = 0;

// `found` is a preview; `before` are the fields that the user chose in an earlier one; `changed` is called after a choice.
export function mapping(found, { name, headless, before, changed }) {
  const { header, rows } = found;
  const store = `mpulse-columns:${headless ? `${header.length} columns` : header.map(plain).join()}`;
  const usual = header.map((column) => (headless ? null : preset(column)));
  const stored = JSON.parse(localStorage.getItem(store));
  const fits = (list) => list?.length === header.length;
  let isTouched = fits(before);
  let fields = isTouched ? before : fits(stored) ? stored.map(named) : found.fields;
  const isRemembered = !isTouched && fits(stored);
  const id = `table-${++tables}`;

  const becomes = header.map(() => h("span"));
  const selects = header.map((column, at) => select({
    id: `${id}-${at}`,
    onchange: ({ target }) => {
      fields = fields.with(at, named(target.value));
      isTouched = true;
      draw();
      changed();
    },
  }, FIELDS));
  const draw = () => fields.forEach((field, at) => {
    selects[at].value = field?.name ?? "";
    becomes[at].replaceChildren(field ? h("b", { class: "becomes" }, `→ ${field.label}`) : h("i", { class: "hint" }, "ignored"));
  });
  draw();
  const words = `The first rows of ${name}`;
  const heads = header.map((column, at) => h("th", { scope: "col" }, column || "(no name)", " ", becomes[at],
    h("label", { class: "unseen", for: `${id}-${at}` }, `Field of ${column || `column ${at + 1}`}`), selects[at]));

  return {
    element: h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": words },
      h("table", { "aria-label": words },
        h("thead", null, h("tr", null, heads)),
        h("tbody", null, rows.map((row) => h("tr", null, row.map((field) => h("td", null, field))))))),
    isRemembered,
    get isTouched() {
      return isTouched;
    },
    get fields() {
      return fields;
    },
    get accountMissing() {
      return check(fields).accountMissing;
    },
    // The setting of the batch: only what differs from the usual fields.
    get columns() {
      if (headless) return fields.map((field) => field?.name ?? null);
      const own = header.flatMap((column, at) => (fields[at] === usual[at] ? [] : [[column, fields[at]?.name ?? null]]));
      return own.length ? Object.fromEntries(own) : undefined;
    },
    // Why the file cannot be sent, if it cannot.
    get problem() {
      const { missing, twice } = check(fields);
      const labels = missing.map(({ label }) => label.toLowerCase());
      if (twice) return `Two columns have the meaning ${twice.label}. Set one of them to “Not used”.`;
      if (missing.length) return `This file cannot be loaded: it has no column for ${labels.join(" and ")}. Choose the field of each column in the preview.`;
      const read = find(found, { header: !headless, columns: this.columns });
      if (read.line === found.line && textOf(read.fields) === textOf(fields)) return "";
      return "Columns with the same name cannot have different fields. Rename one of them in the file.";
    },
    forget() {
      fields = usual;
      isTouched = true;
      draw();
    },
    remember() {
      if (textOf(fields) === textOf(usual)) localStorage.removeItem(store);
      else localStorage.setItem(store, textOf(fields));
    },
  };
}
