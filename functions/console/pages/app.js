// The frame: the signed-in key, and the page that is shown. A page's module is loaded when it is first opened.

import { holder, may, resume, session, signIn, signOut } from "./api.js";
import { alert, busy, button, form, h, hitch, link, say } from "./dom.js";

const PAGES = {
  members: { title: "Members", load: () => import("./members.js") },
  send: { title: "Send a file", load: () => import("./send.js"), role: "writer" },
  batches: { title: "Batches", load: () => import("./batches.js") },
  keys: { title: "Keys", load: () => import("./keys.js"), role: "admin" },
};
const FIRST = "members";

const at = (id) => document.getElementById(id);
// The key that was signed in last in this tab.
let before = null;
// Aborted when the user leaves the page.
let shown = new AbortController();

function frame() {
  const key = holder();
  at("sign-in").hidden = key !== null;
  at("nav").hidden = at("who").hidden = key === null;
  if (!key) return;
  before = key.key_id;
  at("holder").textContent = `${key.key_id} (${key.role})`;
  at("nav").replaceChildren(...Object.entries(PAGES)
    .filter(([, { role }]) => !role || may(role))
    .map(([name, { title }]) => link(name, title, { id: `nav-${name}` })));
}

// `#/page/id?parameters`
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  let name, id;
  try {
    [name, ...id] = path.split("/").map(decodeURIComponent);
  } catch {
    // Not a valid address of the console.
    [name, id] = [FIRST, []];
  }
  return { name: PAGES[name] ? name : FIRST, id: id.join("/") || null, query: new URLSearchParams(query) };
}

async function show() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  closeDialogs();
  hitch("");
  const view = at("view");
  view.replaceChildren();
  if (!holder()) return;
  const { name, id, query } = address();
  const page = PAGES[name];
  for (const tab of at("nav").children) {
    if (tab.id === `nav-${name}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  const heading = h("h1", { tabindex: -1 }, page.title);
  view.append(heading);
  document.title = `${page.title} – mPulse`;
  heading.focus();
  try {
    if (page.role && !may(page.role)) throw new Error(`This page needs a key with the role ${page.role}.`);
    const module = await page.load().catch(() => {
      throw new Error("This page could not be loaded. A new version may have been installed: reload the page.");
    });
    if (!signal.aborted) await module.show(view, { id, query, signal, heading });
  } catch (error) {
    if (!signal.aborted && error.name !== "AbortError") view.append(alert(error));
  }
}

function askForKey(message) {
  const element = form({
    className: "fields",
    fields: [
      { name: "id", label: "Key id", autocomplete: "username", required: true },
      { name: "secret", label: "Secret", type: "password", autocomplete: "current-password", required: true },
    ],
    action: "Sign in",
    submit: async ({ id, secret }) => {
      if (!id || !secret) throw new Error("Enter the id and the secret of the key.");
      await signIn(id, secret);
      // The pages show data of another key: reloading removes it.
      if (before && before !== id) {
        session.dispatchEvent(new Event("replaced"));
        return location.reload();
      }
      element.reset();
      frame();
      say(`Signed in as ${id}.`);
      await show();
    },
  });
  at("sign-in-form").replaceChildren(...(message ? [alert(message)] : []), element);
  document.title = "Sign in – mPulse";
  frame();
  show();
  element.querySelector("input").focus();
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

session.addEventListener("expired", ({ detail }) => askForKey(detail));

function leave() {
  signOut();
  askForKey();
  // Reloading removes the key's data from the pages.
  location.replace("/admin/");
}

// Signs in with the key that this tab has stored, if there is one.
async function start() {
  try {
    if (!(await resume())) return askForKey();
  } catch (error) {
    if (error.status === 401) return askForKey(error.message);
    at("view").replaceChildren(h("section", { class: "card narrow" }, h("h1", { tabindex: -1 }, "Signing in"), alert(error),
      h("div", { class: "actions" }, busy("Retry", start), button("Sign out", leave))));
    return;
  }
  frame();
  await show();
}

at("sign-out").addEventListener("click", leave);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("page").focus();
});
addEventListener("hashchange", () => holder() && show());
await start();
