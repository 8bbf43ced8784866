// The preview of a file, from its beginning: how it is encoded, its columns, its first rows, and defects that would fail it. The server
// decides; this only shows it earlier.

import { isBlank, parse, unescaped } from "./csv.js";
import { decode } from "./decode.js";
import { find } from "./header.js";

const ROWS = 5;

// A formula that only quotes a text, as programs write it to keep leading zeros, is that text: `="00123"`.
const plainText = (field) => /^\s*="([^"]*)"\s*$/.exec(field)?.[1] ?? field;

// Reads a file with the settings of a batch: `encoding`, `sheet`, `header`, `columns`. Returns `{problem}`, with `kind` if settings may
// help; or `{kind, text, cut, charset, isGarbled, delimiter, header, fields, missing, accountMissing, twice, line, rows}`. `fields` has the field of
// each column, or null; `twice` is the field of two columns; of a workbook there are `sheet` and `sheets` too.
export async function preview(file, options = {}) {
  const content = await decode(file, options);
  if (content.problem) return content;
  const found = find(content, options);
  const { text, cut, kind } = content;
  if (found.problem) return { ...content, ...found };
  const isHeader = (row) => found.header && found.header.every((name, at) => row[at]?.trim() === name) && isBlank(row.slice(found.header.length));
  const rows = parse(text, found.delimiter, ROWS, {
    at: found.next, cut, least: found.fields.findLastIndex(Boolean) + 1, skip: (row) => isBlank(row) || isHeader(row),
  });
  const width = found.header?.length ?? Math.max(found.fields.length, ...rows.map(({ length }) => length));
  const header = found.header ?? Array.from({ length: width }, (_, at) => `Column ${at + 1}`);
  const isReport = ["line", "code", "message"].every((name, at) => header[at] === name);
  const shown = (field) => plainText(isReport ? unescaped(field) : field);
  return {
    ...content, ...found, header, kind, isGarbled: kind !== "workbook" && text.includes("\uFFFD"),
    fields: header.map((_, at) => found.fields[at] ?? null),
    rows: rows.map((row) => (isBlank(row.slice(width)) ? header.map((_, at) => row[at] ?? "") : row).map(shown)),
  };
}
