// Sends a file to the URLs that the API signs: a small one by one PUT, a large one in parts, several at once, each with its own
// retries. Parts can be paused and resumed, also after a reload. If a response is lost, the batch shows whether the file arrived.

import { batch as at, call, mayPass, Problem } from "./api.js";
import { pause } from "./dom.js";

// Files larger than this are sent in parts; starting over with smaller ones costs little.
const ONE_PUT_BYTES = 100e6;
const PARTS_AT_ONCE = 4;
const PARTS_ASKED = 100;
// Seconds before each retry; the last value is repeated.
const PAUSES = [1, 2, 4, 8, 15];
// The number of attempts after which a transfer fails, unless other parts arrived in the meantime or the computer was offline.
const TRIES = 20;
// The speed is measured over the last seconds.
const SPEED_SECONDS = 5;
// How long a connection that has sent data may be silent before it counts as broken. Before it has sent data, the browser's own
// limits apply: it may delay a request while others to the same host are in flight.
const SILENCE_MILLIS = 60_000;
// How often a request that S3 rejects is retried: its URL may have expired (403), or the connection stalled (400).
const REFUSALS = 2;

// The states of a batch whose file did not arrive and is no longer accepted.
const NEVER_CAME = ["cancelled", "expired"];

const NOTES = "mpulse-uploads";
// How long S3 keeps the parts of an incomplete upload.
const NOTED_MILLIS = 24 * 3600 * 1000;

// The incomplete uploads in parts of this browser, by batch: enough to recognise the file. No keys, and nothing of the file's content.
export function notes() {
  const all = Object.entries(JSON.parse(localStorage.getItem(NOTES) ?? "{}"));
  return Object.fromEntries(all.filter(([, { begun }]) => Date.now() - begun < NOTED_MILLIS));
}

function note(id, file) {
  const all = notes();
  if (file) all[id] = { name: file.name, size: file.size, modified: file.lastModified, begun: Date.now() };
  else delete all[id];
  localStorage.setItem(NOTES, JSON.stringify(all));
}

export const forget = (id) => note(id, null);

// Whether a file is the one whose upload was started.
export function isSame(noted, file) {
  return noted && noted.name === file.name && noted.size === file.size && noted.modified === file.lastModified;
}

// The status of an error for which retries are useless.
const GONE = 410;

class Refused extends Error {
  constructor(status) {
    super(status === 403 ? "S3 rejected the upload. Its URL may have expired." : `S3 responded with ${status}.`);
    this.status = status;
  }
}

export class Transfer {
  // `changed` is called whenever there is something new to show.
  constructor(file, changed) {
    this.file = file;
    this.changed = changed;
    // waiting, sending, paused, failed; and at the end: sent, cancelled, expired
    this.state = "waiting";
    this.batch = null;
    this.inParts = file.size > ONE_PUT_BYTES;
    // The number of parts, once it is known.
    this.parts = null;
    this.problem = null;
    // Whether something may have been sent.
    this.began = false;
    // Resolved when the file has arrived, or was discarded.
    this.finished = new Promise((finish) => { this.finish = finish; });
    // A message about the present delay.
    this.hitch = null;
    this.arrived = 0;
    this.flying = new Map();
    this.marks = [];
  }

  get sent() {
    let sum = this.arrived;
    for (const loaded of this.flying.values()) sum += loaded;
    return Math.min(sum, this.file.size);
  }

  // Bytes per second over the last seconds.
  get speed() {
    const [first] = this.marks;
    const now = performance.now();
    return first && now > first.at ? Math.max(0, ((this.sent - first.sent) * 1000) / (now - first.at)) : 0;
  }

  // Creates a batch for the file.
  async open(request) {
    const { name, size } = this.file;
    const body = { file_name: name, size, ...request };
    if (this.inParts) body.multipart = true;
    this.batch = await call("/api/members/batch", { method: "POST", body });
    if (this.inParts) note(this.batch.batch_id, this.file);
  }

  pause() {
    this.state = "paused";
    this.stop.abort();
    this.changed();
  }

