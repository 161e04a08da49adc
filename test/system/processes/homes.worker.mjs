// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import { connectionOfClient, fixedWindow, RateLimiter } from './built.mjs';
import { openClient } from './clients.mjs';
import { keepInFlight, openBarrier } from './demand.mjs';
import { recordingScript } from './history.recorder.mjs';
import { limitsOf } from './homes.limits.mjs';

/**
 * @typedef {object} Task
 * @property {number} port
 * @property {import('../../../src/redis/connection/script.ts').ScriptSource} source the production script that notes every
 *   execution in a list
 * @property {import('./homes.limits.mjs').Rates} rates
 * @property {number} inFlight
 * @property {number} calls of each process
 * @property {number} seed
 *
 * @typedef {object} Seen
 * @property {Record<string, number>} charged units that passed and were not given back, by home
 * @property {number} refused
 * @property {number} calls that were answered
 * @property {import('./history.recorder.mjs').ToldOfScript[]} told every script call, and every answer
 */

await runAsWorker(
  /** @param {{ index: number, count: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, count, data, ready }) => {
    const { client } = await openClient(index % 2 === 0 ? 'ioredis' : 'node-redis', data.port);
    /** @type {Seen} */
    const seen = { charged: {}, refused: 0, calls: 0, told: [] };
    // Limiters on one client share its connection, so the limiter's own calls use this script, too.
    connectionOfClient(
      client,
      recordingScript(data.source, (...told) => seen.told.push(told)),
    );
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'homes',
      limits: limitsOf(data.rates).map((numbers) => fixedWindow(numbers)),
      // A degraded decision would prove nothing: it fails the test.
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    await limiter.ready();
    const meet = await openBarrier(data.port, count);
    await ready();
    await meet();

    /** @template T @param {Promise<T>} call @returns {Promise<T>} */
    const answered = async (call) => {
      const answer = await call;
      seen.calls += 1;
      return answer;
    };
    /** @param {{ org: string, team: string, key: string }} identity @param {{ calls: number, tokens: number, micros: number }} units */
    const note = ({ org, team, key }, { calls, tokens, micros }) => {
      for (const [home, more] of /** @type {const} */ ([
        [`calls ${org} ${team} ${key}`, calls],
        [`tokens ${org} ${team}`, tokens],
        [`money ${org}`, micros],
      ])) {
        seen.charged[home] = (seen.charged[home] ?? 0) + more;
      }
    };
    let state = data.seed + index;
    /** @param {number} end */
    const below = (end) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((state / 2 ** 32) * end);
    };
    let left = data.calls;
    await keepInFlight(data.inFlight, async () => {
      if (left === 0) return false;
      left -= 1;
      const identity = { org: `o${below(2)}`, team: `t${below(3)}`, key: `k${below(4)}` };
      const cost = { tokens: below(20), micros: below(50) };
      const kind = below(4);
      if (kind === 0) {
        // Reserved, charged in a further step, and settled by name: what is left out stays as reserved.
        const reservation = await answered(limiter.reserve(identity, { cost, ttl: '1h' }));
        if (!reservation.allowed) {
          seen.refused += 1;
          return true;
        }
        const more = below(10);
        const added = await answered(reservation.add({ tokens: more }));
        const micros = below(50);
        const settled = await answered(reservation.settle({ micros }));
        note(identity, {
          calls: 1,
          tokens: cost.tokens + (added.allowed ? more : 0),
          micros: /** @type {{ micros: number }} */ (settled.charged).micros,
        });
        return true;
      }
      const decision = await answered(limiter.allow(identity, { cost }));
      if (!decision.allowed) {
        seen.refused += 1;
      } else if (kind === 1) {
        await answered(limiter.refund(decision));
      } else {
        note(identity, { calls: 1, ...cost });
      }
      return true;
    });
    await limiter.close();
    return seen;
  },
);
