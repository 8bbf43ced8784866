// Batches: the list, newest first; and one batch, with its progress and its rejected rows.

import { batch as at, call, may, path } from "./api.js";
import { parse, unescaped } from "./csv.js";
import { alert, ask, busy, button, count, dollars, duration, facts, h, link, redraw, say, table, time } from "./dom.js";
import { showEnd } from "./plan.js";
import { part, report } from "./report.js";
import { follow, hasEnded, seconds, status, view, watch } from "./watch.js";

// The time between two polls of the list, with and without running batches.
const LIST_MILLIS = 2500;
const IDLE_MILLIS = 10_000;
// Batches on a page, and the maximum of one response.
const PAGE = 25;
const MOST_PAGE = 100;
// Rejected rows that are shown, and how much of the report is fetched for them.
const REJECTS = 25;
const REJECTS_BYTES = 64 * 1024;

export async function show(page, { id, signal, heading }) {
  if (id) await showOne(page, id, signal, heading);
  else await showAll(page, signal);
}

function author(batch) {
  const [, id] = batch.created_by.split(/:(.*)/s);
  return id;
}

// How a batch differs from one that loads a file.
const kind = ({ dry_run, mode }) => (dry_run ? "dry run" : mode === "revert" && "revert");

async function showAll(page, signal) {
  const place = h("div");
  page.append(place);
  const known = new Map();
  const take = (batches) => batches.forEach((one) => known.set(one.batch_id, one));
  // The next page of the list; unknown before the first poll.
  let next;
  const more = busy("More", async () => {
    const answer = await call(next, { signal });
    take(answer.results);
    next = answer.next && path(answer.next);
    draw();
  });
  let drawn = null;
  const draw = () => {
    // Ids grow with time.
    const all = [...known.values()].sort((a, b) => (a.batch_id < b.batch_id ? 1 : -1));
    const state = JSON.stringify([all, next]);
    if (state === drawn) return;
    drawn = state;
    redraw(place, all.length
      ? table("Batches", ["File", "Status", "Sent", "By", "Rows", "Duration", "Cost"], all.map((one) => [
        h("span", null, link(`batches/${one.batch_id}`, one.file_name ?? one.batch_id), kind(one) && h("span", { class: "hint" }, ` ${kind(one)}`)),
        status(one),
        time(one.created_at),
        author(one),
        one.started_at ? outcomes(one) : "–",
        one.started_at ? duration(seconds(one)) : "–",
        one.started_at ? dollars(one.price.usd) : "–",
      ]))
      : h("p", { class: "hint" }, next ? "None of the newest batches is yours. " : "No file has been sent yet. ", may("writer") ? link("send", "Send one") : ""),
    next ? more : "");
  };
  const isAtWork = (one) => !hasEnded(one) && one.status !== "awaiting_upload";
  await watch(signal, async () => {
    const limit = Math.min(Math.max(known.size, PAGE), MOST_PAGE);
    let answer = await call(`/api/members/batch?limit=${limit}`, { signal });
    if (next === undefined) next = answer.next && path(answer.next);
    const newest = answer.results;
    // There may be more new batches than one response contains.
    while (known.size && answer.next && !newest.some((one) => known.has(one.batch_id))) {
      answer = await call(path(answer.next), { signal });
      newest.push(...answer.results);
    }
    take(newest);
    draw();
    return newest.some(isAtWork) ? LIST_MILLIS : IDLE_MILLIS;
  });
}

function outcomes({ rows }) {
  const parts = Object.entries(rows).filter(([name, n]) => name !== "read" && n > 0);
  return h("span", null, parts.length ? parts.map(([name, n]) => h("span", { class: `count ${name}` }, `${count(n)} ${name}`)) : "no rows yet");
}

const MODES = {
  upsert: "create new members, update members that differ",
  create: "create new members only",
  overwrite: "write every row",
  replace: "create and update members, remove the account’s other members",
  revert: "undo the changes of another batch",
};

const limit = ({ limit, despite_unreadable_rows }) => `${typeof limit === "number" ? count(limit) : limit}${despite_unreadable_rows ? ", despite unreadable rows" : ""}`;

// How a batch was made from its parent.
function made(batch, parent) {
  if (batch.mode === "revert") return "Reverts";
  return parent?.applied_by === batch.batch_id ? "Applies" : "Corrects";
}

