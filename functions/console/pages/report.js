// Reports of a batch: links to them, and parts of them.

import { call } from "./api.js";
import { h } from "./dom.js";

// The URL of a report is valid a little longer.
const RENEWAL_MILLIS = 240_000;

// A link to a report, in another tab, because leaving this one would interrupt uploads. Its URL is renewed when it has expired.
export function report(text, api, { signal, fail, ...attributes }) {
  let renewed;
  const element = h("a", {
    target: "_blank", rel: "noopener", ...attributes,
    onclick: async (event) => {
      if (Date.now() - renewed < RENEWAL_MILLIS) return;
      event.preventDefault();
      try {
        await renew();
        element.click();
      } catch (error) {
        fail(error);
      }
    },
  }, text);
  const renew = async () => {
    element.href = (await call(api, { signal })).url;
    renewed = Date.now();
  };
  return { element, renew };
}

// A part of the report at a URL: a range of bytes. Returns null if it cannot be read.
export async function part(url, range, signal) {
  try {
    const response = await fetch(url, { signal, credentials: "omit", headers: { range: `bytes=${range}` } });
    return response.ok ? await response.blob() : null;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}
