// @ts-check
/**
 * Measures what a limiter costs a server, end to end: `npm run bench -- http`, `npm run bench -- http --rounds 3`.
 *
 * Compares three servers: bare, with this library, and with the framework's usual limiter. Each runs in its own
 * process, on one Redis, under the same load from another process. They take turns in every round, in random order. The
 * result is the median of each round's ratio to the bare server.
 */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { ensurePackages } from '../scripts/bootstrap.mjs';
import { build } from '../scripts/build.mjs';
import { ensureRedisServer } from '../scripts/redis-server.mjs';
import { startRedis } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { ensurePeers } from './install.mjs';
import { align, median } from './report.mjs';
import { servers } from './servers/index.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    connections: { type: 'string', default: '64' },
    ms: { type: 'string', default: '1000' },
  },
});
const [rounds, connections, ms] = [values.rounds, values.connections, values.ms].map((given) => {
  const number = Number(given);
  if (!Number.isSafeInteger(number) || number < 1) {
    throw new Error(`must be a whole number from 1 on, got ${given}`);
  }
  return number;
});
/** Warm-up of each server before the first round, so that its code is compiled. */
const WARM_UP_MS = 2_000;

ensurePackages();
await build();
ensureRedisServer();
ensurePeers();

const redis = await startRedis();
const load = startChild(new URL('http.load.mjs', import.meta.url), 'load');
const runners = servers.map((server) => ({
  ...server,
  child: startChild(new URL('http.worker.mjs', import.meta.url), server.name),
  port: 0,
  /** @type {{ perSecond: number, cpuUs: number, p50Ms: number, p99Ms: number }[]} */
  samples: [],
}));
let failed = 0;
console.log(
  `${connections} connections, ${rounds} rounds of ${ms} ms for each of ${servers.length} servers; ` +
    `Node ${process.versions.node}, ${os.cpus().length} cores, load ${os.loadavg()[0]?.toFixed(1)}`,
);
try {
  for (const [db, runner] of runners.entries()) {
    const { child, module, limiter } = runner;
    runner.port = await child.ask({ kind: 'open', module, limiter, db, redisPort: redis.port });
    await load.ask({ port: runner.port, connections, ms: WARM_UP_MS });
  }
  for (let round = 0; round < Number(rounds); round++) {
    const order = runners.toSorted(() => Math.random() - 0.5);
    for (const { child, port, samples } of order) {
      const before = await child.ask({ kind: 'cpu' });
      const startedAt = performance.now();
      const { total, p50Ms, p99Ms, failed: wrong } = await load.ask({ port, connections, ms });
      const seconds = (performance.now() - startedAt) / 1_000;
      const cpu = (await child.ask({ kind: 'cpu' })) - before;
      failed += wrong;
      samples.push({ perSecond: total / seconds, cpuUs: cpu / total, p50Ms, p99Ms });
    }
  }
} finally {
  await Promise.all([load.close(), ...runners.map(({ child }) => child.close())]);
  await redis.close();
}

const table = [
  ['', 'requests/s', 'CPU us/request', 'p50 ms', 'p99 ms', 'kept of bare', 'CPU of bare'],
];
for (const { name, framework, limiter, samples } of runners) {
  const bare = runners.find((each) => each.framework === framework && each.limiter === 'bare');
  /** @param {'perSecond' | 'cpuUs'} key */
  const ratio = (key) =>
    median(samples.map((sample, round) => sample[key] / (bare?.samples[round]?.[key] ?? NaN)));
  table.push([
    limiter === 'bare' ? `${name}, bare` : `${framework} + ${name}`,
    median(samples.map(({ perSecond }) => perSecond)).toFixed(0),
    median(samples.map(({ cpuUs }) => cpuUs)).toFixed(1),
    median(samples.map(({ p50Ms }) => p50Ms)).toFixed(1),
    median(samples.map(({ p99Ms }) => p99Ms)).toFixed(1),
    `${ratio('perSecond').toFixed(2)}x`,
    `${ratio('cpuUs').toFixed(2)}x`,
  ]);
}
console.log(`\nmedians; ratios are medians of each round's; load ${os.loadavg()[0]?.toFixed(1)}`);
console.log(align(table));
if (failed > 0) {
  console.error(`${failed} requests failed or were refused: the figures are invalid.`);
  process.exitCode = 1;
}
