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
import { openResp, startRedis } from '../test/kit/servers/index.mjs';
import { importInternal } from './internals.mjs';
import { makeIdentities } from './identities.mjs';
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

/** As many keys as a script call takes. */
const KEYS = 128;
const identities = makeIdentities(20_000).map((identity) => `bench:${identity}`.padEnd(88, '0'));
/** An arrival time, as a token bucket keeps it. */
const VALUE = '1800000000000000';
const TTL = '3600000';

const SETS = `for i = 1, #KEYS do redis.pcall('PSETEX', KEYS[i], '${TTL}', '${VALUE}') end`;
const MSETEX = `local all = { 'MSETEX', #KEYS }
for i = 1, #KEYS do all[2 * i + 1], all[2 * i + 2] = KEYS[i], '${VALUE}' end
all[#all + 1], all[#all + 2] = 'PX', '${TTL}'
return redis.call(unpack(all))`;
const FUNCTION = `#!lua name=bench
redis.register_function { function_name = 'nothing', callback = function() return 1 end }`;

/** @typedef {{ name: string, per: number, commands: string[][] }} Row `per`: what a command's time is divided by */

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

/** @param {number} pid the processor time of its main thread, in microseconds */
function mainThread(pid) {
  const [nanoseconds] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1000;
}

/**
 * @param {string} binary
 * @param {Record<string, string>} config
 * @param {(load: (text: string) => Promise<string>, redis: Awaited<ReturnType<typeof startRedis>>) => Promise<Row[]>} makeRows
 * @returns {Promise<Map<string, number>>} by row
 */
async function measure(binary, config, makeRows) {
  const redis = await startRedis({ binary, config });
  const connection = await openResp({ host: '127.0.0.1', port: redis.port });
  try {
    const load = async (/** @type {string} */ text) =>
      String(await redis.command('SCRIPT', 'LOAD', text));
    const rows = (await makeRows(load, redis)).map((row) => ({
      ...row,
      samples: /** @type {number[]} */ ([]),
    }));
    for (let round = 0; round <= rounds; round++) {
      for (const { samples, per, commands } of round % 2 === 0 ? rows : rows.toReversed()) {
        const before = mainThread(redis.pid);
        for (let at = 0; at < commands.length; at += 4) {
          await Promise.all(
            commands.slice(at, at + 4).map((command) => connection.command(...command)),
          );
        }
        // The first round only makes the keys.
        if (round > 0) samples.push((mainThread(redis.pid) - before) / commands.length / per);
      }
    }
    return new Map(rows.map(({ name, samples }) => [name, median(samples)]));
  } finally {
    connection.close();
    await redis.close();
  }
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
    const written = (/** @type {string} */ sha) =>
      batches((keys) => ['EVALSHA', sha, String(KEYS), ...keys]);
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
