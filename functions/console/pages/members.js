// Members: search, show, create, change and remove.

import { answer, batch as batchAt, call, may, member as at, path } from "./api.js";
import { changeOf } from "./changes.js";
import { alert, ask, busy, button, dialog, facts, form, h, link, plural, redraw, reload, say, table, time } from "./dom.js";
import { watch } from "./watch.js";

// The last search, which is repeated when the user returns to the page.
let last = { text: "", account: "" };

// The possible meanings of a text: an id, a phone or a client id. Digits may be either of the last two.
function meanings(text, account) {
  const aid = account ? { aid: account } : {};
  if (!text) return [aid];
  if (text.includes("~")) return [{ id: text, ...aid }];
  const found = [];
  if (text.replace(/\D/g, "").length >= 5) found.push({ ph: text, ...aid });
  if (/^[A-Za-z0-9._:@-]{1,64}$/.test(text)) found.push({ cmid: text, ...aid });
  return found.length ? found : [{ cmid: text, ...aid }];
}

// Searches for each meaning. Invalid ones are skipped, unless all are invalid.
async function find(text, account, signal) {
  const urls = meanings(text, account).map((query) => `/api/members/?${new URLSearchParams(query)}`);
  const lists = await Promise.allSettled(urls.map((url) => call(url, { signal })));
  const good = lists.filter((list) => list.status === "fulfilled").map((list) => list.value);
  const refused = lists.filter((list) => list.status === "rejected").map((list) => list.reason);
  const other = refused.find((reason) => reason.status !== 400);
  if (other) throw other;
  if (!good.length) throw refused[0];
  return good;
}

// Buttons that export an account, wait for the file, and download it.
function exporters(account, signal) {
  const note = h("span", { class: "hint", role: "status" });
  const exporter = (text, format) => busy(text, async () => {
    let made = await call("/api/exports", { method: "POST", body: { account_id: account, format } });
    await watch(signal, async () => {
      made = await call(path(made.links.self), { signal });
      note.textContent = `${plural(made.rows, "member")} so far`;
      return made.finished_at || made.status === "expired" ? null : 700;
    }).finally(() => note.replaceChildren());
    if (!made.links.file) throw new Error(made.problem?.message ?? "The export did not start. Try again.");
    // A browser may ask before it downloads a second file, so there is a link too.
    const file = h("a", { href: made.links.file }, made.file_name);
    note.replaceChildren(`${plural(made.rows, "member")} exported: `, file);
    file.click();
  });
  return h("div", { class: "actions" }, exporter("Export as CSV", "csv"), exporter("Export as a workbook", "xlsx"), note);
}

export async function show(page, { id, signal }) {
  const results = h("div", { id: "results" });
  const search = form({
    className: "fields line",
    fields: [
      { name: "text", label: "Find a member", type: "search", hint: "An id, a phone number in any notation, or a client id", value: last.text },
      { name: "account", label: "Account", hint: "Only in this account", value: last.account },
    ],
    action: "Find",
    secondary: may("writer") && button("New member", () => edit(null, changed)),
    submit: async (values) => {
      last = values;
      await load();
    },
  });
  search.setAttribute("role", "search");

  // The results of a slow search must not replace those of a later one.
  let turn = 0;
  async function load() {
    const mine = ++turn;
    const { text, account } = last;
    let lists;
    try {
      lists = await find(text, account, signal);
    } catch (error) {
      if (mine !== turn) return;
      results.replaceChildren();
      // The server names the parameter; on this page it is this field.
      for (const fault of error.fields ?? []) fault.field = fault.field === "aid" ? "account" : "text";
      throw error;
    }
    if (mine !== turn) return;
    const members = new Map();
    const more = busy("More", async () => {
      const next = await Promise.all(lists.filter((list) => list.next).map((list) => call(path(list.next), { signal })));
      if (mine !== turn) return;
      lists = next;
      draw();
    });
    const files = account && exporters(account, signal);
    const draw = () => {
      for (const list of lists) for (const one of list.results) members.set(one.id, one);
      const next = lists.some((list) => list.next);
      const said = members.size
        ? `${plural(members.size, "member")}${next ? " so far" : ""}`
        : text || account ? "No members found." : "There are no members yet. Create one, or send a file.";
      say(said);
      redraw(results, h("p", { class: "hint" }, said), files,
        members.size ? table("Members", ["Name", "Phone", "Account", "Client id", "Updated"],
          [...members.values()].map((one) => [
            button(`${one.first_name} ${one.last_name}`, () => open(one.id, changed), { id: `open-${one.id}`, class: "link" }),
            one.phone_number, one.account_id, one.client_member_id, time(one.updated_at),
          ])) : "",
        next ? more : "");
    };
    draw();
  }

  const changed = () => reload(results, load);

  page.append(search, results);
  if (id) open(id, changed);
  await load();
}

