// Access keys, for admins: create (the secret is shown once), list, revoke.

import { call, holder } from "./api.js";
import { ask, button, dialog, form, h, redraw, reload, say, table, time } from "./dom.js";

const ROLES = [
  ["reader", "reader: reads"],
  ["writer", "writer: also changes members and sends files"],
  ["admin", "admin: also manages keys"],
];

export async function show(page, { signal }) {
  const list = h("div");
  const load = async () => {
    const { results } = await call("/api/keys", { signal });
    redraw(list, table("Keys", ["Key", "Role", "Accounts", "Created", "Status", "Action"], results.map((key) => [
      key.key_id,
      key.role,
      key.accounts?.join(", ") ?? "all",
      time(key.created_at),
      key.revoked_at ? h("span", null, "revoked ", time(key.revoked_at)) : "valid",
      key.revoked_at || key.key_id === holder().key_id ? "" : button("Revoke", () => ask(`Revoke ${key.key_id}?`,
        "It is invalid immediately. You cannot undo this.", "Revoke", async () => {
          await call(`/api/keys/${encodeURIComponent(key.key_id)}`, { method: "DELETE" });
          say(`${key.key_id} was revoked.`);
          changed();
        }), { class: "danger", "aria-label": `Revoke ${key.key_id}` }),
    ])));
  };
  const changed = () => reload(list, load);
  page.append(h("section", { class: "card" }, h("h2", null, "New key"), form({
    className: "fields line",
    fields: [
      { name: "key_id", label: "Key id", required: true, hint: "The name of the person or system that uses it, such as “night-job”" },
      { name: "role", label: "Role", options: ROLES },
      { name: "accounts", label: "Accounts", hint: "Separated by commas; empty for all accounts" },
    ],
    action: "Create",
    submit: async ({ key_id, role, accounts }) => {
      const body = { key_id, role };
      const bound = accounts.split(/[\s,]+/).filter(Boolean);
      if (bound.length) body.accounts = bound;
      const key = await call("/api/keys", { method: "POST", body });
      reveal(key);
      changed();
    },
  })), list);
  await load();
}

// The only time that the secret is shown.
function reveal(key) {
  const both = h("input", { id: "secret", readonly: true, value: `${key.key_id}:${key.secret}`, spellcheck: "false" });
  const copied = h("p", { role: "status" });
  dialog("The new key", h("div", null,
    h("p", null, "Copy it now: the secret is never shown again."),
    h("label", { for: "secret" }, "Key id and secret"), both,
    h("div", { class: "actions" }, button("Copy", async () => {
      both.select();
      try {
        await navigator.clipboard.writeText(both.value);
        copied.textContent = "Copied.";
      } catch {
        copied.textContent = "The browser did not allow copying. The text is selected: copy it by hand.";
      }
    }, { class: "primary" })), copied));
}
