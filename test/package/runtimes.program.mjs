// @ts-check
/**
 * The program that each runtime runs, in a project with the packed package. It imports and requires every entry, and
 * uses a limiter in memory and one on a real Redis by URL. It prints its results as JSON, and must then end by itself.
 */
import { createRequire } from 'node:module';
import process from 'node:process';

const { entries, redis } = JSON.parse(process.argv[2] ?? '');
const require = createRequire(import.meta.url);

/** @type {Record<string, string>} */
const imported = {};
/** @type {Record<string, string>} */
const required = {};
for (const entry of entries) {
  imported[entry] = Object.keys(await import(entry))
    .sort()
    .join();
  // `require` of a module with a default export has the mark `__esModule` beside it.
  required[entry] = Object.keys(require(entry))
    .filter((name) => name !== '__esModule')
    .sort()
    .join();
}

/** @type {typeof import('../../src/index.ts')} */
const { MemoryStore, RateLimiter } = await import(entries[0]);

/** @param {import('../../src/index.ts').RateLimiter} limiter */
async function allowed100(limiter) {
  const decisions = await Promise.all(Array.from({ length: 100 }, () => limiter.allow('user:1')));
  const answer = {
    allowed: decisions.filter(({ allowed }) => allowed).length,
    degraded: decisions.filter(({ degraded }) => degraded).length,
    inOrder: decisions
      .slice(0, 30)
      .every(({ allowed, remaining }, i) => allowed && remaining === 29 - i),
  };
  await limiter.close();
  return answer;
}

const numbers = /** @type {const} */ ({ rate: 30, period: '1h' });
const memory = await allowed100(new RateLimiter({ ...numbers, store: new MemoryStore() }));
const remote = new RateLimiter({
  ...numbers,
  redis,
  namespace: `runtime-${process.pid}`,
  timeoutMs: 5_000,
});
await remote.ready();
console.log(JSON.stringify({ imported, required, memory, redis: await allowed100(remote) }));
