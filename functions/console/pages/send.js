// Files: chosen, looked at, sent, and followed until their rows are dealt with. What is on its
// way goes on while other pages are looked at, and stands here again afterwards.

import { batch as at, call, holder, session } from "./api.js";
import { COLUMNS, DELIMITER_NAMES, look } from "./csv.js";
import { alert, ask, busy, button, bytes, duration, form, h, link, plural, say, table } from "./dom.js";
import { forget, isSame, notes, Transfer } from "./transfer.js";
import { follow, view } from "./watch.js";

const MODES = [
  ["upsert", "create new members, change those that differ"],
  ["create", "create new members, leave the others alone"],
  ["overwrite", "write every row without comparing"],
];

// The cards of this tab's files, newest first.
const cards = h("div");
const transfers = new Set();

const sending = () => [...transfers].filter(({ state }) => state === "sending");

addEventListener("beforeunload", (event) => {
  if (sending().length) event.preventDefault();
});
// What one key began is not another's.
session.addEventListener("replaced", () => sending().forEach((transfer) => transfer.pause()));
// A file that is dropped beside its place must not take the page's.
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => holdsFiles(event) && event.preventDefault());

export async function show(page, { query, signal }) {
  const id = query.get("parent");
  const parent = id && await call(at(id), { signal });
  const input = h("input", {
    id: "files", type: "file", multiple: true, accept: ".csv,.tsv,.txt,text/csv",
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
  }, h("label", { for: "files" }, "Choose CSV files"), input, h("p", { class: "hint" }, "or drag them here. Nothing is sent before you have seen what is in it."));
  const unfinished = h("div");
  page.append(
    parent ? h("p", { class: "note" }, "The file that you choose is taken for the corrected report of ",
      link(`batches/${id}`, `batch ${id}`), "; the two batches will point at each other.") : "",
    zone, unfinished, cards,
    h("details", null, h("summary", null, "What a file looks like"),
      h("p", null, "UTF-8 text with a header; commas, semicolons, tabs or pipes between fields; columns in any order. Other columns are ignored."),
      table("Columns", ["Column", "Also called"], COLUMNS.map(({ name, aliases }) => [name, aliases.join(", ")])),
      h("p", null, busy("Get a template", template))),
  );
  await remind(unfinished, signal);
}

async function template() {
  const response = await call("/api/members/batch/template.csv");
  const url = URL.createObjectURL(new Blob([response], { type: "text/csv" }));
  h("a", { href: url, download: "members.csv" }).click();
  // Not before the browser has read it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// What a reload or a crash took off the page: batches at work, and uploads in parts that this
// browser began and did not end.
async function remind(place, signal) {
  const mine = [...cards.children].map((card) => card.dataset.batch);
  // On their way in another tab.
  const locks = (await navigator.locks?.query())?.held.map(({ name }) => name) ?? [];
  const { results } = await call("/api/members/batch?limit=25", { signal });
  const working = results.filter(({ batch_id, status }) => ["queued", "processing"].includes(status) && !mine.includes(batch_id));
  for (const { batch_id, file_name } of working) {
    place.append(h("p", { class: "note" }, `${file_name ?? batch_id} is being processed: `, link(`batches/${batch_id}`, "open the batch")));
  }
  for (const [id, noted] of Object.entries(notes())) {
    if (mine.includes(id) || locks.includes(lock(id))) continue;
    // Perhaps it is another key's.
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
          fault.replaceChildren(alert(`That is not the file that was begun: ${noted.name}, ${plural(noted.size, "byte")}. It must be the same, and not changed since.`));
          return;
        }
        box.remove();
        card(file, { resumed: batch });
      },
    });
    const box = h("section", { class: "card" },
      h("h2", null, `${noted.name} was not sent to its end`),
      h("p", null, `Choose the same file (${bytes(noted.size)}) again, and only what is missing is sent.`),
      h("label", { for: input.id }, "The same file"), input, fault,
      h("div", { class: "actions" }, busy("Give it up", async () => {
        await call(at(id), { method: "DELETE" });
        forget(id);
        box.remove();
      })));
    place.append(box);
  }
}

