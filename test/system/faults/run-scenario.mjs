// @ts-check
import assert from 'node:assert/strict';
import { startFaultProxy, startRedis } from '../../kit/servers/index.mjs';
import { Caller, NAMESPACE, UNIT_US } from './caller.mjs';

/**
 * @typedef {import('../../kit/servers/redis-server.mjs').RedisServer} RedisServer
 * @typedef {import('../../kit/servers/redis-server.mjs').RedisOptions} RedisOptions
 * @typedef {import('../../kit/servers/fault-proxy.mjs').FaultProxy} FaultProxy
 * @typedef {import('./clients.mjs').ClientKind} ClientKind
 * @typedef {import('./caller.mjs').FailStrategy} FailStrategy
 */

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {RedisOptions} [server]
 * @property {(context: ScenarioContext) => Promise<void>} run throws when a check fails
 */

/**
 * A row of the table.
 *
 * @typedef {object} Row
 * @property {string} scenario
 * @property {string} client
 * @property {FailStrategy} failStrategy
 * @property {number} calls
 * @property {number} maxMs the longest time that a call took to settle
 * @property {number} p99Ms
 * @property {number} lateMs the excess of that over the deadline, without the time in which the event loop was blocked
 * @property {number | undefined} charges units charged in the end; undefined when the data was lost
 * @property {number | undefined} recoveryMs from the end of the fault to the first real decision
 */

/** A real server behind a fault proxy, and one limiter on it. */
class ScenarioContext {
  /** Whether the server lost its data, so that charges cannot be compared. */
  dataLost = false;
  /** @type {number | undefined} */
  recoveryMs;
  /** @type {Caller | undefined} */
  caller;
  /** What the limiter was given as `redis`. @type {string | import('distributed-rate-limiter').RedisClient} */
  target = '';
  /** @type {(() => void) | undefined} */
  closeClient;

  /**
   * @param {RedisServer} redis
   * @param {FaultProxy} proxy
   * @param {ClientKind} client
   * @param {FailStrategy} failStrategy
   * @param {number} effort factor by which endless load is prolonged
   */
  constructor(redis, proxy, client, failStrategy, effort) {
    this.redis = redis;
    this.proxy = proxy;
    this.client = client;
    this.failStrategy = failStrategy;
    this.effort = effort;
  }

  /**
   * Makes a limiter that is not yet connected.
   *
   * @param {{ url?: string, timeoutMs?: number, maxInFlight?: number }} [options] `url`: default through the proxy
   */
  async open({ url = this.proxy.url, ...options } = {}) {
    const { redis, close } = await this.client.open(url);
    this.closeClient = close;
    this.target = redis;
    this.caller = new Caller(redis, this.failStrategy, options);
    this.caller.allowForOpening();
    if (this.client.opensSlowly) this.caller.allowForTheFirstCall();
    return this.caller;
  }

  /**
   * Makes a limiter that is connected and has not failed.
   *
   * @param {Parameters<ScenarioContext['open']>[0]} [options]
   */
  async openReady(options) {
    for (let attempt = 1; ; attempt++) {
      const caller = await this.open(options);
      try {
        await caller.limiter.ready();
        caller.allowForNothing();
        return caller;
      } catch (error) {
        // The very first script call can exceed the deadline on a busy machine.
        if (attempt === 5) throw error;
        await this.close();
      }
    }
  }

  async close() {
    await this.caller?.limiter.close();
    this.closeClient?.();
  }

  /** The number of script calls that reached the proxy. */
  get sent() {
    const { EVALSHA = 0, EVAL = 0 } = this.proxy.counts.commands;
    return EVALSHA + EVAL;
  }
}

/**
 * @param {Scenario} scenario
 * @param {ClientKind} client
 * @param {FailStrategy} failStrategy
 * @param {number} [effort]
 * @returns {Promise<Row>}
 */
export async function runScenario(scenario, client, failStrategy, effort = 1) {
  const redis = await startRedis(scenario.server);
  const proxy = await startFaultProxy(redis);
  const context = new ScenarioContext(redis, proxy, client, failStrategy, effort);
  try {
    await scenario.run(context);
    const { caller } = context;
    assert.ok(caller);
    caller.verify();
    const charges = context.dataLost ? undefined : await chargesOf(redis);
    if (charges !== undefined) {
      assert.ok(charges >= caller.granted, `${charges} charges for ${caller.granted} granted`);
      // ioredis clients resend by default.
      if (client.own || client.library !== 'ioredis')
        assert.ok(charges <= caller.calls, `${charges} charges, ${caller.calls} calls`);
    }
    return {
      scenario: scenario.name,
      client: client.name,
      failStrategy,
      calls: caller.calls,
      maxMs: caller.maxMs,
      p99Ms: caller.p99Ms,
      lateMs: caller.lateMs,
      charges,
      recoveryMs: context.recoveryMs,
    };
  } finally {
    await context.close();
    await proxy.close();
    await redis.close();
  }
}

/**
 * Counts the units charged, from the server's keys.
 *
 * @param {RedisServer} redis
 * @param {string} [pattern] of keys; default all of them
 * @returns {Promise<number>}
 */
export async function chargesOf(redis, pattern = `${NAMESPACE}:*`) {
  /** @type {string[]} */
  const keys = await redis.command('KEYS', pattern);
  /** @type {[string, string]} */
  const [seconds, micros] = await redis.command('TIME');
  const now = Number(seconds) * 1e6 + Number(micros);
  const values = await Promise.all(keys.map((key) => redis.command('GET', key)));
  return values.reduce((sum, value) => sum + Math.ceil((arrivalOf(value) - now) / UNIT_US), 0);
}

/**
 * The arrival time by which the limiter's own limit is counted. Beside a plan's it stands in microseconds after the
 * last charge.
 *
 * @param {string} value
 */
function arrivalOf(value) {
  const [, at, tat] = /^\d+:v1:(\d+):(\d+):/.exec(value) ?? [];
  return tat === undefined ? Number(value) : Number(at) + Number(tat);
}
