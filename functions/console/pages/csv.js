// What the first bytes of a file tell before it is sent: its delimiter, its columns, its first
// rows, and what would fail it as a whole. The server decides; this only says it earlier.

import { COLUMNS, DELIMITERS } from "./columns.js";

// How much of a file is looked at.
const LOOKED_AT = 64 * 1024;
const ROWS = 5;

// `COLUMNS` are `{name, label, aliases}`.
export { COLUMNS };
export const DELIMITER_NAMES = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes" };

// The rows of a text, at most `most` of them; a quoted field may hold anything.
export function parse(text, delimiter, most) {
  const rows = [];
  let row = [];
  let field = "";
  let quoted = false;
  const end = () => {
    row.push(field);
    if (row.length > 1 || row[0].trim()) rows.push(row);
    row = [];
    field = "";
  };
  for (let at = 0; at < text.length && rows.length < most; at++) {
    const char = text[at];
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[at + 1] === '"') field += text[++at];
      else quoted = false;
    } else if (char === '"' && !field) quoted = true;
    else if (char === delimiter) {
      row.push(field);
      field = "";
    } else if (char === "\n" || char === "\r") end();
    else field += char;
  }
  if (rows.length < most && (field || row.length)) end();
  return rows;
}

function delimiterOf(text) {
  const line = text.replace(/"[^"]*"/g, "").split(/[\r\n]/).find((line) => line.trim()) ?? "";
  const times = (delimiter) => line.split(delimiter).length;
  return DELIMITERS.reduce((best, one) => (times(one) > times(best) ? one : best));
}

const plain = (name) => name.toLowerCase().replace(/[\s_-]/g, "");

// Gives `{problem}`, or `{delimiter, header, fields, rows, missing, accountMissing, latin1}` where
// `fields` has the column that each place of the header stands for, or null.
export async function look(file) {
  const bytes = new Uint8Array(await file.slice(0, LOOKED_AT).arrayBuffer());
  const begins = (...start) => start.every((byte, at) => bytes[at] === byte);
  if (!bytes.length) return { problem: "The file is empty." };
  if (begins(0xff, 0xfe) || begins(0xfe, 0xff)) return { problem: "The file is UTF-16. Save it as UTF-8." };
  if (begins(0x1f, 0x8b) || begins(0x50, 0x4b, 3, 4)) {
    return { problem: "The file is compressed or a spreadsheet. Save or export it as CSV text." };
  }
  // A row or a letter that the look cuts in two is left out.
  const cut = file.size > bytes.length;
  const text = new TextDecoder().decode(bytes, { stream: cut });
  const delimiter = delimiterOf(text);
  const all = parse(text, delimiter, ROWS + 2);
  if (!all.length) return { problem: "The file is empty: it has not even a header." };
  if (cut) all.pop();
  const [header, ...rows] = all;
  if (!header) return { problem: "The header is longer than 64 kB, or a quote in it is never closed." };
  if (header.some((name) => name.includes("\0"))) return { problem: "The header holds NUL bytes: the file is UTF-16 or no text at all." };
  if (header.some((name) => name.includes("\uFFFD"))) return { problem: "The header is not UTF-8 (Latin-1, perhaps). Save the file as UTF-8." };
  const fields = header.map((name) => COLUMNS.find(({ aliases }) => aliases.includes(plain(name))) ?? null);
  const twice = fields.find((field, at) => field && fields.indexOf(field) !== at);
  if (twice) return { problem: `Two columns mean ${twice.label}. Leave one out.` };
  const missing = COLUMNS.filter((column) => !fields.includes(column));
  return {
    delimiter, header, fields, rows: rows.slice(0, ROWS),
    accountMissing: missing.some(({ name }) => name === "account_id"),
    missing: missing.filter(({ name }) => name !== "account_id"),
    latin1: text.includes("\uFFFD"),
  };
}
