// The changes of a batch: the beginning and the end of its report, as old and new values. Removed members are at the end.

import { call, memberId, path } from "./api.js";
import { lineEnd, parse, unescaped } from "./csv.js";
import { alert, count, facts, h, link, plural, table } from "./dom.js";
import { part, report } from "./report.js";

// How much of the report is read, at either end.
const BYTES = 256 * 1024;
// Changes in a table.
const MOST = 100;

const FIELDS = [["first_name", "First name"], ["last_name", "Last name"], ["phone_number", "Phone"]];
const SIGNS = { created: "+", updated: "~", removed: "−" };

// About which share of its account's members a batch removes. Rows are counted, so a member with several rows counts several times.
export function share({ removed, updated, unchanged, superseded }) {
  const percent = (removed * 100) / (removed + updated + unchanged + superseded);
  const words = percent < 0.1 ? "under 0.1%" : `about ${Number(percent.toPrecision(percent < 10 ? 2 : 3))}%`;
  return `${words} of the account’s members`;
}

// Reads both ends of the report at a URL. Returns the changes in the order of the report, or null if an end cannot be read: without
// the last one, removed members would be missing.
async function read(url, signal) {
  const head = await part(url, `0-${BYTES - 1}`, signal);
  if (!head) return null;
  const isWhole = head.size < BYTES;
  const [names, ...records] = parse(await head.text(), ",", Infinity, { cut: !isWhole });
  const tail = isWhole ? "" : await (await part(url, `-${BYTES}`, signal))?.text();
  if (tail === undefined) return null;
  // It begins within a line.
  if (tail) records.push(...parse(tail, ",", Infinity, { at: lineEnd(tail, 0) }));
  const all = new Map();
  for (const record of records) {
    const one = Object.fromEntries((names ?? []).map((name, at) => [name.replace(/^\uFEFF/, ""), unescaped(record[at] ?? "")]));
    const id = memberId(one.account_id, one.client_member_id);
    // The two ends overlap if the report is short.
    if (SIGNS[one.change]) all.set(`${one.line} ${id}`, { ...one, id });
  }
  return [...all.values()];
}

// The old and new value of a field.
function values(one, field) {
  const [old, value] = [one[`old_${field}`], one[field]];
  if (one.change === "removed") return old && h("del", null, old);
  if (one.change === "created") return value && h("ins", null, value);
  if (!old || old === value) return value;
  return h("span", null, h("del", null, old), " → ", h("ins", null, value));
}

const cell = (one, field) => values(one, field) || null;
const words = (one) => `${SIGNS[one.change]} ${one.change}`;

function list(label, changes) {
  return table(label, ["Change", "Member", ...FIELDS.map(([, name]) => name)], changes.slice(0, MOST).map((one) => [
    h("span", { class: `change ${one.change}` }, words(one)),
    link(`members/${one.id}`, one.id),
    ...FIELDS.map(([field]) => cell(one, field)),
  ]));
}

const some = (shown, all) => (shown < all ? `${count(shown)} of ${count(all)}:` : "All of them:");

// Shows the first changes of a batch, removed members before the others, and the link to all.
export async function showChanges(place, batch, signal) {
  const { rows, dry_run, links } = batch;
  const shown = h("div");
  const download = report("Download the changes", path(links.changes), { signal, fail: (error) => shown.replaceChildren(alert(error)), class: "button" });
  place.append(h("h2", { class: "next" }, dry_run ? "What would change" : "Changes"), shown, h("div", { class: "actions" }, download.element));
  await download.renew();
  const changes = await read(download.element.href, signal);
  if (!changes) {
    shown.append(alert("The report cannot be shown here. Download it instead."));
    return;
  }
  const [removed, others] = [true, false].map((is) => changes.filter(({ change }) => (change === "removed") === is));
  const put = (title, label, found, all, attributes, sum) => found.length > 0 && shown.append(h("div", attributes,
    h("h3", null, title), sum && h("p", null, h("b", null, sum)), h("p", { class: "hint" }, some(Math.min(found.length, MOST), all)), list(label, found)));
  // Of an account that is replaced, every other member has a row.
  put(dry_run ? "Members who would be removed" : "Removed members", "Removed members", removed, rows.removed, { class: "gone" },
    batch.mode === "replace" && `${plural(rows.removed, "member")}: ${share(rows)}`);
  put("Created and updated members", "Created and updated members", others, rows.created + rows.updated);
  if (others.some((one) => one.change === "created" && !one.last_name)) {
    shown.append(h("p", { class: "hint" }, "The account was empty: of its new members, the report has the ids only."));
  }
}

// Returns what a batch did to a member, if its report has that at either end; otherwise a link to all changes, or null if there are none.
export async function changeOf(batch, id, signal) {
  if (!batch.links.changes) return null;
  const { url } = await call(path(batch.links.changes), { signal });
  const one = (await read(url, signal))?.findLast((change) => change.id === id);
  const by = link(`batches/${batch.batch_id}`, batch.file_name ?? `batch ${batch.batch_id}`);
  if (!one) return h("p", { class: "hint" }, "To see what the batch did to this member, download the changes of ", by);
  return h("div", null, h("h3", null, h("span", { class: `change ${one.change}` }, words(one)), " by ", by),
    facts(FIELDS.map(([field, name]) => values(one, field) && [name, values(one, field)])));
}
