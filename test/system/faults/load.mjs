// @ts-check
import assert from 'node:assert/strict';
import { expectDegraded, expectReal } from './caller.mjs';
import { chargesOf } from './run-scenario.mjs';

/**
 * The server is healthy. The disturbance is load, its script cache, or this process itself.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 */

/** @type {Scenario} */
const first = {
  name: 'nothing: calls before the connection stands are held',
  async run(context) {
    const caller = await context.open({ timeoutMs: 2_000 });
    (await caller.burst(50)).forEach(expectReal);
    assert.deepEqual(caller.errors, []);
  },
};

/** @type {Scenario} */
const scriptFlush = {
  name: 'SCRIPT FLUSH every 5 ms under load',
  async run(context) {
    const { redis, effort } = context;
    const caller = await context.openReady({ timeoutMs: 2_000 });
    let flushes = 0;
    const flushing = setInterval(() => {
      void redis.command('SCRIPT', 'FLUSH');
      flushes += 1;
    }, 5);
    const until = performance.now() + 300 * effort;
    const enough = () =>
      performance.now() > until &&
      flushes >= 20 &&
      (context.proxy.counts.commands['EVAL'] ?? 0) >= 10;
    while (!enough()) {
      (await caller.burst(64)).forEach(expectReal);
    }
    clearInterval(flushing);
    assert.deepEqual(caller.errors, []);
    assert.equal(await chargesOf(redis), caller.calls);
  },
};

/** @type {Scenario} */
const blockedBeforeTheFlush = {
  name: 'event loop blocked for 400 ms between call and flush',
  async run(context) {
    const caller = await context.openReady();
    caller.blockedMs = 400;
    // A call alone in its turn is flushed on another path than several calls.
    for (const count of [1, 50]) {
      const pending = caller.burst(count);
      block(400);
      (await pending).forEach(expectReal);
    }
    assert.deepEqual(caller.errors, []);
  },
};

/** @type {Scenario} */
const blockedInFlight = {
  name: 'event loop blocked for 400 ms with calls in flight',
  async run(context) {
    const { proxy } = context;
    const caller = await context.openReady();
    caller.blockedMs = 400;
    const before = context.sent;
    const atTheServer = caller.burst(50);
    while (context.sent === before) await new Promise(setImmediate);
    block(400);
    (await atTheServer).forEach(expectReal);
    // Both the reply and the deadline come during the block.
    await proxy.delay(0, 100);
    const { bytesFromServer } = proxy.counts;
    const onTheWay = caller.burst(50);
    while (proxy.counts.bytesFromServer === bytesFromServer) await new Promise(setImmediate);
    block(400);
    (await onTheWay).forEach(expectReal);
    assert.deepEqual(caller.errors, []);
  },
};

/** @type {Scenario} */
const blockedWithAShortDeadline = {
  name: 'event loop blocked for 400 ms, under a deadline of 30 ms',
  async run(context) {
    const caller = await context.open({ timeoutMs: 30 });
    // On a busy machine the first connection may need more than one such deadline.
    await caller.recovered(performance.now());
    caller.blockedMs = 400;
    const failed = caller.errors.length;
    const { connections } = context.proxy.counts;
    const pending = caller.burst(20);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    block(400);
    (await pending).forEach(expectReal);
    assert.equal(context.proxy.counts.connections, connections, 'the connection is the same');
    assert.equal(caller.errors.length, failed);
  },
};

/** @type {Scenario} */
const tooManyInFlight = {
  name: 'more calls than maxInFlight, on a server that hangs',
  async run(context) {
    const { redis } = context;
    const maxInFlight = 50;
    const caller = await context.openReady({ maxInFlight });
    await redis.stop();
    const inFlight = caller.burst(maxInFlight);
    const overloaded = expectDegraded(await caller.answeredAtOnce(30), 'overloaded');
    assert.deepEqual(caller.errors, [overloaded], 'one error for all of them');
    expectDegraded(await inFlight, 'store_timeout');
    // Calls already answered that the client has not settled are still in flight.
    expectDegraded(await caller.answeredAtOnce(30), 'overloaded');
    await redis.cont();
    await caller.recovered(performance.now());
    const full = caller.burst(maxInFlight);
    expectDegraded(await caller.answeredAtOnce(1), 'overloaded');
    (await full).forEach(expectReal);
  },
};

/** @type {readonly Scenario[]} */
export const load = [
  first,
  scriptFlush,
  blockedBeforeTheFlush,
  blockedInFlight,
  blockedWithAShortDeadline,
  tooManyInFlight,
];

/** @param {number} ms */
function block(ms) {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
