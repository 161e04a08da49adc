// @ts-check
/**
 * Measures decisions without a call to Redis, beside calls that ask and beside other libraries: the last part of
 * `npm run local`. Each subject runs in its own process, on its own database. All take turns in every round, in random
 * order; a figure is the median over the rounds.
 */
import { startRedis } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { median } from './report.mjs';
import { localPeers, peers } from './subjects/index.mjs';
import { shareOfFirst } from './zipf.mjs';

const IN_FLIGHT = 64;
const IDENTITIES = 100_000;
const WARM_UP_MS = 1_000;
const LOCAL = { prepay: true, denyCache: true };

const OTHERS = [...peers, ...localPeers].map(({ name, module, autoPipelining = false }) => ({
  name,
  module,
  autoPipelining,
}));

/** @typedef {import('./load.mjs').LoadResult & { perDecision: number }} Sample */

/** Units per second that no process asks for, and that recover fast enough to be prepaid. */
const PLENTY = { rate: 60_000_000, period: '1m' };

/**
 * One identity, in one process: prepaid, asking, and each other library.
 *
 * @param {{ rounds: number, ms: number }} turns
 */
export async function hotIdentity(turns) {
  return measured(turns, 'hot', [
    { name: 'prepaid', limit: PLENTY, local: LOCAL },
    { name: 'asking', limit: PLENTY, local: {} },
    ...OTHERS,
  ]);
}

/**
 * 100,000 identities whose frequencies are as 1, 1/2, 1/3, and so on. The most frequent one uses half of its limit; a
 * first run tells what that is.
 *
 * @param {{ rounds: number, ms: number }} turns
 */
export async function zipfTraffic(turns) {
  const [first] = await measured({ ...turns, rounds: 1 }, 'zipf', [
    { name: 'prepaid', limit: PLENTY, local: LOCAL },
  ]);
  const hottest = Number(first?.perSecond) * shareOfFirst(IDENTITIES);
  const limit = { rate: Math.ceil(2 * 60 * hottest), period: '1m' };
  return measured(turns, 'zipf', [
    { name: 'prepaid', limit, local: LOCAL },
    { name: 'asking', limit, local: {} },
    ...OTHERS,
  ]);
}

/**
 * Identities that have nothing left, in one process.
 *
 * @param {{ rounds: number, ms: number }} turns
 */
export async function refusedIdentities(turns) {
  const limit = { rate: 10, period: '1m' };
  return measured(turns, 'refused', [
    { name: 'prepaid', limit, local: LOCAL },
    { name: 'asking', limit, local: {} },
  ]);
}

/** @type {readonly { name: string, limiter: import('./servers/index.mjs').OpenOptions['limiter'] }[]} */
const SERVERS = [
  { name: 'bare', limiter: 'bare' },
  { name: 'prepaid', limiter: 'local' },
  { name: 'asking', limiter: 'ours' },
  { name: '@fastify/rate-limit', limiter: 'own' },
];

/**
 * A Fastify server, whose callers are 100,000 by Zipf's law, or 10,000 in turn.
 *
 * @param {{ rounds: number, ms: number }} turns
 * @param {boolean} isZipf
 */
export async function fastifyServer({ rounds, ms }, isZipf) {
  const redis = await startRedis();
  const load = startChild(new URL('http.load.mjs', import.meta.url), 'load');
  const runners = SERVERS.map((server) => ({
    ...server,
    child: startChild(new URL('http.worker.mjs', import.meta.url), server.name),
    port: 0,
    /** @type {{ perSecond: number, cpuUs: number }[]} */
    samples: [],
  }));
  let failed = 0;
  try {
    for (const [db, runner] of runners.entries()) {
      const { child, limiter } = runner;
      const options = { module: 'fastify.mjs', limiter, db, redisPort: redis.port };
      runner.port = await child.ask({ kind: 'open', ...options });
      await load.ask({ port: runner.port, connections: IN_FLIGHT, ms: WARM_UP_MS, isZipf });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { child, port, samples } of runners.toSorted(() => Math.random() - 0.5)) {
        const before = await child.ask({ kind: 'cpu' });
        const from = performance.now();
        const told = await load.ask({ port, connections: IN_FLIGHT, ms, isZipf });
        const seconds = (performance.now() - from) / 1_000;
        const cpu = (await child.ask({ kind: 'cpu' })) - before;
        failed += told.failed;
        samples.push({ perSecond: told.total / seconds, cpuUs: cpu / told.total });
      }
    }
  } finally {
    await Promise.all([load.close(), ...runners.map(({ child }) => child.close())]);
    await redis.close();
  }
  if (failed > 0) throw new Error(`${failed} requests failed or were refused`);
  const bare = runners.find(({ limiter }) => limiter === 'bare');
  return runners.map(({ name, samples }) => {
    /** @param {'perSecond' | 'cpuUs'} key */
    const ofBare = (key) =>
      median(samples.map((sample, round) => sample[key] / Number(bare?.samples[round]?.[key])));
    return {
      name,
      perSecond: median(samples.map(({ perSecond }) => perSecond)),
      kept: ofBare('perSecond'),
      cpu: ofBare('cpuUs'),
    };
  });
}

/**
 * @param {{ rounds: number, ms: number }} turns
 * @param {'hot' | 'zipf' | 'refused'} traffic
 * @param {readonly { name: string, [option: string]: unknown }[]} subjects
 */
async function measured({ rounds, ms }, traffic, subjects) {
  const redis = await startRedis();
  const runners = subjects.map(({ name, ...options }) => ({
    name,
    options,
    child: startChild(new URL('local.worker.mjs', import.meta.url), name),
    /** @type {Sample[]} */
    samples: [],
  }));
  const load = { kind: 'load', traffic, identities: IDENTITIES, inFlight: IN_FLIGHT };
  try {
    for (const [db, { child, options }] of runners.entries()) {
      await child.ask({ kind: 'open', port: redis.port, db, ...options });
      await child.ask({ ...load, ms: WARM_UP_MS });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { child, samples } of runners.toSorted(() => Math.random() - 0.5)) {
        samples.push(await child.ask({ ...load, ms }));
      }
    }
  } finally {
    await Promise.all(runners.map(({ child }) => child.close()));
    await redis.close();
  }
  return runners.map(({ name, samples }) => ({
    name,
    perSecond: median(samples.map(({ perSecond }) => perSecond)),
    perDecision: median(samples.map(({ perDecision }) => perDecision)),
    nodeUs: median(samples.map(({ nodeUs }) => nodeUs)),
  }));
}
