// @ts-check
/**
 * Measures on each server of scripts/servers.mjs what a decision costs in each way in which its script could run:
 * `node bench/ways.mjs`; names choose servers. All figures are processor time of the server's main thread, in
 * microseconds, by Linux's scheduler. In each round all rows of a server take turns. Beside a figure is its ratio to the
 * script as it is, in the same round.
 */
import { parseArgs } from 'node:util';
import { SERVERS, ensureServer, versionOf } from '../scripts/servers.mjs';
import { importInternal } from './internals.mjs';
import { identities, KEYS, MSETEX, sampleRows, SETS } from './main-thread.mjs';
import { align, median } from './report.mjs';
import { zipf } from './zipf.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, calls: { type: 'string' } },
});
const rounds = Number(values.rounds ?? 15);
const calls = Number(values.calls ?? 200);
const dist = new URL('../dist', import.meta.url).href;

/** @typedef {import('./main-thread.mjs').Row & { base?: string }} Row `base`: the row to which it is compared */
/** @typedef {import('./main-thread.mjs').Load} Load */
/** @typedef {import('./main-thread.mjs').Redis} Redis */

/** @typedef {(make: (keys: string[]) => string[]) => string[][]} Batching */

/** Batches of so many of the next identities of all in turn. @type {(size: number) => Batching} */
const inTurn = (size) => (make) =>
  Array.from({ length: size === 1 ? calls * 8 : calls }, (_, i) =>
    make(Array.from({ length: size }, (_each, k) => identities[(i * size + k) % 20_000] ?? '')),
  );

/** Batches of full size, of different identities, some of which are far more frequent than others. @type {(size: number) => Batching} */
const byFrequency = (size) => (make) => {
  const draw = zipf(identities);
  return Array.from({ length: calls }, () => {
    /** @type {Set<string>} */
    const keys = new Set();
    while (keys.size < size) keys.add(draw());
    return make([...keys]);
  });
};

/**
 * @typedef {object} Kind a kind of decisions
 * @property {string} name
 * @property {number} per keys of a script call
 * @property {(begin: readonly string[], prefix: string) => string[][]} commands that begin so, with keys that begin with
 *   `prefix`
 */

/** @returns {Promise<{ text: string, kinds: Kind[] }>} */
async function kindsOfDecisions() {
  const { tokenBucket, fixedWindow } = await import(`${dist}/index.js`);
  const { LimitSet } = await importInternal(dist, 'limiter/limit-set.js');
  const { encodeCalls } = await importInternal(dist, 'stores/encode.js');
  const { decideBatch } = await importInternal(dist, 'stores/redis.js');
  /**
   * @param {string} name
   * @param {unknown} limit
   * @param {number} [per]
   * @param {Batching} [batching]
   * @returns {Kind}
   */
  const kind = (name, limit, per = KEYS, batching = inTurn(per)) => {
    const shape = new LimitSet('bench', [limit], false).shape('allow', 1);
    return {
      name,
      per,
      commands: (begin, prefix) =>
        batching((keys) => {
          const entries = keys.map((key) => ({ key: prefix + key, shape, replans: 0 }));
          const encoded = encodeCalls(entries, 0, Infinity);
          return [...begin, String(encoded.keys.length), ...encoded.keys, ...encoded.args];
        }),
    };
  };
  // Nothing is refused, and keys expire at about the same time.
  const plenty = tokenBucket({ rate: 100, period: '1m', burst: 500_000_000 });
  const hourly = tokenBucket({ rate: 1000, period: '1h' });
  return {
    text: decideBatch.source.text,
    kinds: [
      kind('a decision, token bucket', plenty),
      kind('a decision, mixed expiries', hourly, KEYS, byFrequency(KEYS)),
      kind('a decision, mixed expiries, 32 in a call', hourly, 32, byFrequency(32)),
      kind('a decision, alone', plenty, 1),
      kind('a decision, fixed window', fixedWindow({ rate: 500_000_000, period: '1h' })),
    ],
  };
}

