// @ts-check
/**
 * How long one script call holds Redis, for the dearest mixes of limits, verbs and states: `node bench/bounds.mjs`. Each
 * queue of calls is cut into script calls as the library cuts it. No script call should take more than about 2 ms.
 *
 * `usec` is Redis's own measure of a script call (`commandstats`): the median and the greatest of all rounds. The
 * greatest contains what else the machine did meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { openResp, startRedis } from '../test/kit/servers/index.mjs';
import { readBuilds } from './builds.mjs';
import { importInternal, keyPrefixOf } from './internals.mjs';
import { align, median } from './report.mjs';

const { builds, counts } = readBuilds(
  `node bench/bounds.mjs [options]
  --dist DIR     a build to measure; may be given again (dist)
  --rounds N     (15)
  --entries N    of each log (10000)`,
  { rounds: 15, entries: 10_000 },
);
const ROUNDS = counts['rounds'] ?? 0;
const LOG_ENTRIES = counts['entries'] ?? 0;
/** Calls that wait in the queue: more than any script call takes. */
const QUEUE = 2_048;
const PLENTY = 500_000_000;

/** @typedef {typeof import('../dist/index.js')} Library */
/** @typedef {import('../dist/index.js').Limit} Limit */
/** @typedef {'allow' | 'peek' | 'up_to' | 'penalize' | 'refund' | 'reserve' | 'settle'} Verb */

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {(library: Library) => Limit[]} limits
 * @property {Verb} verb
 * @property {number} [units] 1 without it
 * @property {boolean} [distinct] each call is of an identity of its own; without it all are of one
 * @property {'full' | 'half'} [logs] each log holds this many entries before each round
 * @property {'oldest' | 'newest'} [mark] the entry of each log that the call is about
 */

/** @param {number} many @param {(library: Library, name: string) => Limit} make */
const several = (many, make) => (/** @type {Library} */ library) =>
  Array.from({ length: many }, (_, i) => make(library, `limit-${i}`));

/** @type {(library: Library, name: string) => Limit} */
const bucket = ({ tokenBucket }, name) =>
  tokenBucket({ name, rate: 7, period: '60s', burst: 10_000_000 });
/** @type {(library: Library, name: string) => Limit} */
const sliding = ({ slidingWindow }, name) => slidingWindow({ name, rate: PLENTY, period: '1h' });
/** @type {(library: Library, name: string) => Limit} */
const fixed = ({ fixedWindow }, name) => fixedWindow({ name, rate: PLENTY, period: 'month' });
/** @type {(library: Library, name: string) => Limit} */
const log = ({ slidingWindowLog }, name) => slidingWindowLog({ name, rate: PLENTY, period: '1d' });
/** @type {(library: Library, name: string) => Limit} */
const fullLog = ({ slidingWindowLog }, name) =>
  slidingWindowLog({ name, rate: LOG_ENTRIES, period: '1d' });

/** @type {readonly Case[]} */
const cases = [
  {
    name: '1 bucket, keys of their own',
    limits: several(1, bucket),
    verb: 'allow',
    distinct: true,
  },
  { name: '1 bucket, one key', limits: several(1, bucket), verb: 'allow' },
  { name: '1 bucket, one key, up to', limits: several(1, bucket), verb: 'up_to', units: 5 },
  { name: '8 buckets, one identity', limits: several(8, bucket), verb: 'allow' },
  { name: '8 buckets, one identity, up to', limits: several(8, bucket), verb: 'up_to', units: 5 },
  {
    name: '8 buckets, identities of their own',
    limits: several(8, bucket),
    verb: 'allow',
    distinct: true,
  },
  { name: '8 sliding windows, one identity', limits: several(8, sliding), verb: 'allow' },
  { name: '8 sliding windows, up to', limits: several(8, sliding), verb: 'up_to', units: 5 },
  { name: '8 months, one identity', limits: several(8, fixed), verb: 'allow' },
  { name: '8 months, up to', limits: several(8, fixed), verb: 'up_to', units: 5 },
  { name: '8 logs, one identity', limits: several(8, log), verb: 'allow' },
  { name: '8 logs, one identity, up to', limits: several(8, log), verb: 'up_to', units: 5 },
  {
    name: '8 logs, identities of their own',
    limits: several(8, log),
    verb: 'allow',
    distinct: true,
  },
  {
    name: '8 full logs, refused',
    limits: several(8, fullLog),
    verb: 'allow',
    logs: 'full',
    units: 2,
  },
  {
    name: '8 full logs, penalized',
    limits: several(8, fullLog),
    verb: 'penalize',
    logs: 'full',
    units: 2,
  },
  { name: '1 bucket, reserved', limits: several(1, bucket), verb: 'reserve', distinct: true },
  { name: '8 logs, reserved', limits: several(8, log), verb: 'reserve', distinct: true },
  {
    name: '1 full log, refund of the newest',
    limits: several(1, fullLog),
    verb: 'refund',
    logs: 'full',
    mark: 'newest',
  },
  {
    name: '1 full log, refund of the oldest',
    limits: several(1, fullLog),
    verb: 'refund',
    logs: 'full',
    mark: 'oldest',
  },
  {
    name: '8 full logs, refund of the oldest',
    limits: several(8, fullLog),
    verb: 'refund',
    logs: 'full',
    mark: 'oldest',
  },
];

