// Bytes to text: the container of a file, recognised by its first bytes, and its charset. Only what a preview needs is read.

import { bytesOf, decompress, list, unzip } from "./zip.js";

const TEXT_BYTES = 64 * 1024;
// The bytes by which UTF-16 is recognised.
const HEAD_BYTES = 512;

const SEND = "Send CSV, plain or compressed by gzip or zip, or an Excel workbook (.xlsx).";
// Other files, by their first bytes.
const FOREIGN = [
  ["\xD0\xCF\x11\xE0", "The file is an old Excel workbook (.xls). Save it as .xlsx or CSV and send it again."],
  ["7z\xBC\xAF\x27\x1C", `The file is a 7z archive. ${SEND}`],
  ["Rar!", `The file is a RAR archive. ${SEND}`],
  ["BZh", `The file is compressed by bzip2. ${SEND}`],
  ["\xFD7zXZ", `The file is compressed by xz. ${SEND}`],
  ["\x28\xB5\x2F\xFD", `The file is compressed by zstd. ${SEND}`],
  ["%PDF", `The file is a PDF document. ${SEND}`],
  ["\x89PNG", `The file is a picture. ${SEND}`],
];

const isEnough = (length) => length >= TEXT_BYTES;

// The one file of an archive, apart from what an operating system adds.
function onlyFile(entries) {
  const isAdded = (part) => part.startsWith(".") || part === "__MACOSX";
  const files = entries.filter(({ name }) => !name.endsWith("/") && !name.split("/").some(isAdded));
  if (files.length === 1) return files[0];
  if (!files.length) throw "The zip archive contains no file. Send an archive with one CSV file.";
  const names = files.slice(0, 5).map(({ name }) => name).join(", ");
  throw `The zip archive contains ${files.length} files: ${names}${files.length > 5 ? ", …" : ""}. Send an archive with one file, or each file by itself.`;
}

// The charset by the mark of the first bytes, by the user's choice, or by the NUL bytes of UTF-16.
function charsetOf(bytes, chosen) {
  const [a, b, c] = bytes;
  if (a === 0xff && b === 0xfe) return "utf-16le";
  if (a === 0xfe && b === 0xff) return "utf-16be";
  if ((a === 0xef && b === 0xbb && c === 0xbf)) return "utf-8";
  if (chosen) return chosen;
  const pairs = Math.floor(Math.min(bytes.length, HEAD_BYTES) / 2);
  const nuls = [0, 0];
  for (let at = 0; at < pairs * 2; at++) if (!bytes[at]) nuls[at % 2]++;
  const [even, odd] = nuls;
  const isPattern = (some, none) => some > 0 && none === 0 && some * 10 >= pairs * 9;
  return isPattern(odd, even) ? "utf-16le" : isPattern(even, odd) ? "utf-16be" : "utf-8";
}

// Returns `{problem}`, or `{kind, text, cut, charset, encoding}`; of a workbook also `sheet` and `sheets`. `encoding` is the chosen one, if it
// was used; `cut` says that there is more text.
export async function decode(file, { encoding, sheet } = {}) {
  const head = String.fromCharCode(...await bytesOf(file.slice(0, 8)));
  if (!head) return { problem: "The file is empty." };
  const foreign = FOREIGN.find(([start]) => head.startsWith(start));
  if (foreign) return { problem: foreign[1] };
  let kind = "plain";
  let content;
  try {
    if (head.startsWith("\x1F\x8B")) {
      kind = "gzip";
      content = await decompress(file, "gzip", isEnough).catch(() => {
        throw "The gzip file is damaged or ends early. Make it again and send it again.";
      });
    } else if (/^PK(\x03\x04|\x05\x06)/.test(head)) {
      const entries = await list(file);
      if (entries.some(({ name }) => name.toLowerCase() === "xl/workbook.xml")) {
        // Most files are none.
        const { read } = await import("./workbook.js");
        return { kind: "workbook", charset: "utf-8", ...await read(file, entries, sheet) };
      }
      kind = "zip";
      content = await unzip(file, onlyFile(entries), isEnough);
    } else content = { bytes: await bytesOf(file.slice(0, TEXT_BYTES)), cut: file.size > TEXT_BYTES };
  } catch (problem) {
    if (typeof problem !== "string") throw problem;
    return { problem };
  }
  if (!content.bytes.length) return { problem: "The file is empty." };
  const charset = charsetOf(content.bytes, encoding);
  // An incomplete character at the end is left out. DOS programs end a file with 0x1A.
  const text = new TextDecoder(charset).decode(content.bytes, { stream: content.cut });
  return { kind, charset, encoding: charset === encoding ? encoding : undefined, cut: content.cut, text: content.cut ? text : text.replace(/\x1A+$/, "") };
}
