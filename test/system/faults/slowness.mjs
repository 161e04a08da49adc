// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiter } from 'distributed-rate-limiter';
import { waitUntil } from '../../kit/servers/index.mjs';
import { MARGIN_MS, expectDegraded, expectReal } from './caller.mjs';
import { chargesOf } from './run-scenario.mjs';
import { collectGarbage } from '../../kit/collect-garbage.mjs';

/**
 * The server is slow, or busy with other commands.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 */

/** @type {Scenario} */
const aroundTheDeadline = {
  name: 'replies after 0.8 and after 1.2 deadlines',
  async run(context) {
    const { proxy, redis, client } = context;
    const caller = await context.openReady({ timeoutMs: 500 });
    await proxy.delay(0.4 * caller.timeoutMs);
    (await caller.burst(20)).forEach(expectReal);
    await proxy.delay(0.6 * caller.timeoutMs);
    const before = context.sent;
    const error = expectDegraded(await caller.burst(20), 'store_timeout');
    assert.deepEqual(caller.errors, [error]);
    await waitUntil('the late charges', async () => (await chargesOf(redis)) === 40);
    const since = performance.now();
    await proxy.pass();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    assert.equal(context.sent, before + 2, 'a late reply leads to no other call');
    assert.equal(await chargesOf(redis), 40 + 1, 'each call that was sent was charged once');
  },
};

/** @type {Scenario} */
const asleep = {
  name: 'blocked by a slow command (DEBUG SLEEP)',
  async run(context) {
    const { redis, client, effort } = context;
    const caller = await context.openReady();
    const sleeping = redis.command('DEBUG', 'SLEEP', effort > 1 ? 2 : 0.8);
    await sleep(20);
    expectDegraded(await caller.burst(50), 'store_timeout');
    expectDegraded(await caller.answeredAtOnce(50), 'store_timeout');
    await sleeping;
    context.recoveryMs = await caller.recovered(performance.now(), client.reconnectMs + MARGIN_MS);
    (await caller.burst(20)).forEach(expectReal);
  },
};

/** @type {Scenario} */
const overload = {
  name: '2,000 calls a second on a server that hangs: what is pending is bounded, and memory',
  async run(context) {
    const { redis, effort, client } = context;
    const maxInFlight = 200;
    const caller = await context.openReady({ maxInFlight });
    // Without recording each call, because the record would grow.
    const limiter = new RateLimiter({
      redis: context.target,
      rate: 1_000,
      period: '1d',
      burst: 1_000_000,
      namespace: 'overload',
      failStrategy: context.failStrategy,
      maxInFlight,
      onError: () => {},
    });
    await redis.stop();
    const before = { heap: heapAfterGc(), sent: context.sent };
    const counts = { calls: 0, settled: 0, store_timeout: 0, store_away: 0, overloaded: 0 };
    let slowestMs = 0;
    /** @param {string} identity */
    const ask = async (identity) => {
      const started = performance.now();
      const decision = await limiter.allow(identity);
      assert.ok(decision.degraded && decision.allowed === (context.failStrategy === 'open'));
      if (decision.reason !== 'store_error') counts[decision.reason] += 1;
      counts.settled += 1;
      slowestMs = Math.max(slowestMs, performance.now() - started);
    };
    const forMs = effort > 1 ? 30_000 : 1_000;
    const since = performance.now();
    while (performance.now() - since < forMs) {
      const due = 2 * (performance.now() - since);
      for (; counts.calls < due; counts.calls++) {
        void ask(`overload-${counts.calls}`);
      }
      await sleep(2);
    }
    await waitUntil('all of them', () => counts.settled === counts.calls, { everyMs: 5 });
    assert.ok(slowestMs <= 250 + MARGIN_MS, `settled after ${Math.round(slowestMs)} ms`);
    assert.ok(counts.overloaded > 0, JSON.stringify(counts));
    assert.ok(
      counts.settled === counts.overloaded + counts.store_timeout + counts.store_away,
      JSON.stringify(counts),
    );
    // Calls of the first deadline fill `maxInFlight`; after that there is at most one probe for each deadline.
    const sent = context.sent - before.sent;
    assert.ok(sent <= maxInFlight + forMs / 250, `${sent} script calls`);
    const grownMiB = (heapAfterGc() - before.heap) / 2 ** 20;
    assert.ok(grownMiB < 20, `the heap grew by ${grownMiB.toFixed(1)} MiB`);
    const continued = performance.now();
    await redis.cont();
    context.recoveryMs = await caller.recovered(continued, client.reconnectMs + MARGIN_MS);
    const late = await chargesOf(redis, 'overload:*');
    // Calls given up free their places after ten deadlines.
    const most = maxInFlight * Math.ceil(forMs / 2_500) + forMs / 250;
    if (client.own) assert.ok(late <= most, `${late} charges of calls that were given up`);
    await limiter.close();
  },
};

/** @type {readonly Scenario[]} */
export const slowness = [aroundTheDeadline, asleep, overload];

function heapAfterGc() {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
