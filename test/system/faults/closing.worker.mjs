// @ts-check
import { writeSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller } from './caller.mjs';
import { clients } from './clients.mjs';

/** Closes its limiter with calls in flight when told to, and must then end by itself. */
const [kind = '', url = '', ready] = process.argv.slice(2);
const client = clients[/** @type {keyof typeof clients} */ (kind)];
const { redis, close } = await client.open(url);
const caller = new Caller(redis, 'open');
if (ready !== 'true') caller.allowForOpening();
if (client.opensSlowly) caller.allowForTheFirstCall();
if (ready === 'true') await caller.limiter.ready();
await new Promise((resolve) => {
  process.once('message', resolve);
  process.send?.('prepared');
});
const pending = caller.burst(20);
await sleep(20);
const since = performance.now();
await Promise.all([caller.limiter.close(), caller.limiter.close()]);
const closeMs = performance.now() - since;
await pending;
caller.verify();
close();
const closed = performance.now();
process.once('exit', () => {
  const exitMs = performance.now() - closed;
  writeSync(1, JSON.stringify({ closeMs, boundMs: caller.boundMs, exitMs }));
});
process.disconnect();