async function showOne(page, id, signal, heading) {
  const about = h("div");
  const live = view();
  const end = h("div");
  const rejects = h("div");
  const cancel = button("Cancel the batch", () => ask("Cancel the batch?",
    "It stops within seconds. Rows that were applied stay.", "Cancel the batch", async () => {
      await call(at(id), { method: "DELETE" });
      say("The batch is being cancelled.");
    }), { class: "danger", hidden: true });
  page.append(h("p", null, link("batches", "All batches")), about, live.element, h("div", { class: "actions" }, cancel), end, rejects);
  let known = null;
  // The batch that this one was made from, and those made from it.
  const relatives = new Map();
  const drawAbout = async (batch) => {
    const ids = [batch.parent_batch_id, ...batch.child_batch_ids].filter(Boolean);
    await Promise.all(ids.map(async (one) => relatives.set(one, await call(at(one), { signal }).catch(() => null))));
    if (signal.aborted) return;
    const parent = relatives.get(batch.parent_batch_id);
    const children = Map.groupBy(batch.child_batch_ids, (child) => {
      if (child === batch.applied_by) return "Applied by";
      return relatives.get(child)?.mode === "revert" ? "Reverted by" : "Corrected by";
    });
    redraw(about, facts([
      ["Batch", id],
      ["Sent", h("span", null, time(batch.created_at), ` by ${author(batch)}`)],
      batch.account_id && ["Account", batch.account_id],
      batch.dry_run && ["Dry run", "shows what would change, and writes no member"],
      ["Mode", MODES[batch.mode]],
      batch.removal && ["Remove at most", limit(batch.removal)],
      batch.parent_batch_id && [made(batch, parent), link(`batches/${batch.parent_batch_id}`, batch.parent_batch_id)],
      ...[...children].map(([name, of]) => [name, h("span", null, of.map((child) => [link(`batches/${child}`, child), " "]).flat())]),
    ]));
  };
  const draw = (batch) => {
    live.draw(batch);
    cancel.hidden = hasEnded(batch) || batch.status === "cancelling" || !may("writer");
    // The other fields of a batch do not change.
    const changing = String([batch.child_batch_ids, batch.applied_by]);
    if (known === changing) return;
    known = changing;
    const name = batch.file_name ?? `Batch ${id}`;
    heading.textContent = kind(batch) ? `${name} (${kind(batch)})` : name;
    document.title = `${heading.textContent} – mPulse`;
    drawAbout(batch);
  };
  const batch = await follow(id, signal, draw);
  await showEnd(end, batch, signal);
  if (batch.links.rejects) await showRejects(rejects, batch, signal);
}

// The first rows of the report, its downloads, and the link to send it back.
async function showRejects(place, batch, signal) {
  const id = batch.batch_id;
  const shown = h("div");
  const fail = (error) => shown.replaceChildren(alert(error));
  const download = report("Download the report", at(id, "/rejects"), { signal, fail, class: "button primary" });
  const workbook = batch.links.rejects_xlsx && report("Report as Excel workbook", path(batch.links.rejects_xlsx), { signal, fail, class: "button" });
  place.append(
    h("h2", null, "Rejected rows"),
    h("p", null, "Download the report, correct the rows in it and send it back. The added columns are ignored."),
    h("div", { class: "actions" }, download.element, workbook && workbook.element,
      may("writer") && link(`send?parent=${id}`, "Send the corrected report", { class: "button" })),
    shown,
  );
  await Promise.all([download.renew(), workbook && workbook.renew()]);
  await showFirst(shown, download.element.href, batch, signal);
}

async function showFirst(place, url, batch, signal) {
  const body = await part(url, `0-${REJECTS_BYTES - 1}`, signal);
  if (!body) {
    place.append(alert("The report cannot be shown here. Download it instead."));
    return;
  }
  const [header, ...rows] = parse(await body.text(), ",", REJECTS + 2);
  // The last row may be incomplete.
  if (body.size >= REJECTS_BYTES) rows.pop();
  const first = rows.slice(0, REJECTS);
  // After line, code and message.
  const fields = header.slice(3);
  place.append(
    h("p", { class: "hint" }, first.length < batch.rows.rejected ? `The first ${count(first.length)} of ${count(batch.rows.rejected)}:` : "All of them:"),
    table("Rejected rows", ["Line", "Reason", "Fields"], first.map(([line, code, message, ...values]) => [
      line,
      h("span", null, message, " ", h("code", null, code)),
      facts(fields.map((name, at) => values[at] && [name, unescaped(values[at])])),
    ])),
  );
}
