// @ts-check
import { openResp, runAsWorker } from '../kit/servers/index.mjs';
import { LIBRARIES, openClient } from '../system/processes/clients.mjs';
import { keepInFlight, openBarrier } from '../system/processes/demand.mjs';
import { ROWS } from './limits.mjs';

/**
 * @typedef {'earlier' | 'present'} Version
 *
 * @typedef {object} Task
 * @property {number} port
 * @property {Record<Version, string>} builds the URL of each version's folder
 * @property {readonly Version[]} versions of each process
 * @property {readonly (readonly Version[])[]} phases which versions are at work, one phase after another
 * @property {readonly { row: string, units: number }[]} subjects an identity each
 * @property {number} calls of each process for each subject in each phase
 * @property {number} inFlight of each process for each subject
 * @property {{ rate: number, burst: number }} flow units per second, of a limit that recovers during the test
 * @property {number} places that are taken and freed all the time; 0 for none
 *
 * @typedef {object} Seen of one subject in one phase
 * @property {number} admitted
 * @property {number} most the most units left, as the answers told
 *
 * @typedef {object} Report of one process
 * @property {Seen[][]} seen by phase and subject; empty where it was not at work
 * @property {{ admitted: number, refused: number, first: number, last: number }} flow times are Redis's, in ms
 * @property {{ most: number, worked: number, refused: number }} places
 * @property {string[]} keysWithoutTtl
 */

/** @param {import('../kit/servers/resp.mjs').RespConnection} redis @returns {Promise<string[]>} */
async function keysWithoutTtl(redis) {
  const keys = /** @type {string[]} */ (await redis.command('KEYS', '*beside*'));
  const ttls = await Promise.all(keys.map((key) => redis.command('PTTL', key)));
  if (keys.length === 0) throw new Error('no key is there');
  return keys.filter((_, i) => ttls[i] === -1);
}

await runAsWorker(
  /** @param {{ index: number, count: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, count, data, ready }) => {
    const version = data.versions[index] ?? 'present';
    /** @type {import('./limits.mjs').Library} */
    const library = await import(`${data.builds[version]}/index.js`);
    const redis = await openResp({ port: data.port });
    const { client } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    /** @param {string} namespace @param {import('./limits.mjs').Limit[]} limits */
    const limiterOf = (namespace, limits) =>
      new library.RateLimiter({
        redis: client,
        namespace: `beside/${namespace}`,
        limits,
        // A degraded decision fails the test.
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
    const subjects = data.subjects.map(({ row: name, units }, i) => {
      const row = ROWS.find((each) => each.name === name);
      if (row === undefined) throw new Error(`no row '${name}'`);
      return { verb: row.verb, limiter: limiterOf(String(i), row.limits(library, units)) };
    });
    const { rate, burst } = data.flow;
    const bucket = library.tokenBucket({ rate, period: '1s', burst });
    const flowing = limiterOf('flow', [bucket]);
    const places =
      data.places > 0
        ? limiterOf('places', [library.concurrency({ max: data.places, ttl: '1h' })])
        : undefined;
    const meet = await openBarrier(data.port, count);
    await ready();

    /** @type {Report} */
    const report = {
      seen: [],
      flow: { admitted: 0, refused: 0, first: Infinity, last: 0 },
      places: { most: 0, worked: 0, refused: 0 },
      keysWithoutTtl: [],
    };

    /** @param {import('./limits.mjs').Row['verb']} verb @param {import('../../src/index.ts').RateLimiter} limiter */
    const ask = async (verb, limiter) => {
      if (verb !== 'reserve') return limiter[verb]('everybody');
      const reservation = await limiter.reserve('everybody', { cost: 2, ttl: '1h' });
      await reservation.settle(1);
      return reservation;
    };
    /** @param {typeof subjects[number]} subject @param {number} place @returns {Promise<Seen>} */
    const offer = async ({ verb, limiter }, place) => {
      const seen = { admitted: 0, most: 0 };
      let left = data.calls;
      await keepInFlight(data.inFlight, async () => {
        if (left === 0) return false;
        left -= 1;
        // Removes both scripts in the middle of the load; each version's next call must load its script again.
        if (place === 0 && left === data.calls >> 1) await redis.command('SCRIPT', 'FLUSH');
        const decision = await ask(verb, limiter);
        if (decision.remaining === undefined) throw new Error(`no facts: ${decision.reason}`);
        seen.admitted += Number(decision.allowed);
        seen.most = Math.max(seen.most, decision.remaining);
        return true;
      });
      return seen;
    };
    const flow = async () => {
      const { flow: told } = report;
      const decision = await flowing.allow('everybody');
      if (decision.resetAtMs === undefined) throw new Error(`no facts: ${decision.reason}`);
      const at = decision.resetAtMs - decision.resetAfterMs;
      told.first = Math.min(told.first, at);
      told.last = Math.max(told.last, at);
      told[decision.allowed ? 'admitted' : 'refused'] += 1;
    };
    const work = async () => {
      const lease = await places?.acquire('everybody');
      if (!lease?.allowed) {
        report.places.refused += 1;
        return;
      }
      // Recorded for less time than the place is held.
      const holders = Number(await redis.command('INCR', 'holders'));
      report.places.most = Math.max(report.places.most, holders);
      report.places.worked += 1;
      await redis.command('DECR', 'holders');
      await lease.release();
    };

    for (const atWork of data.phases) {
      await meet();
      if (atWork.includes(version)) {
        let busy = true;
        const whileBusy = (/** @type {() => Promise<void>} */ call) =>
          keepInFlight(4, async () => {
            await call();
            return busy;
          });
        const aside = [flow, ...(places === undefined ? [] : [work])].map(whileBusy);
        report.seen.push(await Promise.all(subjects.map(offer)));
        busy = false;
        await Promise.all(aside);
      } else {
        report.seen.push([]);
      }
      await meet();
      if (index === 0) report.keysWithoutTtl.push(...(await keysWithoutTtl(redis)));
    }
    return report;
  },
);
