// @ts-check
import process from 'node:process';
import { RateLimiter } from 'distributed-rate-limiter';
import { clients } from './clients.mjs';

/** A process that calls when told to, like a function that its platform freezes between requests. */
const [kind = '', url = ''] = process.argv.slice(2);
const client = clients[/** @type {keyof typeof clients} */ (kind)];
const { redis, close } = await client.open(url);
const limiter = new RateLimiter({ redis, rate: 1_000, period: '1m', timeoutMs: 1_000 });
async function call() {
  const decisions = await Promise.all([limiter.allow('a'), limiter.allow('b')]);
  process.send?.(decisions.map(({ reason }) => reason));
}
async function end() {
  await limiter.close();
  close();
}
process.on('message', () => void call());
process.once('disconnect', () => void end());
process.send?.('started');
