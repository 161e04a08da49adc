// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../../kit/servers/index.mjs';
import { MARGIN_MS, expectDegraded, expectReal, isReal, keyOf } from './caller.mjs';
import { chargesOf } from './run-scenario.mjs';

/**
 * The server executes the calls, and their replies are lost or damaged on the way.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 */

/** Well-formed, but not a reply of the script. */
const MALFORMED = {
  nil: '$-1',
  'a nil array': '*-1',
  'an empty array': '*0',
  'a status': '+OK',
  'a number': ':1',
  'an array too short': '*1\r\n:1700000000000000',
  'an array too long': '*3\r\n:1700000000000000\r\n:1\r\n:1',
  'text for the time': '*2\r\n$3\r\nnow\r\n:86400000',
  'nil for the time': '*2\r\n$-1\r\n:86400000',
  'nil for a number': '*2\r\n:1700000000000000\r\n$-1',
  'an array for a number': '*2\r\n:1700000000000000\r\n*1\r\n:1',
  'a fraction for a number': '*2\r\n:1700000000000000\r\n$3\r\n1.5',
};

/** @type {Scenario} */
const malformed = {
  name: `malformed replies (${Object.keys(MALFORMED).length} shapes)`,
  async run(context) {
    const { proxy } = context;
    const caller = await context.openReady({ timeoutMs: 2_000 });
    for (const [shape, reply] of Object.entries(MALFORMED)) {
      await proxy.reply(reply, { times: 1 });
      const spoilt = await caller.call();
      assert.equal(isReal(spoilt), false, shape);
      expectDegraded(spoilt, 'store_error');
      expectReal(await caller.call());
    }
    assert.equal(caller.errors.length, Object.keys(MALFORMED).length);
  },
};

/** @type {Scenario} */
const garbage = {
  name: 'garbage instead of a reply',
  async run(context) {
    const { proxy, client } = context;
    const caller = await context.openReady();
    const spent = await caller.spend();
    await proxy.garbage(undefined, { times: 1 });
    assert.equal(isReal(await caller.call()), false);
    const since = performance.now();
    // node-redis drops such bytes and continues one reply out of step: no call may get another call's answer.
    while (performance.now() - since < 700) {
      const [fresh, refused] = await Promise.all([
        caller.call(),
        later(() => caller.callSpent(spent)),
      ]);
      if (isReal(fresh)) {
        context.recoveryMs ??= performance.now() - since;
        assert.equal(fresh.allowed, true, "another call's answer");
      }
      if (isReal(refused)) assert.equal(refused.allowed, false, "another call's answer");
      await sleep(5);
    }
    if (client.own || client.library === 'ioredis') {
      expectReal(await caller.call());
    } else {
      // The library does not end a user's connection; a new one is in step again.
      const repaired = performance.now();
      await proxy.cut();
      context.recoveryMs = await caller.recovered(repaired, client.reconnectMs + MARGIN_MS);
    }
    assert.equal(isReal(await caller.callSpent(spent)), true);
  },
};

/** @type {Scenario} */
const half = {
  name: 'half a reply, then silence on that connection',
  async run(context) {
    const { proxy, client } = context;
    const caller = await context.openReady({ timeoutMs: 100 });
    await proxy.halfReply(5, { times: 1 });
    expectDegraded(await caller.burst(20), 'store_timeout');
    expectDegraded(await caller.answeredAtOnce(20), 'store_timeout');
    const since = performance.now();
    // A connection opened by the library gives up a silent server by itself. A user's client waits for the connection
    // to end.
    if (!client.own) await proxy.cut();
    if (client.staysOutOfStep) {
      // The library recognizes the damage: no call gets another call's answer, or waits for it.
      await sleep(client.reconnectMs + MARGIN_MS);
      expectDegraded(await caller.answeredAtOnce(20), 'store_away');
      return;
    }
    const silenceMs = client.own ? 1_000 : 0;
    context.recoveryMs = await caller.recovered(since, silenceMs + client.reconnectMs + MARGIN_MS);
  },
};

/** @type {Scenario} */
const dropped = {
  name: 'replies dropped after execution, 1,000 times',
  async run(context) {
    const { proxy, redis, client } = context;
    const caller = await context.openReady({ timeoutMs: 10_000 });
    const identity = caller.fresh();
    await proxy.dropReplies();
    const before = context.sent;
    const pending = [];
    for (let i = 0; i < 1_000; i++) {
      pending.push(caller.call(identity));
      // Each call has its own turn, so each is a script call with a reply of its own.
      await new Promise(setImmediate);
    }
    await waitUntil(
      '1,000 charges',
      async () => (await chargesOf(redis, keyOf(identity))) === 1_000,
    );
    // The connection ends with 1,000 replies outstanding: a client that resends does so now.
    const since = performance.now();
    await proxy.pass();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    const outcomes = await Promise.all(pending);
    if (!client.own) return;
    expectDegraded(outcomes, 'store_away');
    await sleep(100);
    assert.equal(
      context.sent - before,
      1_000 + 1,
      'nothing was sent twice; one call is real again',
    );
    assert.equal(await chargesOf(redis, keyOf(identity)), 1_000);
  },
};

/** @type {Scenario} */
const droppedWithTheConnection = {
  name: 'connections cut in place of a reply, again and again',
  async run(context) {
    const { proxy, client } = context;
    const caller = await context.openReady();
    for (let round = 0; round < 3 * context.effort; round++) {
      await proxy.dropReplies({ cut: true, times: 1 });
      const pending = [];
      for (let i = 0; i < 50; i++) {
        pending.push(caller.call());
        await new Promise(setImmediate);
      }
      await Promise.all(pending);
      const since = performance.now();
      context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    }
  },
};

/** @type {readonly Scenario[]} */
export const replies = [malformed, garbage, half, dropped, droppedWithTheConnection];

/**
 * @template T
 * @param {() => Promise<T>} start in a turn of its own, so that it is another script call
 */
async function later(start) {
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  return start();
}
