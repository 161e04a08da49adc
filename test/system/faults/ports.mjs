// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller, MARGIN_MS, expectDegraded, expectReal, isReal } from './caller.mjs';

/**
 * A client of another library that breaks every rule for clients. Needs no server.
 *
 * @typedef {import('distributed-rate-limiter').RedisPort} RedisPort
 * @typedef {import('./caller.mjs').FailStrategy} FailStrategy
 * @typedef {import('./run-scenario.mjs').Row} Row
 */

/**
 * @typedef {object} PortScenario
 * @property {string} name
 * @property {(failStrategy: FailStrategy) => Promise<Caller>} run
 */

/** Redis's time in microseconds, as the script returns it. */
const NOW = 1_700_000_000_000_000;

/** @type {PortScenario} */
const neverSettles = {
  name: 'promises that never settle',
  async run(failStrategy) {
    const port = silentPort();
    const caller = new Caller(port, failStrategy, { timeoutMs: 50, maxInFlight: 20 });
    expectDegraded(await caller.burst(5), 'store_timeout');
    const since = performance.now();
    expectDegraded(await caller.answeredAtOnce(5), 'store_timeout');
    assert.equal(port.sent.length, 1);
    const pending = [];
    while (performance.now() - since < 5 * caller.timeoutMs) {
      pending.push(caller.call());
      await sleep(1);
    }
    const probes = port.sent.length - 1;
    const elapsed = performance.now() - since;
    assert.ok(
      probes >= 1 && probes <= elapsed / caller.timeoutMs,
      `${probes} probes in ${Math.round(elapsed)} ms`,
    );
    expectDegraded(await Promise.all(pending), 'store_timeout');
    return caller;
  },
};

/** @type {PortScenario} */
const writtenOff = {
  name: 'promises that never settle are written off',
  async run(failStrategy) {
    const port = silentPort();
    const maxInFlight = 20;
    const caller = new Caller(port, failStrategy, { timeoutMs: 50, maxInFlight });
    const since = performance.now();
    expectDegraded(await caller.burst(maxInFlight), 'store_timeout');
    // The library answered them, but the client may still hold them.
    let [outcome] = await caller.answeredAtOnce(1);
    assert.ok(outcome);
    while (!isReal(outcome) && outcome.reason === 'overloaded') {
      await sleep(5);
      outcome = await caller.call();
    }
    const writtenOffMs = performance.now() - since;
    expectDegraded(outcome, 'store_timeout');
    const due = 10 * caller.timeoutMs;
    assert.ok(
      writtenOffMs >= due - 1 && writtenOffMs <= due + caller.timeoutMs + MARGIN_MS,
      `written off after ${Math.round(writtenOffMs)} ms, of ${due}`,
    );
    // That call was a probe. Its late answer, and those of calls given up before, must not be counted again.
    for (const { answer } of port.sent) answer();
    await sleep(1);
    port.answersAtOnce = true;
    expectReal(await caller.call());
    port.answersAtOnce = false;
    const sent = port.sent.length;
    const held = caller.burst(maxInFlight);
    expectDegraded(await caller.answeredAtOnce(1), 'overloaded');
    while (port.sent.length === sent) await new Promise(setImmediate);
    port.sent.at(-1)?.answer();
    (await held).forEach(expectReal);
    return caller;
  },
};

/** @type {Readonly<Record<string, () => unknown>>} */
const BAD_SENDS = {
  'throws an error': () => {
    throw new Error('thrown');
  },
  'throws what is no error': () => {
    // oxlint-disable-next-line typescript/only-throw-error -- what this scenario is about
    throw undefined;
  },
  'rejects with what is no error': () => Promise.reject(),
  'returns no promise': () => undefined,
};

/** @type {readonly PortScenario[]} */
const badSends = Object.entries(BAD_SENDS).map(([how, send]) => ({
  name: `a send that ${how}`,
  async run(failStrategy) {
    const maxInFlight = 20;
    const caller = new Caller(portOf(/** @type {RedisPort['send']} */ (send)), failStrategy, {
      maxInFlight,
    });
    // Three times `maxInFlight`, and none of them stays in flight.
    for (let i = 0; i < 3; i++) expectDegraded(await caller.burst(maxInFlight), 'store_away');
    assert.equal(caller.errors.length, 3, 'one for each store call');
    return caller;
  },
}));

/** @type {readonly PortScenario[]} */
export const portScenarios = [neverSettles, writtenOff, ...badSends];

/**
 * @param {PortScenario} scenario
 * @param {FailStrategy} failStrategy
 * @returns {Promise<Row>}
 */
export async function runPortScenario({ name, run }, failStrategy) {
  const caller = await run(failStrategy);
  caller.verify();
  await caller.limiter.close();
  const { calls, maxMs, p99Ms, lateMs } = caller;
  const row = { scenario: name, client: 'RedisPort', failStrategy, calls, maxMs, p99Ms, lateMs };
  return { ...row, charges: undefined, recoveryMs: undefined };
}

/**
 * @param {RedisPort['send']} send
 * @returns {RedisPort}
 */
function portOf(send) {
  return { state: 'ready', onStateChange: () => {}, isReply: () => false, send };
}

/** Answers only when told to, and then admits every call. */
function silentPort() {
  const port = {
    ...portOf((_command, [, keyCount = '']) => {
      return new Promise((resolve) => {
        const answer = () => resolve([NOW, ...Array(Number(keyCount)).fill(1)]);
        port.sent.push({ answer });
        if (port.answersAtOnce) answer();
      });
    }),
    answersAtOnce: false,
    /** @type {{ answer: () => void }[]} */
    sent: [],
  };
  return port;
}
