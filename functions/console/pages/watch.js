// A live view of a batch: its progress, the outcomes of its rows, and its rate.

import { batch as at, call, mayPass } from "./api.js";
import { bytes, count, dollars, duration, facts, h, hitch, pause, plural, say, table } from "./dom.js";

// The time between two polls: while the page is visible, while it is hidden, and after an error.
const SEEN_MILLIS = 700;
const UNSEEN_MILLIS = 4000;
const FAULT_MILLIS = 2000;
// Points of the chart.
const POINTS = 120;

// The outcomes of rows, and of members who are not in the file: their meaning, and their sign in a plan.
const OUTCOMES = [
  ["created", "new members", "+"],
  ["updated", "changed members", "~"],
  ["removed", "members who are gone", "−"],
  ["unchanged", "equal to the stored member", "="],
  ["superseded", "older than a saved change", ""],
  ["rejected", "invalid rows", "!"],
  ["absent", "members who are not in the file", ""],
];
// Shown only if there are some: they belong to some modes, or are rare in a plan.
const RARE = { plan: ["superseded", "absent", "removed"], batch: ["removed", "absent"] };

const STATUS = {
  awaiting_upload: "waiting for its file",
  queued: "queued",
  processing: "processing",
  completed: "completed",
  completed_with_rejects: "completed with rejected rows",
  failed: "failed",
  cancelling: "cancelling",
  cancelled: "cancelled",
  expired: "expired: no file arrived",
};

export const status = (batch) => h("span", { class: `status ${batch.status}` }, STATUS[batch.status] ?? batch.status);
export const hasEnded = (batch) => batch.finished_at !== null || ["expired", "cancelled"].includes(batch.status);

// Seconds of processing, so far or in total.
export function seconds(batch) {
  if (!batch.started_at) return null;
  const end = batch.finished_at ? Date.parse(batch.finished_at) : Date.now();
  return (end - Date.parse(batch.started_at)) / 1000;
}

// Rows per second as measured by this page, by batch, so that a page that is reopened shows its chart again.
const seen = new Map();

function take(batch) {
  const points = seen.get(batch.batch_id) ?? [];
  seen.set(batch.batch_id, points);
  const now = performance.now();
  const before = points.at(-1);
  if (before && before.read === batch.rows.read && hasEnded(batch)) return points;
  // Another part of the page polls the batch too.
  if (before && now - before.at < SEEN_MILLIS / 2) return points;
  const rate = before ? ((batch.rows.read - before.read) * 1000) / (now - before.at) : 0;
  points.push({ at: now, read: batch.rows.read, rate: Math.max(0, rate) });
  if (points.length > POINTS) points.shift();
  return points;
}

const SVG = "http://www.w3.org/2000/svg";

function chart() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 300 60");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const area = document.createElementNS(SVG, "path");
  svg.append(area);
  const caption = h("figcaption");
  const figure = h("figure", { class: "chart", hidden: true }, svg, caption);
  return {
    figure,
    draw(points) {
      const most = Math.max(...points.map(({ rate }) => rate));
      figure.hidden = points.length < 3 || most === 0;
      if (figure.hidden) return;
      const x = (at) => ((at - points[0].at) / (points.at(-1).at - points[0].at)) * 300;
      const y = (rate) => 58 - (rate / most) * 54;
      const line = points.map(({ at, rate }) => `L${x(at).toFixed(1)} ${y(rate).toFixed(1)}`).join("");
      area.setAttribute("d", `M0 60${line}L300 60Z`);
      const words = `Rows per second over the last ${duration((points.at(-1).at - points[0].at) / 1000)}; at most ${count(Math.round(most))}`;
      svg.setAttribute("aria-label", words);
      caption.textContent = words;
    },
  };
}

const units = ({ read_units, write_units }) => `${count(read_units)} and ${count(write_units)}`;

