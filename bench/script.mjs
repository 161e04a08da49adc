// @ts-check
/**
 * Measures what the decision script costs Redis, in microseconds of processor time per decision, without Node in the
 * figure: `node bench/script.mjs`. With several `--dist` the builds take turns, and a change to the script is judged by
 * the ratio to the first. Measures builds as they are.
 *
 * `script` is the time inside the script. `all` is all processor time of the server, with reading the command and
 * writing the reply.
 */
import { randomUUID } from 'node:crypto';
import { openResp, startRedis } from '../test/kit/servers/index.mjs';
import { readBuilds } from './builds.mjs';
import { importInternal, keyPrefixOf } from './internals.mjs';
import { makeIdentities } from './identities.mjs';
import { align, median } from './report.mjs';

const { builds, counts, isWanted } = readBuilds(
  `node bench/script.mjs [options]
  --dist DIR     a build to measure; may be given again (dist)
  --only A,B     only the cases whose names contain one of these
  --rounds N     (15)
  --calls N      script calls of each turn (250)
  --identities N (100000)`,
  { rounds: 15, calls: 250, identities: 100_000 },
);

const KEYS_OF_A_CALL = 128;
/** So large that nothing is ever refused, and that every charge is kept for the whole run. */
const PLENTY = 500_000_000;
/** One unit recovers in 600 ms. */
const SLOW = /** @type {const} */ ({ rate: 100, period: '1m', burst: PLENTY });
/** More refusals than any identity of a run gets. */
const BAN = /** @type {const} */ ({ after: 100, within: '1h', for: '1h' });
/** Charging this many units keeps an identity in Redis for the whole run. */
const KEPT = 1_700;

/** @typedef {typeof import('../dist/index.js')} Library */
/** @typedef {import('../dist/index.js').Limit} Limit */
/** @typedef {'allow' | 'peek' | 'acquire' | 'reserve'} Verb */

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {(library: Library) => Limit[]} limits
 * @property {Verb} [verb] default: allow
 * @property {number} [identities] fewer than all: entries of a call share keys
 * @property {number} [organizations] each entry has a second home, its organization's
 * @property {number} [entries] of a call
 * @property {true} [blocks] whether blocks are read
 * @property {'absent' | 'exhausted'} [state] of the keys; default: present and within the limit
 * @property {'first' | 'next'} [linear] the first of several cases with ever more limits, and those that follow it
 */

/** @type {(library: Library) => Limit[]} */
const slow = ({ tokenBucket }) => [tokenBucket(SLOW)];

/** @type {readonly Case[]} */
const all = [
  { name: 'token bucket', limits: slow },
  { name: 'token bucket, absent keys', limits: slow, state: 'absent' },
  {
    name: 'token bucket, exhausted',
    limits: ({ tokenBucket }) => [tokenBucket({ rate: 1, period: '1h', burst: 1 })],
    state: 'exhausted',
  },
  { name: 'token bucket with blocks', limits: slow, blocks: true, entries: 64 },
  {
    name: 'token bucket with a ban',
    limits: ({ tokenBucket }) => [tokenBucket({ ...SLOW, ban: BAN })],
    blocks: true,
    entries: 64,
  },
  {
    name: 'token bucket with a ban, refused and counted',
    limits: ({ tokenBucket }) => [tokenBucket({ rate: 1, period: '1h', burst: 1, ban: BAN })],
    state: 'exhausted',
    blocks: true,
    entries: 64,
  },
  {
    name: 'token bucket, 7 per 60 s',
    limits: ({ tokenBucket }) => [tokenBucket({ rate: 7, period: '60s', burst: 10_000_000 })],
  },
  { name: 'token bucket, peek', limits: slow, verb: 'peek' },
  { name: 'token bucket, reserve', limits: slow, verb: 'reserve', entries: 64 },
  {
    name: 'sliding window',
    limits: ({ slidingWindow }) => [slidingWindow({ rate: PLENTY, period: '1h' })],
  },
  {
    name: 'sliding window log',
    limits: ({ slidingWindowLog }) => [slidingWindowLog({ rate: PLENTY, period: '1h' })],
  },
  {
    name: 'fixed window',
    limits: ({ fixedWindow }) => [fixedWindow({ rate: PLENTY, period: '1h' })],
  },
  {
    name: 'fixed window, month',
    limits: ({ fixedWindow }) => [fixedWindow({ rate: PLENTY, period: 'month' })],
  },
  {
    name: 'concurrency, acquire',
    limits: ({ concurrency }) => [concurrency({ max: 100_000, ttl: '24h' })],
    verb: 'acquire',
  },
  {
    name: 'token bucket, 28 of 128 keys again',
    limits: slow,
    identities: 100,
  },
  {
    name: 'by user and by organization',
    limits: ({ tokenBucket }) => [
      tokenBucket({ name: 'user', by: ['org', 'user'], ...SLOW }),
      tokenBucket({ name: 'org', by: 'org', ...SLOW }),
    ],
    organizations: 20,
  },
  {
    name: 'by user and organization, with units',
    limits: ({ tokenBucket, fixedWindow }) => [
      tokenBucket({ name: 'calls', by: ['org', 'user'], ...SLOW }),
      tokenBucket({ name: 'tokens', by: ['org', 'user'], unit: 'tokens', ...SLOW }),
      fixedWindow({ name: 'budget', by: 'org', unit: 'tokens', rate: PLENTY, period: 'month' }),
    ],
    organizations: 20,
  },
  // A shadow, so that one limit takes the same path through the script as several.
  { name: '1 limit', limits: buckets(1, true), linear: 'first' },
  { name: '2 limits', limits: buckets(2, true), linear: 'next' },
  { name: '4 limits', limits: buckets(4, true), linear: 'next' },
  { name: '8 limits', limits: buckets(8, true), linear: 'next' },
  { name: '4 limits, enforced', limits: buckets(4, false) },
  {
    name: '4 limits, an algorithm each',
    limits: ({ tokenBucket, slidingWindow, slidingWindowLog, fixedWindow }) => [
      tokenBucket({ name: 'a', ...SLOW }),
      slidingWindow({ name: 'b', rate: PLENTY, period: '1h' }),
      slidingWindowLog({ name: 'c', rate: PLENTY, period: '1h' }),
      fixedWindow({ name: 'd', rate: PLENTY, period: 'month' }),
    ],
  },
  { name: '1 key, 256 entries', limits: slow, identities: 1, entries: 256 },
  { name: '1 key, 1 entry', limits: slow, entries: 1 },
];
const cases = all.filter(({ name }) => isWanted(name));

