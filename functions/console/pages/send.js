// Files: choose, preview, send, and follow until the rows are processed. Uploads continue while the user visits other
// pages, and are shown here again afterwards.

import { batch as at, call, session } from "./api.js";
import { choose } from "./choose.js";
import { COLUMNS } from "./columns.js";
import { alert, ask, busy, button, bytes, duration, h, link, plural, say, table } from "./dom.js";
import { showEnd } from "./plan.js";
import { forget, isSame, notes, Transfer } from "./transfer.js";
import { follow, view } from "./watch.js";

// The cards of this tab's files, newest first.
const cards = h("div");
const transfers = new Set();

const sending = () => [...transfers].filter(({ state }) => state === "sending");

addEventListener("beforeunload", (event) => {
  if (sending().length) event.preventDefault();
});
// An upload belongs to the key that started it.
session.addEventListener("replaced", () => sending().forEach((transfer) => transfer.pause()));
// A file that is dropped beside the drop area must not replace the page.
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => holdsFiles(event) && event.preventDefault());

export async function show(page, { query, signal }) {
  const id = query.get("parent");
  const parent = id && await call(at(id), { signal });
  const input = h("input", {
    id: "files", type: "file", multiple: true, accept: ".csv,.tsv,.txt,.gz,.zip,.xlsx,.xlsm,text/csv",
    onchange: () => {
      add([...input.files], parent);
      input.value = "";
    },
  });
  const zone = h("div", {
    class: "drop",
    ondragover: (event) => holdsFiles(event) && zone.classList.add("over"),
    ondragleave: () => zone.classList.remove("over"),
    ondrop: (event) => {
      zone.classList.remove("over");
      if (holdsFiles(event)) add([...event.dataTransfer.files], parent);
    },
  }, h("label", { for: "files" }, "Choose CSV files"), input, h("p", { class: "hint" }, "or drag them here: CSV, also compressed by gzip or zip, or Excel workbooks. You see a preview before anything is sent."));
  const unfinished = h("div");
  page.append(
    parent ? h("p", { class: "note" }, "The file that you choose is sent as the corrected report of ",
      link(`batches/${id}`, `batch ${id}`), "; the two batches will be linked.") : "",
    zone, unfinished, cards,
    h("details", null, h("summary", null, "File format"),
      h("p", null, "CSV text, plain or compressed by gzip or zip, or an Excel workbook (.xlsx). Fields are separated by commas, semicolons, tabs or pipes. Columns are in any order; their names are compared without case, spaces and punctuation. Other columns are ignored. In the preview you can choose the field of each column, and the encoding if it is not UTF-8 or UTF-16."),
      table("Columns", ["Column", "Also called"], COLUMNS.map(({ name, aliases }) => [name, aliases.join(", ")])),
      h("p", null, busy("Download a template", template))),
  );
  await remind(unfinished, signal);
}

