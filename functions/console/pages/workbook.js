// Workbooks (.xlsx): the first rows of a sheet as CSV. A blank row is a blank line, so that lines have the numbers of rows.

import { unzip } from "./zip.js";

// Rows that are read: a header may have 20 lines above it.
const ROWS = 40;
// Blank rows count too, but a sheet may have a million of them.
const LAST_ROW = 200;
// The longest XML that is read.
const XML_BYTES = 32e6;
const DAMAGED = "The workbook is damaged. Save it again and send it again.";
// From here on, a number has more digits than a spreadsheet keeps.
const INEXACT = 1e15;

const ATTRIBUTES = String.raw`((?:\s+[^\s=>]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*`;

// The elements of a name in any namespace, as `{attributes, content}`. Elements that the text cuts are left out.
function* elements(xml, name) {
  const pattern = new RegExp(String.raw`<(?:\w+:)?${name}${ATTRIBUTES}(?:/>|>([^]*?)</(?:\w+:)?${name}\s*>)`, "g");
  for (const [, attributes, content = ""] of xml.matchAll(pattern)) {
    const pairs = attributes.matchAll(/([^\s=:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g);
    yield { content, attributes: Object.fromEntries([...pairs].map(([, key, one, other]) => [key, unescape(one ?? other)])) };
  }
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescape(text) {
  return text.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (all, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? all;
    const code = hex ? parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : "\uFFFD";
  });
}

const decode = (text) => unescape(text.replace(/<!\[CDATA\[([^]*?)\]\]>/g, (_, raw) => raw.replace(/&/g, "&amp;")).replace(/\r\n?/g, "\n"));

// Spreadsheets write a control character as `_x000D_`.
const control = (text) => text.replace(/_x([\da-f]{4})_/gi, (_, code) => String.fromCharCode(parseInt(code, 16)));

// The text of a string: of all its runs, but not of the phonetic ones.
function textOf(xml) {
  const texts = elements(xml.replace(/<(?:\w+:)?rPh\b[^]*?<\/(?:\w+:)?rPh\s*>/g, ""), "t");
  return [...texts].map(({ content, attributes }) => {
    const text = decode(content);
    return control(attributes.space === "preserve" ? text : text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ""));
  }).join("");
}

// Whether a number format shows a date: its first part has a letter of one outside quotes and brackets. Durations are numbers.
function isDate(id, code) {
  if (code === undefined) return (id >= 14 && id <= 22) || (id >= 27 && id <= 36) || id === 45 || id === 47 || (id >= 50 && id <= 58);
  const [first] = code.replace(/[_\\*]./g, "").replace(/"[^"]*"?/g, "").split(";");
  return !/\[(h+|m+|s+)\]/i.test(first) && /[dmyhs]/i.test(first.replace(/\[[^\]]*\]/g, ""));
}

function dateOf(value, is1904) {
  const days = Math.max(0, Math.floor(value));
  const since1970 = is1904 ? days - 24107 : days < 60 ? days - 25568 : days - 25569;
  const seconds = Math.floor(Math.round((value - Math.floor(value)) * 86400e3) / 1000);
  const [date, time] = new Date((since1970 * 86400 + seconds) * 1000).toISOString().split("T");
  return seconds ? `${date} ${time.slice(0, 8)}` : date;
}

// A number as digits; where digits may be lost, in a form that no id or phone number has.
function digits(value) {
  if (Math.abs(value) >= INEXACT) return value.toExponential(14).toUpperCase().replace("+", "");
  const text = String(value);
  return text.includes("e") ? value.toFixed(20).replace(/\.?0+$/, "") : text;
}

function cellText({ content, attributes: { t, s } }, { strings, dates, is1904 }) {
  if (t === "inlineStr" || t === "is") return textOf(content);
  const [value] = elements(content, "v");
  const text = decode(value?.content ?? "");
  if (!text) return [...elements(content, "is")].map(({ content: inner }) => textOf(inner)).join("");
  if (t === "s") return strings[Number(text)] ?? "";
  if (t === "b") return text === "0" ? "FALSE" : "TRUE";
  if (t === "str") return control(text);
  if (t && t !== "n") return text;
  const number = Number(text);
  if (Number.isNaN(number)) return text;
  return dates[Number(s ?? -1)] ? dateOf(number, is1904) : digits(number);
}

