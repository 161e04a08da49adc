// @ts-check
/**
 * Measures on each server of scripts/servers.mjs what a decision costs, and what newer servers offer to make it cheaper:
 * `node bench/newer.mjs`; names choose servers. All figures are processor time of the server's main thread, in
 * microseconds, by Linux's scheduler. In each round all rows of a server take turns. When all servers were measured, the
 * figures go into bench/scale/newer.json and docs/scale.md.
 *
 * @typedef {object} Figures
 * @property {number} rounds
 * @property {number} calls of each row in a round
 * @property {string[]} versions
 * @property {Record<string, (number | null)[]>} rows by version; null where the server lacks it
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SERVERS, ensureServer, versionOf } from '../scripts/servers.mjs';
import { importInternal } from './internals.mjs';
import { identities, KEYS, MSETEX, sampleRows, SETS } from './main-thread.mjs';
import { align, median } from './report.mjs';
import { storedFigures } from './scale/figures.mjs';
import { fillIn } from './scale/page.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, calls: { type: 'string' } },
});
const rounds = Number(values.rounds ?? 15);
const calls = Number(values.calls ?? 200);
const dist = new URL('../dist', import.meta.url).href;

const FUNCTION = `#!lua name=bench
redis.register_function { function_name = 'nothing', callback = function() return 1 end }`;

/** @typedef {import('./main-thread.mjs').Row} Row */

/** A batch of full size from then on, whatever the identity. @param {(keys: string[]) => string[]} make */
function batches(make) {
  return Array.from({ length: calls }, (_, i) =>
    make(Array.from({ length: KEYS }, (_each, k) => identities[(i * KEYS + k) % 20_000] ?? '')),
  );
}

/** One command, often. @param {string[]} command */
function often(...command) {
  return Array.from({ length: calls * 8 }, () => command);
}

/** @returns {Promise<{ text: string, decisions: Record<string, string[][]> }>} */
async function decisionsOfLibrary() {
  const { tokenBucket, fixedWindow } = await import(`${dist}/index.js`);
  const { LimitSet } = await importInternal(dist, 'limiter/limit-set.js');
  const { encodeCalls } = await importInternal(dist, 'stores/encode.js');
  const { decideBatch } = await importInternal(dist, 'stores/redis.js');
  const { text, sha1 } = decideBatch.source;
  /** @param {unknown} limit */
  const decided = (limit) => {
    const set = new LimitSet('bench', [limit], false);
    const shape = set.shape('allow', 1);
    return batches((keys) => {
      const entries = keys.map((key) => ({
        key: `${JSON.stringify(limit)}${key}`,
        shape,
        replans: 0,
      }));
      const encoded = encodeCalls(entries, 0, Infinity);
      return ['EVALSHA', sha1, String(encoded.keys.length), ...encoded.keys, ...encoded.args];
    });
  };
  const many = { rate: 500_000_000, period: '1h' };
  return {
    text,
    decisions: {
      'a decision, token bucket': decided(
        tokenBucket({ rate: 100, period: '1m', burst: 500_000_000 }),
      ),
      'a decision, fixed window': decided(fixedWindow(many)),
    },
  };
}

/**
 * @param {string} binary
 * @param {Record<string, string>} config
 * @param {(load: import('./main-thread.mjs').Load, redis: import('./main-thread.mjs').Redis) => Promise<Row[]>} makeRows
 * @returns {Promise<Map<string, number>>} by row
 */
async function measure(binary, config, makeRows) {
  const rows = await sampleRows({ binary, config, rounds }, makeRows);
  return new Map(rows.map(({ name, samples }) => [name, median(samples)]));
}

/** Batches for a script that writes its keys. @param {string} sha */
function written(sha) {
  return batches((keys) => ['EVALSHA', sha, String(KEYS), ...keys]);
}

const { text, decisions } = await decisionsOfLibrary();
/** @param {(text: string) => Promise<string>} load */
const decisionRows = async (load) => {
  await load(text);
  return Object.entries(decisions).map(([name, commands]) => ({ name, per: KEYS, commands }));
};
const names = positionals.length > 0 ? positionals : Object.keys(SERVERS);
/** @type {Map<string, number[]>} */
const table = new Map();
/** @type {string[]} */
const versions = [];
for (const [column, name] of names.entries()) {
  const binary = ensureServer(name);
  versions.push(versionOf(binary));
  const figures = await measure(binary, {}, async (load, redis) => {
    await redis.command('FUNCTION', 'LOAD', FUNCTION);
    const [docs] = await redis.command('COMMAND', 'INFO', 'MSETEX');
    const rows = await decisionRows(load);
    rows.push({ name: 'a key written by PSETEX', per: KEYS, commands: written(await load(SETS)) });
    if (docs) {
      rows.push({
        name: 'a key written by MSETEX',
        per: KEYS,
        commands: written(await load(MSETEX)),
      });
    }
    const bare = await load('return 1');
    const shebang = await load('#!lua flags=allow-cross-slot-keys\nreturn 1');
    rows.push({ name: 'an empty script', per: 1, commands: often('EVALSHA', bare, '0') });
    rows.push({
      name: 'an empty script with flags',
      per: 1,
      commands: often('EVALSHA', shebang, '0'),
    });
    rows.push({ name: 'an empty function', per: 1, commands: often('FCALL', 'nothing', '0') });
    return rows;
  });
  const threaded = await measure(binary, { 'io-threads': '2' }, decisionRows);
  for (const [row, figure] of threaded) figures.set(`${row}, io-threads 2`, figure);
  for (const [row, figure] of figures) {
    const cells = table.get(row) ?? [];
    cells[column] = figure;
    table.set(row, cells);
  }
}
console.log(`${rounds} rounds of ${calls} script calls, of ${KEYS} keys each`);
console.log(
  align([
    ['us of the main thread', ...versions],
    ...[...table].map(([row, cells]) => [
      row,
      ...versions.map((_, i) => cells[i]?.toFixed(2) ?? ''),
    ]),
  ]),
);
if (positionals.length === 0) {
  const page = new URL('../docs/scale.md', import.meta.url);
  /** @type {Figures} */
  const figures = {
    rounds,
    calls,
    versions,
    rows: Object.fromEntries(
      [...table].map(([row, cells]) => [
        row,
        versions.map((_, i) => (cells[i] === undefined ? null : Number(cells[i].toFixed(3)))),
      ]),
    ),
  };
  writeFileSync(
    new URL('scale/newer.json', import.meta.url),
    `${JSON.stringify(figures, null, 2)}\n`,
  );
  writeFileSync(page, fillIn(readFileSync(page, 'utf8'), storedFigures()));
}