const redis = await startRedis();
const connection = await openResp({ host: '127.0.0.1', port: redis.port });

/** @param {string} url of a build */
async function open(url) {
  /** @type {Library} */
  const library = await import(`${url}/index.js`);
  /** @type {typeof import('../dist/limiter/limit-set.js')} */
  const { LimitSet } = await importInternal(url, 'limiter/limit-set.js');
  /** @type {typeof import('../dist/stores/encode.js')} */
  const { encodeCalls } = await importInternal(url, 'stores/encode.js');
  /** @type {typeof import('../dist/stores/redis.js')} */
  const { decideBatch } = await importInternal(url, 'stores/redis.js');
  await connection.command('SCRIPT', 'LOAD', decideBatch.source.text);
  return { library, LimitSet, encodeCalls, source: decideBatch.source };
}

/** Fills a log as the library writes it. @param {string} key @param {number} entries @param {number} now in microseconds */
async function fillLog(key, entries, now) {
  const about = `~0:86400000000:0:${now}`;
  for (let at = 0; at < entries; at += 2_000) {
    const some = Array.from({ length: Math.min(2_000, entries - at) }, (_, i) => [
      String(now - (entries - at - i) * 1_000),
      `${at + i + 1}:1`,
    ]);
    await connection.command('ZADD', key, ...some.flat());
  }
  await connection.command('ZADD', key, String(2 ** 53), about);
}

/** @param {Awaited<ReturnType<typeof open>>} build @param {Case} measured */
function queueOf({ library, LimitSet }, measured) {
  const { limits, verb, units = 1, distinct = false } = measured;
  const set = new LimitSet('bench', limits(library), false);
  const shape = set.shape(verb, units);
  const prefix = keyPrefixOf(set);
  return {
    set,
    shape,
    make: (/** @type {readonly string[] | undefined} */ details) =>
      Array.from({ length: QUEUE }, (_, i) => ({
        key: `${prefix}${distinct ? i : 'hot'}`.padEnd(88, '0'),
        shape,
        ...(verb === 'reserve' ? { record: `#r:${randomUUID()}`, details: ['10000'] } : {}),
        ...(details === undefined ? {} : { details }),
        timeoutMs: 0,
        maxInFlight: 0,
        replans: 0,
        settle() {},
        fail() {},
      })),
  };
}

/** @param {Awaited<ReturnType<typeof open>>} build @param {Case} measured */
async function round(build, measured) {
  await redis.command('FLUSHALL');
  const { shape, make } = queueOf(build, measured);
  const [seconds, micros] = /** @type {[string, string]} */ (await connection.command('TIME'));
  const now = Number(seconds) * 1_000_000 + Number(micros);
  const first = make(undefined)[0];
  if (first === undefined) throw new Error('no call');
  if (measured.logs !== undefined) {
    for (const { suffix } of shape.rules) {
      await fillLog(suffix === '' ? first.key : `{${first.key}}${suffix}`, LOG_ENTRIES, now);
    }
  }
  const mark = String(now - (measured.mark === 'oldest' ? LOG_ENTRIES : 1) * 1_000);
  const queue = make(measured.verb === 'refund' ? shape.rules.map(() => mark) : undefined);
  const { keys, args, taken } = build.encodeCalls(queue, 0);
  const before = (await redis.commandStats())['evalsha']?.usec ?? 0;
  const reply = await connection.command(
    'EVALSHA',
    build.source.sha1,
    String(keys.length),
    ...keys,
    ...args,
  );
  const after = (await redis.commandStats())['evalsha']?.usec ?? 0;
  const failed = /** @type {unknown[]} */ (reply).find((value) => typeof value === 'string');
  if (failed !== undefined) throw new Error(`${measured.name}: ${failed}`);
  return { usec: after - before, taken };
}

try {
  const opened = [];
  for (const { name, url } of builds) opened.push({ name, build: await open(url) });
  const table = [['one script call', 'build', 'entries', 'usec', 'greatest', 'ratio']];
  for (const measured of cases) {
    const subjects = opened.map(({ name, build }) => ({
      name,
      build,
      taken: 0,
      /** @type {number[]} */
      samples: [],
    }));
    for (let i = 0; i < ROUNDS; i++) {
      for (const subject of i % 2 === 0 ? subjects : subjects.toReversed()) {
        const { usec, taken } = await round(subject.build, measured);
        subject.samples.push(usec);
        subject.taken = taken;
      }
    }
    const usual = median(subjects[0]?.samples ?? []);
    for (const [index, { name, samples, taken }] of subjects.entries()) {
      table.push([
        index === 0 ? measured.name : '',
        name,
        String(taken),
        median(samples).toFixed(0),
        Math.max(...samples).toFixed(0),
        index === 0 ? '' : (median(samples) / usual).toFixed(3),
      ]);
    }
  }
  console.log(align(table));
} finally {
  connection.close();
  await redis.close();
}
