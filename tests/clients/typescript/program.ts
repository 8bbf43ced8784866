// Creates a member, finds it by its phone number, sends a roster to an upload URL, and waits for its counters.
// The types in mpulse.d.ts are what openapi-typescript makes of openapi.yaml. The variables API and KEY name the
// system and a key, as ID:SECRET.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import createClient from 'openapi-fetch';
import type { components, paths } from './mpulse.js';

type Batch = components['schemas']['Batch'];

const { API, KEY } = process.env;
assert(API && KEY, 'API and KEY must be set');

// Some operations have responses of other media types too, such as text/csv.
const client = createClient<paths, `application/${string}json`>({
  baseUrl: API,
  headers: { authorization: `Basic ${Buffer.from(KEY).toString('base64')}` },
});

const account = 'typescript';
const roster = `client_member_id,first_name,last_name,phone_number
1001,Zoë,Brien,(714) 555-0123
1002,Ann,Lee,+1 212 555 0188
1003,Bea,,212-555-0189
`;
const unended: Batch['status'][] = ['awaiting_upload', 'queued', 'processing', 'cancelling'];

/** Returns what an operation returned, unless it was a problem. */
function expect<T>({ data, error }: { data?: T; error?: unknown }): T {
  assert(data !== undefined, JSON.stringify(error));
  return data;
}

/** Creates, finds, changes and removes a member. */
async function members(): Promise<void> {
  const body = {
    account_id: account,
    client_member_id: '1001',
    first_name: 'Zoë',
    last_name: 'Brien',
    phone_number: '(714) 555-0123',
  };
  const created = expect(await client.POST('/api/members', { body }));
  assert.equal(created.phone_number, '+17145550123');
  const path = { id: created.id };

  const { error } = await client.POST('/api/members', { body });
  assert(error && 'status' in error && error.status === 409);

  const query = { ph: '714-555-0123', aid: account };
  const found = expect(await client.GET('/api/members', { params: { query } }));
  assert.deepEqual(found.results.map((member) => member.id), [created.id]);

  const change = { params: { path }, body: { first_name: 'Zoe' } };
  assert.equal(expect(await client.PATCH('/api/members/{id}', change)).first_name, 'Zoe');

  const removed = await client.DELETE('/api/members/{id}', { params: { path } });
  assert.equal(removed.response.status, 204);
}

/** Reads a batch until it has ended, for at most a minute. */
async function ended(id: string): Promise<Batch> {
  for (let poll = 0; ; poll += 1) {
    const batch = expect(await client.GET('/api/members/batch/{id}', { params: { path: { id } } }));
    if (!unended.includes(batch.status) || poll === 240) return batch;
    await sleep(250);
  }
}

/** Sends a file by its upload URL, and waits until it is processed. */
async function upload(): Promise<void> {
  const body = { file_name: 'roster.csv', account_id: account };
  const opened = expect(await client.POST('/api/members/batch', { body }));
  assert('upload' in opened && 'url' in opened.upload);
  const { method, url, headers } = opened.upload;
  const sent = await fetch(url, { method, body: roster, headers: { 'content-type': headers['content-type'] } });
  assert(sent.ok, await sent.text());

  const batch = await ended(opened.batch_id);
  assert.equal(batch.status, 'completed_with_rejects');
  const { read, created, rejected } = batch.rows;
  assert.deepEqual({ read, created, rejected }, { read: 3, created: 2, rejected: 1 });

  // A redirection would send the key to S3 as well.
  const path = { id: batch.batch_id };
  const report = expect(
    await client.GET('/api/members/batch/{id}/rejects', { params: { path }, headers: { accept: 'application/json' } }),
  );
  const text = await (await fetch(report.url)).text();
  assert(text.includes('1003,Bea'), text);
}

await members();
await upload();
console.log('typescript: created, found, changed and removed a member; a roster had 2 created and 1 rejected row');