/** @param {Error} error */
function fail(error) {
  throw error;
}

/**
 * @param {number} many
 * @param {boolean} shadow
 * @returns {(library: Library) => Limit[]}
 */
function buckets(many, shadow) {
  return ({ tokenBucket }) =>
    Array.from({ length: many }, (_, i) => tokenBucket({ name: `limit-${i}`, shadow, ...SLOW }));
}

const redis = await startRedis();
const connection = await openResp({ host: '127.0.0.1', port: redis.port });
const identities = makeIdentities(Number(counts['identities']));

/**
 * Script calls, ready to be sent.
 *
 * @param {string} url of a build
 * @param {string} namespace
 * @param {Case} measured
 */
async function prepare(url, namespace, measured) {
  const { limits, verb = 'allow', entries, state } = measured;
  /** @type {Library} */
  const library = await import(`${url}/index.js`);
  /** @type {typeof import('../dist/limiter/limit-set.js')} */
  const { LimitSet } = await importInternal(url, 'limiter/limit-set.js');
  /** @type {typeof import('../dist/stores/encode.js')} */
  const { encodeCalls } = await import(`${url}/stores/encode.js`);
  /** @type {typeof import('../dist/stores/redis.js')} */
  const { decideBatch } = await import(`${url}/stores/redis.js`);
  const set = new LimitSet(namespace, limits(library), measured.blocks === true);
  const perCall = entries ?? Math.floor(KEYS_OF_A_CALL / set.limits.length);
  const oneKey = measured.identities === 1;
  const distinct = oneKey ? ['hot'] : identities.slice(0, measured.identities);
  const { organizations } = measured;
  const units = set.limits.some(({ unit }) => unit !== undefined)
    ? await importInternal(url, 'limiter/cost.js')
    : undefined;
  await connection.command('SCRIPT', 'LOAD', decideBatch.source.text);

  /** @param {string} prefix @param {string | undefined} identity @param {number} turn */
  const homesOf = (prefix, identity, turn) => {
    const key = `${prefix}${identity}`.padEnd(88, '0');
    return organizations === undefined
      ? { key }
      : { key, homes: [key, `${prefix}org${turn % organizations}`.padEnd(88, '0')] };
  };

  /**
   * @param {string} salt
   * @param {Verb} asked
   * @param {number} cost
   * @param {number} size
   */
  const calls = function* (salt, asked, cost, size) {
    const prefix = keyPrefixOf(set);
    const shape = set.shape(
      asked,
      units === undefined ? cost : new units.NamedCost({ calls: cost, tokens: cost }),
    );
    let settled = 0;
    const settle = () => (settled += 1);
    for (let at = 0; ; at += size) {
      const batch = Array.from({ length: size }, (_, i) => ({
        ...homesOf(`${prefix}${salt}`, distinct[(at + i) % distinct.length], at + i),
        shape,
        ...partOf(asked),
        timeoutMs: 0,
        maxInFlight: 0,
        replans: 0,
        settle,
        fail,
      }));
      // Without the bound on the work of a script call, which a batch of logs exceeds.
      const { keys, args, taken } = encodeCalls(batch, 0, Infinity);
      if (taken !== size) throw new Error(`${taken} of ${size} calls were taken`);
      yield {
        command: ['EVALSHA', decideBatch.source.sha1, String(keys.length), ...keys, ...args],
        /** @param {unknown} reply */
        check: (reply) => {
          settled = 0;
          decideBatch.settle(batch, reply, 0);
          if (settled !== size) throw new Error(`${settled} of ${size} calls were settled`);
        },
      };
    }
  };

  if (state !== 'absent') {
    const fill = state === 'exhausted' ? 1 : KEPT;
    const many = Math.ceil(distinct.length / perCall);
    await send(
      take(calls('', verb === 'acquire' ? verb : 'allow', fill, oneKey ? 1 : perCall), many),
    );
  }
  const source = calls(state === 'absent' ? `${Math.random()}` : '', verb, 1, perCall);
  const prepared = take(source, counts['calls'] ?? 0);
  return { prepared, decisions: prepared.length * perCall, absent: state === 'absent' };
}

