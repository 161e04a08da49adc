/** Shows several limits that decide together, and a reservation that is settled, without a server. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  tokenBucket,
} from 'distributed-rate-limiter';
import { explained } from './serve.mjs';
import {
  leaseRow,
  liveNote,
  reservationRow,
  togetherHeading,
  togetherIntroduction,
} from './text.mjs';

/** @typedef {import('distributed-rate-limiter').Lease} Lease */
/** @typedef {typeof RULES} Rules */

const RULES = /** @type {const} */ ({
  BURST: { rate: 5, period: '1m' },
  MONTH: { rate: 60, period: 'month', timeZone: 'Europe/Berlin' },
  PLACES: { max: 3, ttl: '30s' },
  TOKENS: { rate: 10_000, period: '1d' },
});

/** Without `--once` a call every 500 ms follows, each of which works for 2.5 s. */
const LIVE_EVERY_MS = 500;
const LIVE_WORK_MS = 2_500;

/**
 * @param {import('./text.mjs').Place} place
 * @param {Promise<unknown> | undefined} ended undefined: end after one round
 * @throws {import('./problem.mjs').Problem} when no decision can be made
 */
export async function showTogether(place, ended) {
  // A caller of this run alone, independent of what that Redis holds.
  const caller = ['demo', randomUUID()];
  const [api, tokens] = open(place);
  try {
    await Promise.all([api.ready(), tokens.ready()]).catch((error) => {
      throw explained(error, place.url);
    });
    console.log(togetherIntroduction(place, RULES));
    await showLimits(api, caller);
    await showReservation(tokens, caller);
    if (ended !== undefined) await showLive(api, caller, ended);
    // A monthly quota would stay in the user's Redis for a month.
    await Promise.all([api.reset(caller), tokens.reset(caller)]);
  } finally {
    await Promise.all([api.close(), tokens.close()]);
  }
}

/** @param {import('./text.mjs').Place} place @returns {[api: RateLimiter, tokens: RateLimiter]} */
function open({ url }) {
  /** A decision without the store would show nothing here. */
  const failStrategy = 'throw';
  const limits = [
    tokenBucket({ name: 'burst', ...RULES.BURST }),
    fixedWindow({ name: 'month', ...RULES.MONTH }),
    concurrency({ name: 'places', ...RULES.PLACES }),
  ];
  try {
    const where =
      url === undefined ? { store: new MemoryStore() } : { redis: url, timeoutMs: 1_000 };
    return [
      new RateLimiter({ ...where, failStrategy, namespace: 'demo/together', limits }),
      new RateLimiter({ ...where, failStrategy, namespace: 'demo/tokens', ...RULES.TOKENS }),
    ];
  } catch (error) {
    throw explained(error, url);
  }
}

/** @param {RateLimiter} api @param {string[]} caller */
async function showLimits(api, caller) {
  console.log(togetherHeading('One caller, one decision under all three'));
  /** @type {Lease[]} */
  const held = [];
  let number = 0;
  /** @param {number} [cost] */
  const take = async (cost = 1) => {
    const lease = await api.acquire(caller, { cost });
    number += 1;
    if (lease.allowed) held.push(lease);
    console.log(leaseRow(`${number}`, `acquire${cost === 1 ? '' : `, cost ${cost}`}`, lease));
  };
  /** @param {string} what */
  const release = async (what, many = held.length) => {
    for (const lease of held.splice(0, many)) await lease.release();
    const { limits } = await api.peek(caller);
    console.log(leaseRow('', what, { limits }));
  };
  for (let i = 0; i < RULES.PLACES.max + 1; i++) await take();
  await release('release one', 1);
  await take();
  await release('release all');
  await take(4);
}

/** @param {RateLimiter} tokens @param {string[]} caller */
async function showReservation(tokens, caller) {
  console.log(`\n${togetherHeading('A cost that is known only afterwards')}`);
  const left = async () => (await tokens.peek(caller)).remaining ?? 0;
  for (const [estimate, actual] of /** @type {const} */ ([
    [4_000, 1_250],
    [4_000, 5_200],
  ])) {
    const reservation = await tokens.reserve(caller, { cost: estimate, ttl: '2m' });
    console.log(reservationRow('reserve', estimate, await left()));
    const { charged } = await reservation.settle(actual);
    console.log(reservationRow('settle', charged, await left()));
  }
  console.log();
}

/**
 * Goes on calling every half second until the demo is ended.
 *
 * @param {RateLimiter} api
 * @param {string[]} caller
 * @param {Promise<unknown>} ended
 */
async function showLive(api, caller, ended) {
  console.log(liveNote());
  // The first round used up most of it.
  await api.reset(caller);
  const over = ended.then(() => true);
  for (let number = 1; ; number++) {
    const lease = await api.acquire(caller);
    console.log(leaseRow(`${number}`, 'acquire', lease));
    // Ends when the demo does; nothing awaits it.
    if (lease.allowed) {
      setTimeout(() => void lease.release().catch(() => {}), LIVE_WORK_MS).unref();
    }
    if (await Promise.race([sleep(LIVE_EVERY_MS, false), over])) return;
  }
}
