// What can be done with an ended batch: a dry run is applied, another batch is reverted. Each is confirmed in numbers.

import { call, may, path } from "./api.js";
import { share, showChanges } from "./changes.js";
import { ask, button, count, h, link, plural, say } from "./dom.js";

// Shows what can be done with an ended batch, and its changes.
export async function showEnd(place, batch, signal) {
  const { links, applied_by } = batch;
  const isPlan = batch.dry_run && batch.status.startsWith("completed");
  const buttons = may("writer") ? [
    links.apply && button("Apply", () => ask("Apply this plan?", applied(batch), "Apply", () => make(links.apply, "The plan is being applied.")), { class: "primary" }),
    links.revert && button("Revert", () => ask("Revert this batch?", reverted(batch), "Revert", () => make(links.revert, "The batch is being reverted."))),
  ].filter(Boolean) : [];
  place.append(...[
    applied_by && h("p", { class: "note" }, "This plan was applied by ", link(`batches/${applied_by}`, `batch ${applied_by}`)),
    isPlan && !applied_by && !links.apply && h("p", { class: "note" }, "This plan cannot be applied any more, because its file was deleted. Send the file again."),
    isPlan && !links.changes && !changes(batch.rows) && h("p", { class: "hint" }, "Nothing would change."),
    buttons.length > 0 && h("div", { class: "actions" }, buttons),
  ].filter(Boolean));
  if (links.changes) await showChanges(place, batch, signal);
}

const changes = ({ created, updated, removed }) => created + updated + removed;

// Creates a batch from another one, and opens it.
async function make(url, words) {
  const { batch_id } = await call(path(url), { method: "POST" });
  location.hash = `#/batches/${batch_id}`;
  say(words);
}

const are = (n, one, rest) => `${plural(n, one)} ${n === 1 ? "is" : "are"} ${rest}`;

// What happens if a plan is applied.
function applied({ rows, mode, removal }) {
  const { created, updated, removed, rejected } = rows;
  return h("div", null,
    h("ul", null,
      removed > 0 && h("li", { class: "gone" }, h("b", null, are(removed, "member", "removed")), `: ${share(rows)}`),
      created > 0 && h("li", null, are(created, "member", "created")),
      updated > 0 && h("li", null, are(updated, "member", "updated")),
      rejected > 0 && h("li", null, are(rejected, "row", "rejected")),
      !changes(rows) && h("li", null, "No member changes")),
    h("p", null, "The file is processed again. Members that something else has changed since the preview keep those changes.",
      mode === "replace" && ` If more members are absent than the limit of ${typeof removal.limit === "number" ? count(removal.limit) : removal.limit}, nobody is removed.`));
}

// What happens if a batch is reverted.
function reverted({ rows: { created, updated, removed } }) {
  return h("div", null,
    h("ul", null,
      created > 0 && h("li", { class: "gone" }, h("b", null, are(created, "created member", "removed"))),
      updated > 0 && h("li", null, `${plural(updated, "updated member")} ${updated === 1 ? "gets its" : "get their"} old values`),
      removed > 0 && h("li", null, are(removed, "removed member", "created again, with the old values"))),
    h("p", null, "Members that something else has changed since stay as they are."));
}
