// @ts-check
import { readFileSync } from 'node:fs';
import { openResp, startRedis } from '../test/kit/servers/index.mjs';
import { makeIdentities } from './identities.mjs';

/** As many keys as a script call takes. */
export const KEYS = 128;
export const identities = makeIdentities(20_000).map((identity) =>
  `bench:${identity}`.padEnd(88, '0'),
);
/** An arrival time, as a token bucket keeps it. */
const VALUE = '1800000000000000';
const TTL = '3600000';

/** Scripts that write each of their keys. */
export const SETS = `for i = 1, #KEYS do redis.pcall('PSETEX', KEYS[i], '${TTL}', '${VALUE}') end`;
export const MSETEX = `local all = { 'MSETEX', #KEYS }
for i = 1, #KEYS do all[2 * i + 1], all[2 * i + 2] = KEYS[i], '${VALUE}' end
all[#all + 1], all[#all + 2] = 'PX', '${TTL}'
return redis.call(unpack(all))`;

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} per what a command's time is divided by
 * @property {string[][]} commands
 *
 * @typedef {(text: string) => Promise<string>} Load loads a script, and answers its SHA-1
 * @typedef {Awaited<ReturnType<typeof startRedis>>} Redis
 */

/** @param {number} pid the processor time of its main thread, in microseconds */
function mainThread(pid) {
  const [nanoseconds] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1000;
}

/**
 * Measures rows of commands on a server of its own, all of which take turns in each round.
 *
 * @template {Row} R
 * @param {{ binary: string, config: Record<string, string>, rounds: number }} options
 * @param {(load: Load, redis: Redis) => Promise<R[]>} makeRows
 * @returns {Promise<(R & { samples: number[] })[]>} with the microseconds of the main thread, by round
 */
export async function sampleRows({ binary, config, rounds }, makeRows) {
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
    return rows;
  } finally {
    connection.close();
    await redis.close();
  }
}