function author(text) {
  const [kind, id] = text.split(/:(.*)/s);
  return kind === "batch" ? link(`batches/${id}`, `batch ${id}`) : `key ${id}`;
}

// Shows what the batches that wrote a member did to it, as far as their reports show it.
async function showHistory(place, one, signal) {
  const ids = [one.updated_by, one.created_by].filter((by) => by.startsWith("batch:")).map((by) => by.slice("batch:".length));
  for (const id of new Set(ids)) {
    const batch = await call(batchAt(id), { signal });
    const change = await changeOf(batch, one.id, signal);
    if (change) place.append(change);
  }
}

// Shows a member, with a message above it. `changed` is called after a change.
async function open(id, changed, words) {
  const place = h("div", null, h("p", null, "…"));
  const sheet = dialog(`Member ${id}`, place, { sheet: true });
  const left = new AbortController();
  sheet.addEventListener("close", () => left.abort());
  const history = h("div");
  try {
    const { body: one, headers } = await answer(at(id));
    const match = { "if-match": headers.get("etag") };
    place.replaceChildren(
      words ? h("p", { class: "note" }, words) : "",
      facts([
        ["Name", `${one.first_name} ${one.last_name}`],
        ["Phone", one.phone_number],
        ["Account", one.account_id],
        ["Client id", one.client_member_id],
        ["Id", one.id],
        ["Created", h("span", null, time(one.created_at), " by ", author(one.created_by))],
        ["Last updated", h("span", null, time(one.updated_at), " by ", author(one.updated_by))],
      ]),
      may("writer") ? h("div", { class: "actions" },
        button("Change", () => {
          sheet.close();
          edit(one, changed, match);
        }),
        button("Remove", () => ask(`Remove ${one.first_name} ${one.last_name}?`,
          `The member ${one.id} is removed. A file that contains the person creates the member again.`,
          "Remove", async () => {
            await call(at(id), { method: "DELETE", headers: match });
            sheet.close();
            say("Removed.");
            changed();
          }), { class: "danger" })) : "",
      history);
    // The key may not be allowed to see the batch.
    showHistory(history, one, left.signal).catch(() => {});
  } catch (error) {
    place.replaceChildren(alert(error));
  }
}

// The form of a new member, or of one to change.
function edit(one, changed, match) {
  const fields = [
    !one && { name: "account_id", label: "Account", required: true, hint: "The client’s account: letters, digits, _ and -", value: last.account },
    !one && { name: "client_member_id", label: "Client id", required: true, hint: "The client’s own id for the person" },
    { name: "first_name", label: "First name", required: true, value: one?.first_name },
    { name: "last_name", label: "Last name", required: true, value: one?.last_name },
    { name: "phone_number", label: "Phone", type: "tel", required: true, hint: "In any notation; with + and the country code for other countries", value: one?.phone_number },
  ].filter(Boolean);
  const sheet = dialog(one ? `Change ${one.id}` : "New member", form({
    fields,
    action: one ? "Save" : "Create",
    secondary: button("Cancel", () => sheet.close()),
    submit: async (values) => {
      const saved = one
        ? await call(at(one.id), { method: "PATCH", body: values, headers: match })
        : await call("/api/members/", { method: "POST", body: values });
      sheet.close();
      open(saved.id, changed, one ? "Saved." : "Created.");
      changed();
    },
  }), { sheet: true });
  sheet.querySelector("input").focus();
}
