// @ts-check
import { answering, replyOf } from './answering.mjs';
import { serve } from './child.mjs';
import { inTurn, makeIdentities } from './identities.mjs';
import { importInternal } from './internals.mjs';
import { runLoad } from './load.mjs';

const BATCH = 128;

/** @type {Record<string, (ms: number) => number | Promise<number>>} */
const parts = {};

serve(async ({ kind, ms, url }) => {
  if (kind === 'open') return prepare(url);
  const part = parts[kind];
  if (part === undefined) throw new Error(`no part is called ${kind}`);
  return part(ms);
});

/** @param {{ allowed: boolean }} decision */
const isAllowed = ({ allowed }) => allowed;

const nextTurn = () => new Promise((resolve) => setImmediate(resolve, true));

/** @param {string} url of a build */
async function prepare(url) {
  /** @type {typeof import('../dist/index.js')} */
  const { RateLimiter, tokenBucket } = await import(`${url}/index.js`);
  /** @type {typeof import('../dist/base/identity.js')} */
  const { digestIdentity } = await importInternal(url, 'base/identity.js');
  /** @type {typeof import('../dist/limiter/limit-set.js')} */
  const { LimitSet } = await importInternal(url, 'limiter/limit-set.js');
  /** @type {typeof import('../dist/stores/redis.js')} */
  const { decideBatch } = await import(`${url}/stores/redis.js`);
  const next = inTurn(makeIdentities(100_000));
  const limit = { rate: 10, period: 1, burst: 1_000_000_000 };
  const two = [tokenBucket({ name: 'one', ...limit }), tokenBucket({ name: 'two', ...limit })];

  const load = (/** @type {object} */ rule, /** @type {number} */ inFlight, hot = false) => {
    const limiter = new RateLimiter(
      /** @type {any} */ ({
        redis: answering(),
        namespace: 'bench',
        failStrategy: 'throw',
        ...rule,
      }),
    );
    return async (/** @type {number} */ ms) => {
      const { refused, nodeUs } = await runLoad(
        (identity) => limiter.allow(identity).then(isAllowed),
        hot ? () => 'user:hot' : next,
        { inFlight, ms },
      );
      if (refused > 0) throw new Error('a call was refused');
      return nodeUs;
    };
  };
  parts['allow, 1 in flight'] = load(limit, 1);
  parts['allow, 256 in flight'] = load(limit, 256);
  parts['allow, 256 in flight, hot'] = load(limit, 256, true);
  parts['allow, 256 in flight, 2 limits'] = load({ limits: two }, 256);
  parts['the loop itself'] = async (ms) => {
    /** @type {Promise<boolean> | undefined} */
    let shared;
    const decide = () => {
      shared ??= /** @type {Promise<boolean>} */ (nextTurn()).finally(() => (shared = undefined));
      return shared.then((passes) => passes);
    };
    return (await runLoad(decide, next, { inFlight: 256, ms })).nodeUs;
  };

  parts['digest of the identity'] = repeat(1, () => digestIdentity(next(), undefined));

  const set = new LimitSet('bench', [tokenBucket(limit)], false);
  const shape = set.shape('allow', 1);
  let settled = 0;
  const calls = Array.from({ length: BATCH }, () => ({
    key: set.locate(next(), undefined).key,
    shape,
    timeoutMs: 250,
    maxInFlight: 10_000,
    replans: 0,
    settle: () => (settled += 1),
    fail: (/** @type {Error} */ error) => {
      throw error;
    },
  }));
  parts['encode a batch'] = repeat(BATCH, () => decideBatch.encode(calls, 0));
  parts['settle a batch'] = repeat(BATCH, () => {
    const before = settled;
    decideBatch.settle(calls, replyOf(BATCH), 0, '');
    if (settled - before !== BATCH) throw new Error('not every call was settled');
  });
}

/**
 * @param {number} decisions of one `step`
 * @param {() => unknown} step
 * @returns {(ms: number) => number}
 */
function repeat(decisions, step) {
  return (ms) => {
    const until = performance.now() + ms;
    const before = process.cpuUsage();
    let steps = 0;
    while (performance.now() < until) {
      for (let i = 0; i < 64; i++) step();
      steps += 64;
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / (steps * decisions);
  };
}
