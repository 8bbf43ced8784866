// The key that is signed in, and calls to the API with it. The secret is kept in this tab's
// sessionStorage and goes nowhere but into the Authorization header of this API.

const STORE = "mpulse-key";
const ROLES = ["reader", "writer", "admin"];

let key = null;
let header = null;

// A refusal in the server's words; `fields` holds what it says of single fields.
export class Problem extends Error {
  constructor(status, body = {}) {
    const words = body.detail ?? body.message ?? `The registry answered ${status}.`;
    // The gateway's own have no full stop.
    super(/[.!?]$/.test(words) ? words : `${words}.`);
    this.status = status;
    this.fields = body.errors ?? [];
  }
}

// Whether an error may pass by itself: a cut connection, a service that can't just now.
export const mayPass = (error) => !error.status || error.status >= 500 || error.status === 429;

// What became of the session: "expired" when a key that opened stops opening, "replaced" when
// another key signs in where one was.
export const session = new EventTarget();

export const holder = () => key;
export const may = (role) => key !== null && ROLES.indexOf(key.role) >= ROLES.indexOf(role);

// Holds the id and secret against the registry, and keeps them if they open it.
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

// Signs in again after a reload; tells whether there was a key. It is kept where the registry
// can't tell for now whether it opens.
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

// The same, with the answer's headers.
export async function answer(path, { method = "GET", body, headers = {}, signal } = {}) {
  const mine = header;
  const sent = { accept: "application/json", authorization: mine, ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  let response, content;
  try {
    // Without credentials of the browser's own, a 401 opens no dialog of its own either.
    response = await fetch(path, {
      method, headers: sent, signal, credentials: "omit", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    content = await (isJson(response) ? response.json() : response.text());
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The registry can’t be reached." });
  }
  if (response.ok) return { body: content, headers: response.headers };
  const problem = new Problem(response.status, isJson(response) ? content : {});
  // Not where the answer is to a key that was signed in before.
  if (response.status === 401 && key && mine === header) {
    signOut();
    session.dispatchEvent(new CustomEvent("expired", { detail: problem.message }));
  }
  throw problem;
}

const isJson = (response) => /json/.test(response.headers.get("content-type"));

// A link of the API as a path: the page may know the registry by another name.
export function path(url) {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

export const member = (id) => `/api/members/${encodeURIComponent(id)}`;
export const batch = (id, tail = "") => `/api/members/batch/${encodeURIComponent(id)}${tail}`;