// The view of a batch, drawn once and then updated in place.
export function view() {
  const bar = h("progress", { max: 100, value: 0, "aria-label": "Processed" });
  const line = h("p", { class: "progress-line" });
  const badge = h("span");
  const counts = h("div", { class: "outcomes" });
  const graph = chart();
  const more = h("div");
  const problem = h("div");
  const warnings = h("div");
  const element = h("div", { class: "watch" }, h("p", null, badge), problem, bar, line, counts, warnings, graph.figure, more);
  let announced = null;
  return {
    element,
    draw(batch) {
      const { rows } = batch;
      const ended = hasEnded(batch);
      if (announced !== batch.status) say(`The batch is ${STATUS[batch.status]}.`);
      announced = batch.status;
      badge.replaceChildren(status(batch));
      bar.hidden = !batch.started_at;
      bar.value = batch.bytes.percent;
      const words = [];
      if (batch.started_at) {
        words.push(`${batch.bytes.percent} %`, plural(rows.read, "row"));
        if (batch.bytes.total !== null) words.push(`${bytes(batch.bytes.done)} of ${bytes(batch.bytes.total)}`);
        if (batch.rows_per_second) words.push(`${count(batch.rows_per_second)} rows per second`);
        if (!ended && batch.eta_seconds) words.push(`about ${duration(batch.eta_seconds)} left`);
        if (ended) words.push(`took ${duration(seconds(batch))}`);
      }
      line.textContent = words.join(" · ");
      const rare = RARE[batch.dry_run ? "plan" : "batch"];
      const outcomes = OUTCOMES.filter(([name]) => rows[name] || !rare.includes(name) || (name === "removed" && batch.mode === "replace"));
      counts.replaceChildren(...(batch.started_at ? outcomes.map(([name, meaning, sign]) => h("div", { class: rows[name] ? name : null },
        h("b", null, batch.dry_run && sign ? `${sign} ${count(rows[name])}` : count(rows[name])), h("span", null, name), h("small", null, meaning))) : []));
      graph.draw(take(batch));
      problem.replaceChildren(...(batch.problem
        ? [h("p", { class: batch.status === "failed" ? "alert" : "note" }, batch.problem.message)] : []));
      warnings.replaceChildren(batch.warnings?.length
        ? table("Warnings", ["Rows", "Warning", "First line"], batch.warnings.map((one) => [count(one.count), one.message, one.line && count(one.line)])) : "");
      more.replaceChildren(batch.started_at ? facts([
        ["Attempts", count(batch.attempts)],
        ["Throttled requests", count(batch.throttles)],
        ["Read and write units", units(batch.capacity)],
        batch.dry_run && ["Units if applied", units(batch.predicted_capacity)],
        [batch.dry_run ? "Cost if applied (list price)" : "Cost (list price)", dollars(batch.price.usd)],
        batch.ignored_columns.length > 0 && ["Ignored columns", batch.ignored_columns.join(", ")],
      ]) : "");
    },
  };
}

// Polls repeatedly. `poll` returns the milliseconds until the next poll, or null at the end. A broken connection says nothing about the
// batch, so polling continues.
export async function watch(signal, poll) {
  for (;;) {
    let wait;
    try {
      wait = await poll();
      hitch("");
    } catch (error) {
      if (error.name === "AbortError" || !mayPass(error)) throw error;
      hitch(`${error.message} Retrying.`);
      wait = FAULT_MILLIS;
    }
    if (wait === null) return;
    await pause(document.hidden ? Math.max(wait, UNSEEN_MILLIS) : wait, signal);
  }
}

// Polls a batch until it has ended, and passes it to `draw` each time. Returns the ended batch.
export async function follow(id, signal, draw) {
  let batch;
  await watch(signal, async () => {
    batch = await call(at(id), { signal });
    draw(batch);
    if (hasEnded(batch)) return null;
    return batch.status === "awaiting_upload" ? UNSEEN_MILLIS : SEEN_MILLIS;
  });
  return batch;
}
