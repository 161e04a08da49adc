// @ts-check
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../../kit/servers/index.mjs';
import { MARGIN_MS, expectDegraded, expectReal } from './caller.mjs';

/**
 * Scenarios in which the server or its network is down or silent.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 */

/** @type {Scenario} */
const stopped = {
  name: 'stopped (SIGSTOP), then continued',
  async run(context) {
    const { redis } = context;
    const caller = await context.openReady();
    (await caller.burst(20)).forEach(expectReal);
    const states = storeStates();

    await redis.stop();
    const before = context.sent;
    const hit = await caller.burst(100);
    const since = performance.now();
    const error = expectDegraded(hit, 'store_timeout');
    assert.equal(context.sent, before + 1, 'one script call carried all of them');
    assert.deepEqual(caller.errors, [error], 'one store call failed');

    expectDegraded(await caller.answeredAtOnce(200), 'store_timeout');
    assert.equal(context.sent, before + 1, 'nothing is sent to a server that hangs');
    assert.deepEqual(caller.errors, [error], 'calls that are not sent are no store calls');

    const pending = [];
    while (performance.now() - since < 3.2 * caller.timeoutMs) {
      pending.push(caller.call());
      await sleep(3);
    }
    const probes = context.sent - before - 1;
    const elapsed = performance.now() - since;
    assert.ok(
      probes >= 1 && probes <= elapsed / caller.timeoutMs,
      `${probes} probes in ${Math.round(elapsed)} ms`,
    );
    expectDegraded(await Promise.all(pending), 'store_timeout');
    assert.deepEqual(states.seen, ['hung']);

    const continued = performance.now();
    const sentWhileHung = context.sent;
    await redis.cont();
    await waitUntil('an answer', () => states.seen.length > 1, { everyMs: 1 });
    context.recoveryMs = performance.now() - continued;
    assert.equal(context.sent, sentWhileHung, 'the answer to an old call is enough');
    expectReal(await caller.call());
    assert.ok(context.recoveryMs < MARGIN_MS, `${context.recoveryMs} ms`);
    assert.deepEqual(states.end(), ['hung', 'ready']);
  },
};

/** @type {Scenario} */
const stalledFromTheStart = {
  name: 'hung from the start',
  async run(context) {
    await context.proxy.stall();
    const caller = await context.open();
    // Clients that report their state have no connection now; valkey-glide still reports that it is ready.
    const reason = context.client.tellsOfLoss ? 'store_away' : 'store_timeout';
    expectDegraded(await caller.burst(50), reason);
    expectDegraded(await caller.answeredAtOnce(50), reason);
    assert.equal(context.sent, 0);
    const since = performance.now();
    await context.proxy.pass();
    context.recoveryMs = await caller.recovered(since, MARGIN_MS);
    (await caller.burst(20)).forEach(expectReal);
  },
};

/** @type {Scenario} */
const killed = {
  name: 'killed (SIGKILL) with calls in flight',
  async run(context) {
    const { redis, client } = context;
    context.dataLost = true;
    const caller = await context.openReady({ url: redis.url });
    (await caller.burst(20)).forEach(expectReal);
    // Stopped first, so that the calls are surely in flight.
    await redis.stop();
    const inFlight = caller.burst(50);
    await sleep(10);
    await redis.kill();
    expectDegraded(await inFlight, 'store_away');
    if (client.tellsOfLoss) {
      // Calls wait for one attempt to reconnect.
      expectDegraded(await caller.burst(5), 'store_away');
      await knownAway(caller, 150);
    } else {
      await knownSilent(caller);
    }
  },
};

/** @type {Scenario} */
const restarted = {
  name: 'restarted under load',
  async run(context) {
    const { redis, client } = context;
    context.dataLost = true;
    const caller = await context.openReady({ url: redis.url });
    const load = keepCalling(caller);
    await sleep(50);
    await redis.restart({ downMs: 200 });
    const since = performance.now();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    await load.stop();
    (await caller.burst(20)).forEach(expectReal);
  },
};

/** @type {Scenario} */
const refusing = {
  name: 'refusing connections from the start',
  async run(context) {
    const { proxy, client } = context;
    await proxy.refuse();
    const caller = await context.open();
    if (client.tellsOfLoss) {
      expectDegraded(await caller.burst(50), 'store_away');
      assert.equal(caller.errors.length, 1);
      await knownAway(caller, 150);
    } else {
      await knownSilent(caller);
    }
    const since = performance.now();
    await proxy.pass();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    (await caller.burst(20)).forEach(expectReal);
  },
};

/** @type {Scenario} */
const cutEvery20Ms = {
  name: 'connection cut every 20 ms',
  async run(context) {
    const { proxy, client } = context;
    const caller = await context.openReady();
    await proxy.cut({ everyMs: 20 });
    const load = keepCalling(caller);
    await sleep(250 * context.effort);
    const since = performance.now();
    await proxy.pass();
    await load.stop();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
  },
};

/** @type {Scenario} */
const cutWhileIdle = {
  name: 'an idle connection is cut: calls wait for the next one, and are real',
  async run(context) {
    const { proxy } = context;
    const caller = await context.openReady({ timeoutMs: 1_000 });
    for (let i = 0; i < 4; i++) {
      (await caller.burst(20)).forEach(expectReal);
      await proxy.cut({ reset: i % 2 === 1 });
      await sleep(20); // the client has noticed, but may not have reconnected yet
      (await caller.burst(20)).forEach(expectReal);
    }
  },
};

/** @type {readonly Scenario[]} */
export const outages = [
  stopped,
  stalledFromTheStart,
  killed,
  restarted,
  refusing,
  cutEvery20Ms,
  cutWhileIdle,
];

/**
 * Without a connection every call is answered in its own turn, and all calls share one error.
 *
 * @param {import('./caller.mjs').Caller} caller
 * @param {number} forMs
 */
async function knownAway(caller, forMs) {
  const known = caller.errors.length;
  const since = performance.now();
  do {
    const error = expectDegraded(await caller.answeredAtOnce(20), 'store_away');
    assert.equal(caller.errors.at(-1), error);
    await sleep(5);
  } while (performance.now() - since < forMs);
  assert.ok(caller.errors.length <= known + 1, `${caller.errors.length - known} errors`);
}

/**
 * Checks a client that does not report a missing connection: calls wait for one deadline, and are then answered at
 * once.
 *
 * @param {import('./caller.mjs').Caller} caller
 */
async function knownSilent(caller) {
  expectDegraded(await caller.burst(20), 'store_timeout');
  expectDegraded(await caller.answeredAtOnce(20), 'store_timeout');
}

/** @param {import('./caller.mjs').Caller} caller */
function keepCalling(caller) {
  const stopping = new AbortController();
  const done = (async () => {
    const pending = [];
    while (!stopping.signal.aborted) {
      pending.push(caller.call());
      await sleep(2);
    }
    await Promise.all(pending);
  })();
  return {
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
}

/**
 * The store states that the library publishes from here on. `away` is counted apart, because a client that closes
 * publishes it too.
 */
function storeStates() {
  /** @type {string[]} */
  const seen = [];
  const name = 'distributed-rate-limiter:store';
  /** @type {import('node:diagnostics_channel').ChannelListener} */
  const listen = (message) => {
    const { state } = /** @type {import('distributed-rate-limiter').StoreStateMessage} */ (message);
    if (state !== 'away') seen.push(state);
  };
  subscribe(name, listen);
  return {
    seen,
    end: () => {
      unsubscribe(name, listen);
      return seen;
    },
  };
}