const quote = (text) => (/[",;\t|\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const columnOf = (letters) => [...letters.toUpperCase()].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;

// The rows of a sheet's XML as CSV.
function csv(xml, book) {
  const lines = [];
  let row = -1;
  for (const { content, attributes } of elements(xml, "row")) {
    row = attributes.r ? Number(attributes.r) - 1 : row + 1;
    if (!(row < LAST_ROW)) {
      lines.length = LAST_ROW;
      break;
    }
    const cells = [];
    let column = 0;
    for (const cell of elements(content, "c")) {
      const letters = /^[a-z]+/i.exec(cell.attributes.r ?? "");
      if (letters) column = columnOf(letters[0]);
      if (column < 16384) cells[column] = quote(cellText(cell, book));
      column++;
    }
    lines[row] = Array.from(cells, (cell) => cell ?? "").join(",");
  }
  return Array.from(lines, (line) => `${line ?? ""}\n`).join("");
}

// Returns `{text, cut, sheet, sheets}`: a sheet as CSV, its name, and the names of the visible sheets. Throws a text if it cannot be read.
export async function read(file, entries, wanted) {
  const part = async (path, isEnough = () => false) => {
    const entry = entries.find(({ name }) => name.toLowerCase() === path.toLowerCase());
    if (!entry) return { xml: "" };
    const { bytes, cut } = await unzip(file, entry, (length, piece) => length > XML_BYTES || isEnough(piece));
    return { xml: new TextDecoder().decode(bytes), cut };
  };
  const whole = async (path) => {
    const { xml, cut } = await part(path);
    if (cut) throw "The workbook is damaged, or too large for a preview. Save it as CSV and send that.";
    return xml;
  };
  const [workbook, relations, styles] = await Promise.all(["xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml"].map(whole));
  const targets = new Map([...elements(relations, "Relationship")].map(({ attributes }) => [attributes.Id, attributes]));
  const all = [...elements(workbook, "sheet")].map(({ attributes: { name, state, id } }) => ({ name, isVisible: (state ?? "visible") === "visible", target: targets.get(id) }))
    .filter(({ target }) => target?.Type?.endsWith("/worksheet"));
  const visible = all.filter(({ isVisible }) => isVisible);
  const isWanted = ({ name }) => name.toLowerCase() === wanted.toLowerCase();
  const sheet = wanted ? all.find(isWanted) : visible[0] ?? all[0];
  if (!sheet) throw wanted ? `The workbook has no sheet ${wanted}. Its sheets are: ${all.map(({ name }) => name).join(", ")}.` : "The workbook has no sheet with cells.";
  const formats = new Map([...elements(styles, "numFmts")].flatMap(({ content }) => [...elements(content, "numFmt")])
    .map(({ attributes: { numFmtId, formatCode } }) => [numFmtId, formatCode]));
  const [cells] = elements(styles, "cellXfs");
  const dates = [...elements(cells?.content ?? "", "xf")].map(({ attributes: { numFmtId } }) => isDate(Number(numFmtId), formats.get(numFmtId)));
  const is1904 = [...elements(workbook, "workbookPr")].some(({ attributes: { date1904 } }) => date1904 === "1" || date1904 === "true");
  const strings = [...elements(await whole("xl/sharedStrings.xml"), "si")].map(({ content }) => textOf(content));
  const { Target: target } = sheet.target;
  let rows = 0;
  const { xml, cut } = await part(target.startsWith("/") ? target.slice(1) : `xl/${target}`, (piece) => {
    rows += new TextDecoder("latin1").decode(piece).split(/<\/(?:\w+:)?row\s*>/).length - 1;
    return rows > ROWS;
  });
  if (!xml) throw DAMAGED;
  return { text: csv(xml, { strings, dates, is1904 }), cut, sheet: sheet.name, sheets: visible.map(({ name }) => name) };
}
