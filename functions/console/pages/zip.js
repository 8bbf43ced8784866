// Compressed data: gzip streams and zip archives, read from a file only as far as needed.

// What is read from the file, and what is decompressed, at a time: small, because what follows a gzip stream (another one)
// is an error that takes the last piece with it.
const READ_BYTES = 64 * 1024;
const PIECE_BYTES = 1024;
// The end of an archive with the longest comment.
const END_BYTES = 22 + 0xffff;
const DAMAGED = "The zip file is damaged or ends early. Make it again and send it again.";
const OF_A_ZIP64 = 0xffffffff;

export async function bytesOf(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

// Decompresses until `isEnough` of the length so far and the last piece: `{bytes, cut}`.
export async function decompress(blob, format, isEnough) {
  const { readable, writable } = new DecompressionStream(format);
  const [writer, reader] = [writable.getWriter(), readable.getReader()];
  let isWritten = false;
  const pump = async () => {
    for (let at = 0; at < blob.size; at += READ_BYTES) {
      const read = await bytesOf(blob.slice(at, at + READ_BYTES));
      for (let from = 0; from < read.length; from += PIECE_BYTES) await writer.write(read.subarray(from, from + PIECE_BYTES));
    }
    isWritten = true;
    await writer.close();
  };
  // The reader gets the error too; and it may stop before the end.
  pump().catch(() => {});
  const pieces = [];
  let length = 0;
  let cut = false;
  while (!cut) {
    const { done, value } = await reader.read().catch((error) => {
      if (!length || isWritten) throw error;
      // Another stream follows, or the file is damaged: what came before is shown.
      return { done: true, value: null };
    });
    if (done) {
      cut = value === null;
      break;
    }
    pieces.push(value);
    length += value.length;
    cut = isEnough(length, value);
  }
  reader.cancel().catch(() => {});
  return { bytes: await bytesOf(new Blob(pieces)), cut };
}

const number = (view, at, size) => (size === 8 ? Number(view.getBigUint64(at, true)) : size === 4 ? view.getUint32(at, true) : view.getUint16(at, true));

async function viewOf(blob) {
  return new DataView(await blob.arrayBuffer());
}

// The files of an archive: `{name, method, isEncrypted, packed, size, at}`. Throws a text if it is damaged.
export async function list(file) {
  const tail = await viewOf(file.slice(Math.max(0, file.size - END_BYTES)));
  let end = tail.byteLength - 22;
  while (end >= 0 && number(tail, end, 4) !== 0x06054b50) end--;
  if (end < 0) throw DAMAGED;
  let [length, start] = [number(tail, end + 12, 4), number(tail, end + 16, 4)];
  if (start === OF_A_ZIP64 && end >= 20) {
    const at = number(tail, end - 20 + 8, 8);
    const large = await viewOf(file.slice(at, at + 56));
    if (large.byteLength < 56) throw DAMAGED;
    [length, start] = [number(large, 40, 8), number(large, 48, 8)];
  }
  const view = await viewOf(file.slice(start, start + length));
  const entries = [];
  for (let at = 0; at + 46 <= view.byteLength;) {
    if (number(view, at, 4) !== 0x02014b50) throw DAMAGED;
    const [name, extra, comment] = [28, 30, 32].map((place) => number(view, at + place, 2));
    const next = at + 46 + name + extra + comment;
    if (next > view.byteLength) throw DAMAGED;
    const sizes = [24, 20, 42].map((place) => number(view, at + place, 4));
    // The sizes that do not fit are in an extra field.
    for (let from = at + 46 + name; from + 4 <= next - comment; from += 4 + number(view, from + 2, 2)) {
      if (number(view, from, 2) !== 1) continue;
      let place = from + 4;
      sizes.forEach((size, which) => {
        if (size !== OF_A_ZIP64 || place + 8 > view.byteLength) return;
        sizes[which] = number(view, place, 8);
        place += 8;
      });
    }
    entries.push({
      name: new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, name)).replaceAll("\\", "/"),
      method: number(view, at + 10, 2), isEncrypted: (number(view, at + 8, 2) & 1) === 1,
      size: sizes[0], packed: sizes[1], at: sizes[2],
    });
    at = next;
  }
  return entries;
}

// The content of a file of an archive, until `isEnough`. Throws a text if it cannot be read.
export async function unzip(file, { method, isEncrypted, packed, at }, isEnough) {
  if (isEncrypted) throw "The zip archive is protected by a password. Send it without a password.";
  const head = await viewOf(file.slice(at, at + 30));
  if (head.byteLength < 30 || number(head, 0, 4) !== 0x04034b50) throw DAMAGED;
  const from = at + 30 + number(head, 26, 2) + number(head, 28, 2);
  const content = file.slice(from, from + packed);
  if (method === 8) {
    return decompress(content, "deflate-raw", isEnough).catch(() => {
      throw DAMAGED;
    });
  }
  if (method !== 0) throw "The zip archive uses a compression that is not supported. Make it with the usual one (deflate), or send CSV or gzip.";
  const pieces = [];
  for (let read = 0; read < content.size;) {
    const piece = await bytesOf(content.slice(read, read + READ_BYTES));
    pieces.push(piece);
    read += piece.length;
    if (isEnough(read, piece)) break;
  }
  const bytes = await bytesOf(new Blob(pieces));
  return { bytes, cut: bytes.length < content.size };
}