// Held while a tab has an upload in its hands.
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
    body.replaceChildren(h("p", null, "Sent. It goes on if you leave this page: ", link(`batches/${id}`, "open the batch")), live.element);
    await follow(id, undefined, live.draw).catch((error) => body.append(alert(error)));
  };

  if (resumed) {
    transfer.batch = resumed;
    transfer.inParts = true;
    await go();
    return;
  }
  const found = await look(file).catch(() => ({ problem: "This can’t be read: it is a folder, or was moved or removed." }));
  if (found.problem) {
    body.append(h("p", null, bytes(file.size)), alert(found.problem), h("div", { class: "actions" }, remove()));
    return;
  }
  const used = found.fields.filter(Boolean).length;
  const missing = found.missing.map(({ label }) => label.toLowerCase());
  const accounts = holder().accounts;
  const account = parent?.account_id ?? (accounts?.length === 1 ? accounts[0] : "");
  body.append(...[
    h("p", null, `${bytes(file.size)} · separated by ${DELIMITER_NAMES[found.delimiter]} · ${used} of ${plural(found.header.length, "column")} used`),
    missing.length > 0 && alert(`This file can’t be loaded: it has no column for ${missing.join(", nor for ")}.`),
    found.latin1 && alert("The file is not UTF-8 (Latin-1, perhaps): rows with other bytes will be refused. Save it as UTF-8."),
    preview(found, file.name),
    missing.length > 0 ? h("div", { class: "actions" }, remove()) : form({
      fields: [
        {
          name: "account_id", label: "Account",
          value: found.accountMissing ? account : "",
          hint: found.accountMissing ? "The file doesn’t say whose members these are, so it has to be said here" : "Only for rows that name none",
        },
        { name: "mode", label: "What to do with the rows", options: MODES },
      ],
      action: "Send",
      secondary: remove(),
      submit: async ({ account_id, mode }) => {
        if (!account_id && found.accountMissing) throw { message: "An account is needed.", fields: [{ field: "account_id", message: "is needed, since the file has no such column" }] };
        const request = { mode };
        if (account_id) request.account_id = account_id;
        if (parent) request.parent_batch_id = parent.batch_id;
        await transfer.open(request);
        go();
      },
    }),
  ].filter(Boolean));
}

function preview({ header, fields, rows }, name) {
  const labels = header.map((name, place) => h("span", null, name || "(no name)", " ",
    fields[place] ? h("b", { class: "becomes" }, `→ ${fields[place].label}`) : h("i", { class: "hint" }, "ignored")));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `The first rows of ${name}` },
    h("table", { "aria-label": `The first rows of ${name}` },
      h("thead", null, h("tr", null, labels.map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", null, rows.map((row) => h("tr", null, row.map((field) => h("td", null, field)))))));
}

// A transfer on its way, and what can be done to it.
function sendingView(transfer, heading, remove) {
  const bar = h("progress", { max: Math.max(transfer.file.size, 1), value: 0, "aria-label": "Sent" });
  const line = h("p", { class: "progress-line" });
  const fault = h("div");
  const hold = button("Pause", () => (transfer.state === "paused" ? transfer.send() : transfer.pause()));
  const stop = button("Cancel", () => ask("Cancel the upload?", "What was sent is thrown away.", "Cancel the upload", () => transfer.cancel()));
  const again = button("Try again", () => transfer.send());
  const element = h("div", null, bar, line, fault, h("div", { class: "actions" }, hold, again, stop, remove));
  let told = null;
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
      if (told === state) return;
      told = state;
      say(`${file.name}: ${state}.`);
      fault.replaceChildren(problem ? alert(problem) : "");
      // What had the focus may be hidden now.
      if (focused) ([hold, again, stop, remove].find((one) => !one.hidden) ?? heading).focus({ preventScroll: true });
    },
  };
}
