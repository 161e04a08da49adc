// @ts-check
import { openResp } from '../../kit/servers/index.mjs';

/**
 * Keeps `inFlight` calls under way: each lane makes its next call as soon as its last is answered.
 *
 * @param {number} inFlight
 * @param {(lane: number) => Promise<boolean | void>} call ends its lane with `false`
 */
export async function keepInFlight(inFlight, call) {
  await Promise.all(
    Array.from({ length: inFlight }, async (_, lane) => {
      while ((await call(lane)) !== false);
    }),
  );
}

/**
 * A barrier that worker processes can meet at repeatedly; the kit's own works only once.
 *
 * @param {number} port of the Redis that they meet on
 * @param {number} count how many they are
 * @returns {Promise<() => Promise<void>>} resolves when all of them have called it as often as this one
 */
export async function openBarrier(port, count) {
  const redis = await openResp({ port });
  let meeting = 0;
  return async () => {
    meeting += 1;
    const doors = `barrier:${meeting}`;
    if ((await redis.command('INCR', `${doors}:arrived`)) === count) {
      await redis.command('RPUSH', doors, ...Array.from({ length: count }, () => 'go'));
    }
    await redis.command('BLPOP', doors, 0);
  };
}

/**
 * Returns Redis's clock in whole microseconds.
 *
 * @param {import('../../kit/servers/resp.mjs').RespConnection} redis
 */
export async function redisMicros(redis) {
  const [seconds, micros] = /** @type {[string, string]} */ (await redis.command('TIME'));
  return Number(seconds) * 1e6 + Number(micros);
}
