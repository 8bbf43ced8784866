// Text to records: fields between delimiters, in quotes or not. A record whose fields are all blank is none.

const BLANK = /[ \t]/;
// A field in quotes on one line: only such a one may have blanks before it.
const QUOTED = /"(?:[^"\r\n]|"")*"/y;

// A report has an apostrophe before a text that a spreadsheet could take for a formula.
export const unescaped = (text) => text.replace(/^'(?='*[=+\-@\t\r])/, "");

// The place after the line that begins at a place.
export function lineEnd(text, at) {
  const end = /\r\n|\r|\n/g;
  end.lastIndex = at;
  return end.test(text) ? end.lastIndex : text.length;
}

// The record that begins at a place of the text: `{fields, next, isWhole}`. If the text is `cut`, a record without a line end is not
// whole; neither is one whose quote is never closed.
export function record(text, at, delimiter, cut) {
  const fields = [];
  let field = "";
  // Whether the field is in quotes, and whether they are closed.
  let quoted = false;
  let closed = false;
  // Blanks after the closing quote, which count only if something follows.
  let blanks = "";
  const opens = () => {
    if (!field) return true;
    if (!/^[ \t]*$/.test(field)) return false;
    QUOTED.lastIndex = at;
    if (!QUOTED.test(text)) return false;
    let after = QUOTED.lastIndex;
    while (text[after] !== delimiter && BLANK.test(text[after] ?? "")) after++;
    return [delimiter, "\n", "\r", undefined].includes(text[after]);
  };
  const end = () => {
    fields.push(field);
    field = blanks = "";
    closed = false;
  };
  for (; at < text.length; at++) {
    const char = text[at];
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[at + 1] === '"') field += text[++at];
      else {
        quoted = false;
        closed = true;
      }
    } else if (char === delimiter) end();
    else if (char === "\n" || char === "\r") {
      end();
      return { fields, next: at + (char === "\r" && text[at + 1] === "\n" ? 2 : 1), isWhole: true };
    } else if (char === '"' && !closed && opens()) {
      field = "";
      quoted = true;
    } else if (closed && BLANK.test(char)) blanks += char;
    else {
      field += blanks + char;
      blanks = "";
    }
  }
  end();
  return { fields, next: at, isWhole: !cut && !quoted };
}

export const isBlank = (fields) => fields.every((field) => !field.trim());

// The records from a place of the text, at most `most`, of which `skip` says which are none. Of a record over several lines with fewer than
// `least` fields, a stray quote is the cause: only its first line is taken.
export function parse(text, delimiter, most, { at = 0, cut = false, least = 0, skip = isBlank } = {}) {
  const rows = [];
  while (at < text.length && rows.length < most) {
    let { fields, next, isWhole } = record(text, at, delimiter, cut);
    if (!isWhole && cut) break;
    if (fields.length < least && next > lineEnd(text, at)) {
      next = lineEnd(text, at);
      ({ fields } = record(text.slice(0, next), at, delimiter));
    }
    if (!skip(fields)) rows.push(fields);
    at = next;
  }
  return rows;
}
