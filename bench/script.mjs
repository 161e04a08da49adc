// @ts-check
/**
 * What the decision script costs Redis, in microseconds of its processor per decision, without Node in the figure:
 * `node bench/script.mjs`. With several `--dist` the builds take turns, so that a change to the script is judged by
 * the ratio to the first. Measures builds as they are.
 *
 * `script` is the time inside the script, `all` is all processor time of the server: reading the command, and writing
 * the reply, included.
 */
import { openResp, startRedis } from '../test/kit/index.mjs';
import { readBuilds } from './builds.mjs';
import { makeIdentities } from './identities.mjs';
import { align, median } from './report.mjs';

const { builds, counts } = readBuilds(
  `node bench/script.mjs [options]
  --dist DIR     a build to measure; may be given again (dist)
  --rounds N     (15)
  --calls N      script calls of each turn (250)`,
  { rounds: 15, calls: 250 },
);

const KEYS_OF_A_CALL = 128;
const IDENTITIES = 100_000;
/**
 * One unit comes back in 600 ms.
 * @type {import('../dist/index.js').TokenBucketOptions}
 */
const SLOW = { rate: 100, period: '1m', burst: 500_000_000 };
/** Units that keep an identity in Redis for the whole run. */
const KEPT = 1_700;

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {import('../dist/index.js').TokenBucketOptions[]} limits
 * @property {'allow' | 'peek'} [operation]
 * @property {number} [identities] 1: all entries of a call are on one key
 * @property {number} [entries] of a call
 * @property {'absent' | 'exhausted'} [state] of the keys; present and within the limit without it
 */

/** @type {readonly Case[]} */
const cases = [
  { name: '128 keys', limits: [SLOW] },
  { name: '128 absent keys', limits: [SLOW], state: 'absent' },
  {
    name: '128 exhausted keys',
    limits: [{ rate: 1, period: '1h', burst: 1 }],
    state: 'exhausted',
  },
  { name: '128 keys, 7 per 60 s', limits: [{ rate: 7, period: '60s', burst: 10_000_000 }] },
  { name: '128 keys, peek', limits: [SLOW], operation: 'peek' },
  { name: '64 x 2 limits', limits: named(2), entries: 64 },
  { name: '32 x 4 limits', limits: named(4), entries: 32 },
  { name: '1 key, 256 entries', limits: [SLOW], identities: 1, entries: 256 },
  { name: '1 key, 1 entry', limits: [SLOW], entries: 1 },
];

/** @param {Error} error */
function fail(error) {
  throw error;
}

/** @param {number} many */
function named(many) {
  return Array.from({ length: many }, (_, i) => ({ name: `limit-${i}`, ...SLOW }));
}

const redis = await startRedis();
const connection = await openResp({ host: '127.0.0.1', port: redis.port });
const identities = makeIdentities(IDENTITIES);

/**
 * Script calls, ready to be sent.
 *
 * @param {string} url of a build
 * @param {string} namespace
 * @param {Case} measured
 */
async function prepare(url, namespace, { limits, operation = 'allow', entries, state, ...of }) {
  /** @type {typeof import('../dist/index.js')} */
  const { tokenBucket } = await import(`${url}/index.js`);
  /** @type {typeof import('../dist/limit-set.js')} */
  const { LimitSet } = await import(`${url}/limit-set.js`);
  /** @type {typeof import('../dist/stores/redis.js')} */
  const { decideBatch } = await import(`${url}/stores/redis.js`);
  const set = new LimitSet(
    namespace,
    limits.map((limit) => tokenBucket(limit)),
  );
  const perCall = entries ?? KEYS_OF_A_CALL / limits.length;
  const oneKey = of.identities === 1;
  const distinct = oneKey ? ['hot'] : identities;
  await connection.command('SCRIPT', 'LOAD', decideBatch.source.text);

  /**
   * @param {string} salt
   * @param {'allow' | 'peek'} verb
   * @param {number} cost
   * @param {number} size
   */
  const calls = function* (salt, verb, cost, size) {
    const shape = set.shape(verb, cost);
    let settled = 0;
    const settle = () => (settled += 1);
    for (let at = 0; ; at += size) {
      const batch = Array.from({ length: size }, (_, i) => ({
        key: `${set.keyPrefix}${salt}${distinct[(at + i) % distinct.length]}`.padEnd(88, '0'),
        shape,
        timeoutMs: 0,
        maxInFlight: 0,
        settle,
        fail,
      }));
      const { keys, args, taken } = decideBatch.encode(batch, 0);
      if (taken !== size) throw new Error(`${taken} of ${size} calls were taken`);
      yield {
        command: ['EVALSHA', decideBatch.source.sha1, String(keys.length), ...keys, ...args],
        /** @param {unknown} reply */
        check: (reply) => {
          settled = 0;
          decideBatch.settle(batch, reply);
          if (settled !== size) throw new Error(`${settled} of ${size} calls were settled`);
        },
      };
    }
  };

  if (state !== 'absent') {
    const fill = state === 'exhausted' ? 1 : KEPT;
    const many = Math.ceil(distinct.length / perCall);
    await send(take(calls('', 'allow', fill, oneKey ? 1 : perCall), many));
  }
  const source = calls(state === 'absent' ? `${Math.random()}` : '', operation, 1, perCall);
  const prepared = take(source, counts['calls'] ?? 0);
  return { prepared, decisions: prepared.length * perCall, absent: state === 'absent' };
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
  for (const [place, measured] of cases.entries()) {
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
    results.push({ name: cases[place]?.name ?? '', subjects });
  }

  const table = [['us per decision', 'build', 'script', 'all', 'script ratio', 'all ratio']];
  for (const { name, subjects } of results) {
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
      ]);
    }
  }
  console.log(align(table));
} finally {
  connection.close();
  await redis.close();
}
