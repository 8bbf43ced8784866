// The signed-in key, and calls to the API with it. The secret is stored in this tab's sessionStorage and sent
// only in the Authorization header of this API.

const STORE = "mpulse-key";
const ROLES = ["reader", "writer", "admin"];

let key = null;
let header = null;

// An error response with the server's message; `fields` has the errors of single fields.
export class Problem extends Error {
  constructor(status, body = {}) {
    const words = body.detail ?? body.message ?? `The registry responded with ${status}.`;
    // The gateway's own messages have no full stop.
    super(/[.!?]$/.test(words) ? words : `${words}.`);
    this.status = status;
    this.fields = body.errors ?? [];
  }
}

// Whether an error is temporary: a broken connection, or a busy service.
export const mayPass = (error) => !error.status || error.status >= 500 || error.status === 429;

// Events of the session: "expired" when the key becomes invalid, "replaced" when another key signs in.
export const session = new EventTarget();

export const holder = () => key;
export const may = (role) => key !== null && ROLES.indexOf(key.role) >= ROLES.indexOf(role);

// Checks the id and secret with the registry, and stores them if they are valid.
export async function signIn(id, secret) {
  const pair = new TextEncoder().encode(`${id}:${secret}`);
  header = `Basic ${btoa(String.fromCharCode(...pair))}`;
  try {
    key = await call(`/api/keys/${encodeURIComponent(id)}`);
  } catch (error) {
    key = header = null;
    throw error;
  }
  sessionStorage.setItem(STORE, JSON.stringify({ id, secret }));
}

// Signs in again after a reload. Returns whether there was a key. The key stays stored if the registry cannot be reached.
export async function resume() {
  const stored = JSON.parse(sessionStorage.getItem(STORE));
  if (!stored) return false;
  try {
    await signIn(stored.id, stored.secret);
  } catch (error) {
    if (error.status === 401) signOut();
    throw error;
  }
  return true;
}

export function signOut() {
  key = header = null;
  sessionStorage.removeItem(STORE);
}

// Calls the API. `body` is sent as JSON.
export async function call(path, options = {}) {
  return (await answer(path, options)).body;
}

// The same, with the response's headers.
export async function answer(path, { method = "GET", body, headers = {}, signal } = {}) {
  const mine = header;
  const sent = { accept: "application/json", authorization: mine, ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  let response, content;
  try {
    // Without the browser's own credentials, a 401 does not open the browser's sign-in dialog.
    response = await fetch(path, {
      method, headers: sent, signal, credentials: "omit", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    content = await (isJson(response) ? response.json() : response.text());
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The registry cannot be reached." });
  }
  if (response.ok) return { body: content, headers: response.headers };
  const problem = new Problem(response.status, isJson(response) ? content : {});
  // Not if the response belongs to a key that was signed in before.
  if (response.status === 401 && key && mine === header) {
    signOut();
    session.dispatchEvent(new CustomEvent("expired", { detail: problem.message }));
  }
  throw problem;
}

const isJson = (response) => /json/.test(response.headers.get("content-type"));

// A URL of the API as a path: the page may use another host name for the registry.
export function path(url) {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

export const member = (id) => `/api/members/${encodeURIComponent(id)}`;

// The public id of a member: the account, and the client's id with everything but letters, digits and .-_:@ encoded.
export function memberId(account, client) {
  const escaped = client.replace(/[~%]/g, (character) => (character === "~" ? "~7E" : "~25"));
  const encoded = encodeURIComponent(escaped).replace(/[!*'()]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return `${account}~${encoded.replaceAll("%3A", ":").replaceAll("%40", "@")}`;
}
export const batch = (id, tail = "") => `/api/members/batch/${encodeURIComponent(id)}${tail}`;