/** The ways in which the script may be run. @type {Record<string, (text: string, load: Load, redis: Redis) => Promise<string[]>>} */
const WAYS = {
  '': async (text, load) => ['EVALSHA', await load(text)],
  'key by key': async (text, load) => ['EVALSHA', await load(writingKeyByKey(text))],
  'with a flag': async (text, load) => ['EVALSHA', await load(`#!lua flags=allow-oom\n${text}`)],
  'as a function': async (text, _load, redis) => {
    await redis.command(
      'FUNCTION',
      'LOAD',
      'REPLACE',
      `#!lua name=bench\nredis.register_function('decide', function(KEYS, ARGV)\n${text}\nend)`,
    );
    return ['FCALL', 'decide'];
  },
};

/** The script where the server has no MSETEX, or the user may not run it. @param {string} text */
function writingKeyByKey(text) {
  const condition = 'and redis.acl_check_cmd then';
  if (!text.includes(condition)) throw new Error(`the script has no: ${condition}`);
  return text.replace(condition, 'and false then');
}

/**
 * @param {string} binary
 * @param {Record<string, string>} config
 * @param {(load: Load, redis: Redis) => Promise<Row[]>} makeRows
 * @returns {Promise<Map<string, { figure: number, ratio?: number }>>} by row
 */
async function measure(binary, config, makeRows) {
  const rows = await sampleRows({ binary, config, rounds }, makeRows);
  return new Map(
    rows.map(({ name, base, samples }) => {
      const beside = rows.find((each) => each.name === base)?.samples;
      const ratios = beside?.map((each, i) => Number(samples[i]) / each);
      return [name, { figure: median(samples), ...(ratios && { ratio: median(ratios) }) }];
    }),
  );
}

/** Batches for a script that writes its keys. @param {string} sha */
function written(sha) {
  return inTurn(KEYS)((keys) => ['EVALSHA', sha, String(KEYS), ...keys]);
}

const { text, kinds } = await kindsOfDecisions();

/**
 * @param {Load} load
 * @param {Redis} redis
 * @param {readonly string[]} ways
 * @returns {Promise<Row[]>}
 */
async function decisionRows(load, redis, ways) {
  /** @type {string[][]} */
  const begins = [];
  for (const way of ways) begins.push((await WAYS[way]?.(text, load, redis)) ?? []);
  return kinds.flatMap(({ name, per, commands }) =>
    ways.map((way, i) => {
      const shown = way === '' ? name : `  ${name.replace('a decision', way)}`;
      const row = { name: shown, per, commands: commands(begins[i] ?? [], `${shown}:`) };
      return way === '' ? row : { ...row, base: name };
    }),
  );
}

const names = positionals.length > 0 ? positionals : Object.keys(SERVERS);
/** @type {Map<string, string[]>} */
const table = new Map();
/** @type {string[]} */
const versions = [];
for (const [column, name] of names.entries()) {
  const binary = ensureServer(name);
  versions.push(versionOf(binary));
  const figures = await measure(binary, {}, async (load, redis) => {
    const [docs] = await redis.command('COMMAND', 'INFO', 'MSETEX');
    const rows = await decisionRows(load, redis, Object.keys(WAYS));
    const base = 'a key written by PSETEX';
    rows.push({ name: base, per: KEYS, commands: written(await load(SETS)) });
    if (docs) {
      const commands = written(await load(MSETEX));
      rows.push({ name: '  a key written by MSETEX', per: KEYS, commands, base });
    }
    return rows;
  });
  const threaded = await measure(binary, { 'io-threads': '2' }, (load, redis) =>
    decisionRows(load, redis, ['']),
  );
  for (const [row, { figure }] of threaded) {
    const beside = figures.get(row);
    figures.set(`${row}, io-threads 2`, { figure, ratio: figure / (beside?.figure ?? Number.NaN) });
  }
  for (const [row, { figure, ratio }] of figures) {
    const cells = table.get(row) ?? [];
    cells[column] = `${figure.toFixed(2)}${ratio === undefined ? '' : ` (${ratio.toFixed(2)})`}`;
    table.set(row, cells);
  }
}
console.log(`${rounds} rounds of ${calls} script calls, of ${KEYS} keys each`);
console.log(
  align([
    ['us of the main thread', ...versions],
    ...[...table].map(([row, cells]) => [row, ...versions.map((_, i) => cells[i] ?? '')]),
  ]),
);
