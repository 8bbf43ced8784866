// Text to a header: the delimiter, the line that is the header, and the fields of its columns, found as the server finds them.

import { COLUMNS, DELIMITERS } from "./columns.js";
import { lineEnd, record } from "./csv.js";

// The most lines above the header.
const LINES_ABOVE = 20;
// A line without any known column is shown as the header only if it could be one: it has a column for each field but the account.
const FEWEST = COLUMNS.length - 1;

// `COLUMNS` are `{name, label, aliases}`.
export { COLUMNS };

// A name without what is not compared: case, spaces and punctuation.
export const plain = (name) => name.replace(/[^\p{Alphabetic}\p{N}]/gu, "").toLowerCase();

export const named = (field) => COLUMNS.find(({ name }) => name === field) ?? null;

// The field that a column's name means by itself.
export const preset = (name) => COLUMNS.find(({ aliases }) => aliases.includes(plain(name))) ?? null;

// The fields of columns, where `columns` wins over their names.
function fieldsOf(names, columns = {}) {
  const keys = Object.keys(columns).sort();
  const isNamed = (key, name) => key.trim() === name || (plain(name) !== "" && plain(key) === plain(name));
  const chosen = names.map((name) => {
    const key = keys.find((one) => isNamed(one, name));
    return key === undefined ? undefined : named(columns[key]);
  });
  const fields = names.map((name, at) => {
    if (chosen[at] !== undefined) return chosen[at];
    const field = preset(name);
    return chosen.includes(field) ? null : field;
  });
  const unknown = keys.find((key) => columns[key] && !names.some((name) => isNamed(key, name)));
  return { fields, unknown, ...check(fields) };
}

// What is wrong with fields: those that no column has, and one that two columns have. The batch may name the account.
export function check(fields) {
  const missing = COLUMNS.filter((column) => !fields.includes(column));
  return {
    accountMissing: missing.some(({ name }) => name === "account_id"),
    missing: missing.filter(({ name }) => name !== "account_id"),
    twice: fields.find((field, at) => field && fields.indexOf(field) !== at) ?? null,
  };
}

// The delimiters in a line, outside quotes, the most frequent first.
function delimitersOf(line) {
  const counts = DELIMITERS.map(() => 0);
  let quoted = false;
  for (const char of line) {
    if (char === '"') quoted = !quoted;
    else if (!quoted && DELIMITERS.includes(char)) counts[DELIMITERS.indexOf(char)]++;
  }
  const times = (one) => counts[DELIMITERS.indexOf(one)];
  const found = DELIMITERS.filter(times).sort((a, b) => times(b) - times(a));
  return found.length ? found : [DELIMITERS[0]];
}

// The delimiter that a spreadsheet's first line names: `sep=;`.
function separator(line) {
  const [, , char] = /^("?)sep=([!-/:-@[-`{-~]?)\1\s*$/i.exec(line) ?? [];
  return char === "" ? "\t" : char;
}

// What is wrong with names that cannot be a header.
function defect({ fields, isWhole }, encoding) {
  if (!isWhole) return "The header is longer than 64 kB, or a quote in it is never closed.";
  const has = (char) => fields.some((name) => name.includes(char));
  if (has("\0")) return "The header contains NUL bytes: the file is not a text file.";
  if (!has("\uFFFD")) return null;
  return encoding
    ? "The header has characters that this encoding does not have. Choose another encoding."
    : "The header is not UTF-8. Choose the encoding of the file, probably Windows-1252 (Western Europe).";
}

// Returns `{problem}`, or `{delimiter, header, fields, missing, accountMissing, twice, line, next}`: the first line that has every needed column,
// or else the one with the most known columns. `next` is the place of the first row.
export function find({ text, cut, encoding }, { header: hasHeader = true, columns } = {}) {
  let at = 0;
  let line = 1;
  const first = lineEnd(text, 0);
  const delimiter = separator(text.slice(0, first));
  if (delimiter) {
    at = first;
    line++;
  }
  if (!hasHeader) return headless(text, at, line, cut, delimiter, columns);
  let best = { rank: -1 };
  for (const last = line + LINES_ABOVE; line <= last && at < text.length; line++) {
    const end = lineEnd(text, at);
    const content = text.slice(at, end);
    for (const one of content.trim() ? (delimiter ? [delimiter] : delimitersOf(content)) : []) {
      const names = record(text, at, one, cut);
      const header = names.fields.map((name) => name.trim());
      if (header.every((name) => !name)) continue;
      const problem = defect(names, encoding);
      const found = problem ? { problem, rank: 1 } : { ...fieldsOf(header, columns), delimiter: one, header, line, next: names.next };
      if (!problem) {
        while (!header.at(-1) && !found.fields.at(-1)) {
          header.pop();
          found.fields.pop();
        }
        if (!found.missing.length && !found.twice && !found.unknown) return found;
        found.rank = 2 * new Set(found.fields.filter(Boolean)).size + (header.length >= FEWEST);
      }
      if (found.rank > best.rank) best = found;
    }
    at = end;
  }
  if (best.rank < 0) return { problem: line > LINES_ABOVE || cut ? `The first ${LINES_ABOVE} lines of the file are blank: it has no header.` : "The file is empty: it has no header." };
  return best.unknown && !best.missing.length && !best.twice ? { problem: `The header has no column ${best.unknown}.` } : best;
}

// A file without a header has the columns that the batch lists, or none yet.
function headless(text, at, line, cut, delimiter, columns) {
  let content = "";
  let end = at;
  for (; end < text.length && !content.trim();) {
    const next = lineEnd(text, end);
    content = text.slice(end, next);
    end = next;
  }
  if (!content.trim()) return { problem: "The file is empty: it has no rows." };
  const found = delimiter ?? delimitersOf(content)[0];
  const fields = columns?.map(named) ?? [];
  return { delimiter: found, header: null, fields, ...check(fields), line, next: at };
}
