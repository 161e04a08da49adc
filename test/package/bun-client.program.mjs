// @ts-check
/** Runs the cases in Bun, in a project with the packed package. Prints `[{ name, error }]` as JSON, and ends by itself. */
import process from 'node:process';
import { casesOf } from './bun-client.cases.mjs';

const { url, port, pid, settings } = JSON.parse(process.argv[2] ?? '');
const [core, testing, bun] = await Promise.all(
  ['distributed-rate-limiter', 'distributed-rate-limiter/testing', 'bun'].map(
    (name) => import(name),
  ),
);
const relay = await testing.startRelay({ host: '127.0.0.1', port });
const given = { core, testing, relay, url, pid, settings, RedisClient: bun.RedisClient };
/** @type {{ name: string, error?: string }[]} */
const outcomes = [];
for (const { name, run } of casesOf(given)) {
  try {
    await run();
    outcomes.push({ name });
  } catch (error) {
    outcomes.push({ name, error: error instanceof Error ? String(error.stack) : String(error) });
  }
}
await relay.close();
console.log(JSON.stringify(outcomes));
process.exit();