  // Cancels the batch. If it is running already, it is followed until it has stopped.
  async cancel() {
    this.problem = null;
    this.pause();
    const path = at(this.batch.batch_id);
    try {
      const { status } = await call(path, { method: "DELETE" }).catch((error) => {
        if (error.status !== 409) throw error;
        // It has ended already.
        return call(path);
      });
      this.end(NEVER_CAME.includes(status) ? status : "sent");
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  end(state) {
    this.state = state;
    this.stop.abort();
    forget(this.batch.batch_id);
    this.changed();
    this.finish();
  }

  fail(error) {
    this.state = "failed";
    this.problem = error;
    this.stop.abort();
    this.changed();
  }

  // Whether retries are useless.
  get over() {
    return this.problem?.status === GONE || this.isClosed(this.problem);
  }

  // A part gets a new URL; a whole file does not.
  isClosed(error) {
    return !this.inParts && error instanceof Refused && error.status === 403;
  }

  // Sends the file, or the rest of it.
  async send() {
    const stop = (this.stop = new AbortController());
    this.state = "sending";
    this.problem = null;
    this.marks = [];
    const clock = setInterval(() => this.tick(), 250);
    this.changed();
    try {
      await this.unlessArrived(() => (this.inParts ? this.sendParts() : this.sendWhole(this.batch.upload)));
      this.arrived = this.file.size;
      if (!stop.signal.aborted) this.end("sent");
    } catch (error) {
      if (!stop.signal.aborted) this.fail(error);
    } finally {
      clearInterval(clock);
      // Unless it was resumed in the meantime.
      if (this.stop === stop) {
        this.flying.clear();
        this.hitch = null;
        this.changed();
      }
    }
  }

  // If a request fails because the batch does not wait for a file any more, the file may have arrived: the response was lost, or
  // arrived after a pause.
  async unlessArrived(work) {
    try {
      await work();
    } catch (error) {
      if (![404, 409].includes(error.status) || await this.withRetries(() => this.isAwaited())) throw error;
    }
  }

  // Whether the batch waits for its file.
  async isAwaited() {
    const { status } = await call(at(this.batch.batch_id), { signal: this.stop.signal });
    if (NEVER_CAME.includes(status)) throw new Problem(GONE, { detail: `The batch is ${status}. Choose the file again to send it in a new batch.` });
    return status === "awaiting_upload";
  }

  tick() {
    const now = performance.now();
    this.marks.push({ at: now, sent: this.sent });
    while (this.marks.length > 2 && now - this.marks[0].at > SPEED_SECONDS * 1000) this.marks.shift();
    this.changed();
  }

  async sendWhole({ url, headers }) {
    await this.withRetries(async () => {
      // It may have arrived, and only the response was lost.
      if (this.began && !(await this.isAwaited())) return;
      this.began = true;
      await this.put("file", url, headers, this.file);
    });
  }

  async sendParts() {
    const { signal } = this.stop;
    const id = this.batch.batch_id;
    const ask = (from, limit) => call(at(id, `/parts?from=${from}&limit=${limit}`), { signal });
    this.arrived = 0;
    const queue = [];
    let next = 1;
    // Pages of parts are requested when they are needed, because their URLs expire.
    const more = async () => {
      const page = await this.withRetries(() => ask(next, PARTS_ASKED));
      this.parts = page.part_count;
      for (const part of page.results) {
        if (!part.etag) {
          queue.push(part);
          continue;
        }
        this.arrived += part.size;
        // It was sent earlier, and does not count for the speed.
        for (const mark of this.marks) mark.sent += part.size;
      }
      next += page.results.length;
    };
    let asking = null;
    const worker = async () => {
      for (;;) {
        while (!queue.length && next <= (this.parts ?? 1)) await (asking ??= more().finally(() => { asking = null; }));
        const part = queue.shift();
        if (!part) return;
        await this.withRetries(async (again) => {
          const { url } = again ? (await ask(part.part_number, 1)).results[0] : part;
          // It had arrived, and only the response was lost.
          if (url) await this.put(part.part_number, url, {}, this.file.slice(part.offset, part.offset + part.size));
        });
        this.arrived += part.size;
      }
    };
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, worker));
    await this.withRetries(() => call(at(id, "/complete"), { method: "POST", signal }));
  }

  // Retries until the work succeeds, with waits; permanent errors are not retried.
  async withRetries(work) {
    const { signal } = this.stop;
    for (let tries = 0; ; tries++) {
      signal.throwIfAborted();
      const before = this.arrived;
      try {
        const result = await work(tries > 0);
        this.hitch = null;
        return result;
      } catch (error) {
        signal.throwIfAborted();
        const passing = mayPass(error) || (error instanceof Refused && tries < REFUSALS && !this.isClosed(error));
        if (this.arrived > before || !navigator.onLine) tries = 0;
        if (!passing || tries >= TRIES) throw error;
        const seconds = PAUSES[Math.min(tries, PAUSES.length - 1)];
        this.hitch = navigator.onLine ? `${error.message} Retrying.` : "This computer is offline. Waiting.";
        this.changed();
        await Promise.race([
          pause(seconds * 1000, signal),
          new Promise((online) => addEventListener("online", online, { once: true, signal })),
        ]);
      }
    }
  }

  // Browsers report an unreadable file as a broken connection.
  async whyCut() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
      return new Error("The connection to S3 failed.");
    } catch {
      return new Problem(GONE, { detail: "The file was changed, moved or deleted after it was chosen." });
    }
  }

  // One PUT. Only XMLHttpRequest reports the upload's progress; it sends no credentials to other origins.
  put(name, url, headers, content) {
    const { signal } = this.stop;
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      let silence;
      const hear = () => {
        clearTimeout(silence);
        silence = setTimeout(() => {
          reject(new Error("The connection to S3 stalled."));
          request.abort();
        }, SILENCE_MILLIS);
      };
      const done = (settle) => () => {
        clearTimeout(silence);
        signal.removeEventListener("abort", abort);
        this.flying.delete(name);
        settle();
      };
      const abort = () => request.abort();
      signal.addEventListener("abort", abort);
      request.upload.addEventListener("progress", ({ loaded }) => {
        this.flying.set(name, loaded);
        hear();
      });
      request.upload.addEventListener("load", hear);
      request.addEventListener("load", done(() => (request.status < 300 ? resolve() : reject(new Refused(request.status)))));
      request.addEventListener("error", done(async () => reject(await this.whyCut())));
      request.addEventListener("abort", done(() => reject(new DOMException("stopped", "AbortError"))));
      request.open("PUT", url);
      for (const [key, value] of Object.entries(headers)) {
        // The browser sets the length itself.
        if (key.toLowerCase() !== "content-length") request.setRequestHeader(key, value);
      }
      request.send(content);
    });
  }
}