async function template() {
  const response = await call("/api/members/batch/template.csv");
  const url = URL.createObjectURL(new Blob([response], { type: "text/csv" }));
  h("a", { href: url, download: "members.csv" }).click();
  // After the browser has read it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Lists what a reload or a crash removed from the page: running batches, and uploads in parts that this browser started and did
// not finish.
async function remind(place, signal) {
  const mine = [...cards.children].map((card) => card.dataset.batch);
  // In flight in another tab.
  const locks = (await navigator.locks?.query())?.held.map(({ name }) => name) ?? [];
  const { results } = await call("/api/members/batch?limit=25", { signal });
  const working = results.filter(({ batch_id, status }) => ["queued", "processing"].includes(status) && !mine.includes(batch_id));
  for (const { batch_id, file_name } of working) {
    place.append(h("p", { class: "note" }, h("bdi", null, file_name ?? batch_id), " is being processed: ", link(`batches/${batch_id}`, "open the batch")));
  }
  for (const [id, noted] of Object.entries(notes())) {
    if (mine.includes(id) || locks.includes(lock(id))) continue;
    // It may belong to another key.
    const batch = await call(at(id), { signal }).catch(() => null);
    if (batch && !batch.links.parts) forget(id);
    if (!batch?.links.parts) continue;
    const fault = h("div");
    const input = h("input", {
      id: `resume-${id}`, type: "file",
      onchange: () => {
        const [file] = input.files;
        if (!file) return;
        if (!isSame(noted, file)) {
          fault.replaceChildren(alert(`This is not the same file. Choose ${noted.name} with ${plural(noted.size, "byte")}, unchanged since the upload started.`));
          return;
        }
        box.remove();
        card(file, { resumed: batch });
      },
    });
    const box = h("section", { class: "card" },
      h("h2", null, `${noted.name} was not sent completely`),
      h("p", null, `Choose the same file (${bytes(noted.size)}) again to send the missing parts.`),
      h("label", { for: input.id }, "The same file"), input, fault,
      h("div", { class: "actions" }, busy("Discard the upload", async () => {
        await call(at(id), { method: "DELETE" });
        forget(id);
        box.remove();
      })));
    place.append(box);
  }
}

// Held while a tab has an upload in flight.
const lock = (id) => `upload-${id}`;

function add(files, parent) {
  for (const file of files.toReversed()) card(file, { parent });
  say(`${plural(files.length, "file")} chosen.`);
}

async function card(file, { parent, resumed }) {
  const body = h("div");
  const heading = h("h2", { tabindex: -1 }, file.name);
  const self = h("section", { class: "card", "aria-label": file.name }, heading, body);
  cards.prepend(self);
  heading.focus();
  const transfer = new Transfer(file, () => progress.draw());
  const remove = () => busy("Remove", () => {
    transfer.finish();
    self.remove();
  });
  const progress = sendingView(transfer, heading, remove());

  // From the first byte to the last row.
  const go = async () => {
    const id = transfer.batch.batch_id;
    self.dataset.batch = id;
    transfers.add(transfer);
    navigator.locks?.request(lock(id), () => transfer.finished);
    body.replaceChildren(progress.element);
    heading.focus();
    transfer.send();
    await transfer.finished;
    transfers.delete(transfer);
    if (transfer.state !== "sent") return;
    const live = view();
    body.replaceChildren(h("p", null, "Sent. Processing continues if you leave this page: ", link(`batches/${id}`, "open the batch")), live.element);
    try {
      const batch = await follow(id, undefined, live.draw);
      if (!batch.dry_run) return;
      const plan = h("div");
      body.append(plan);
      await showEnd(plan, batch);
    } catch (error) {
      body.append(alert(error));
    }
  };

  if (resumed) {
    transfer.batch = resumed;
    transfer.inParts = true;
    await go();
    return;
  }
  body.append(await choose(file, {
    parent,
    remove,
    send: async (request) => {
      await transfer.open(request);
      go();
    },
  }));
}

// A transfer in flight, and its buttons.
function sendingView(transfer, heading, remove) {
  const bar = h("progress", { max: Math.max(transfer.file.size, 1), value: 0, "aria-label": "Sent" });
  const line = h("p", { class: "progress-line" });
  const fault = h("div");
  const hold = button("Pause", () => (transfer.state === "paused" ? transfer.send() : transfer.pause()));
  const stop = button("Cancel", () => ask("Cancel the upload?", "The parts that were sent are deleted.", "Cancel the upload", () => transfer.cancel()));
  const again = button("Retry", () => transfer.send());
  const element = h("div", null, bar, line, fault, h("div", { class: "actions" }, hold, again, stop, remove));
  let shownState = null;
  return {
    element,
    draw() {
      const { state, sent, speed, file, problem, hitch } = transfer;
      const focused = element.contains(document.activeElement);
      bar.value = sent;
      const words = [`${bytes(sent)} of ${bytes(file.size)}`];
      if (state === "sending") {
        if (speed) words.push(`${bytes(speed)} per second`, `about ${duration((file.size - sent) / speed)} left`);
        if (hitch) words.push(hitch);
      } else words.push(state);
      line.textContent = words.join(" · ");
      hold.textContent = state === "paused" ? "Resume" : "Pause";
      hold.hidden = !transfer.inParts || !["sending", "paused"].includes(state);
      again.hidden = state !== "failed" || transfer.over;
      stop.hidden = !["sending", "paused", "failed"].includes(state) || transfer.over;
      remove.hidden = !["failed", "cancelled", "expired"].includes(state);
      if (shownState === state) return;
      shownState = state;
      say(`${file.name}: ${state}.`);
      fault.replaceChildren(problem ? alert(problem) : "");
      // The focused button may be hidden now.
      if (focused) ([hold, again, stop, remove].find((one) => !one.hidden) ?? heading).focus({ preventScroll: true });
    },
  };
}