/** Arguments that an entry needs beside its shape. @param {Verb} verb */
function partOf(verb) {
  if (verb === 'acquire') return { details: [randomUUID()] };
  // Ten seconds, in milliseconds, the script's own unit.
  if (verb === 'reserve') return { record: `#r:${randomUUID()}`, details: ['10000'] };
  return {};
}

/** @typedef {{ command: string[], check: (reply: unknown) => void }} ScriptCall */

/**
 * @param {Iterable<ScriptCall>} commands
 * @param {number} many
 */
function take(commands, many) {
  /** @type {ScriptCall[]} */
  const taken = [];
  for (const command of commands) {
    taken.push(command);
    if (taken.length === many) break;
  }
  return taken;
}

/** @param {readonly ScriptCall[]} calls */
async function send(calls) {
  const AT_ONCE = 4;
  for (let at = 0; at < calls.length; at += AT_ONCE) {
    await Promise.all(
      calls.slice(at, at + AT_ONCE).map(async ({ command, check }) => {
        check(await connection.command(...command));
      }),
    );
  }
}

async function serverTimes() {
  const stats = await redis.commandStats();
  return { script: stats['evalsha']?.usec ?? 0, all: await redis.cpuMicros() };
}

/** @typedef {{ script: number, all: number }} Times of one decision, in microseconds */

console.log(
  `${builds.length} builds, ${cases.length} cases, ${counts['rounds']} rounds of ${counts['calls']} calls`,
);
try {
  const results = [];
  for (const measured of cases) {
    await redis.command('FLUSHALL');
    const subjects = [];
    for (const [index, { name, url }] of builds.entries()) {
      subjects.push({
        name,
        turn: await prepare(url, `bench${index}`, measured),
        /** @type {Times[]} */
        samples: [],
      });
    }
    for (let round = 0; round < (counts['rounds'] ?? 0); round++) {
      const order = round % 2 === 0 ? subjects : subjects.toReversed();
      for (const { turn, samples } of order) {
        if (turn.absent) await redis.command('FLUSHALL');
        const before = await serverTimes();
        await send(turn.prepared);
        const after = await serverTimes();
        samples.push({
          script: (after.script - before.script) / turn.decisions,
          all: (after.all - before.all) / turn.decisions,
        });
      }
    }
    results.push({ name: measured.name, linear: measured.linear, subjects });
  }

  const table = [
    ['us per decision', 'build', 'script', 'all', 'script ratio', 'all ratio', 'x 1 limit'],
  ];
  /** Cost of one limit, by build. @type {number[]} */
  let one = [];
  for (const { name, linear, subjects } of results) {
    if (linear === 'first') {
      one = subjects.map(({ samples }) => median(samples.map(({ script }) => script)));
    }
    for (const [index, subject] of subjects.entries()) {
      const first = subjects[0]?.samples ?? [];
      const times = (/** @type {keyof Times} */ key) => subject.samples.map((each) => each[key]);
      const ratio = (/** @type {keyof Times} */ key) =>
        index === 0
          ? ''
          : median(times(key).map((time, i) => time / (first[i]?.[key] ?? Number.NaN))).toFixed(3);
      table.push([
        index === 0 ? name : '',
        subject.name,
        median(times('script')).toFixed(2),
        median(times('all')).toFixed(2),
        ratio('script'),
        ratio('all'),
        linear === undefined
          ? ''
          : (median(times('script')) / (one[index] ?? Number.NaN)).toFixed(2),
      ]);
    }
  }
  console.log(align(table));
} finally {
  connection.close();
  await redis.close();
}
