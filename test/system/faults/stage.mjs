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
 * @property {(stage: Stage) => Promise<void>} run throws where what it shows does not hold
 */

/**
 * A line of the table.
 *
 * @typedef {object} Row
 * @property {string} scenario
 * @property {string} client
 * @property {FailStrategy} failStrategy
 * @property {number} calls
 * @property {number} maxMs the longest time that a call took to settle
 * @property {number} p99Ms
 * @property {number} lateMs by how much that exceeds the deadline, apart from the time in which the event loop was blocked
 * @property {number | undefined} charges what the server has charged in the end; nothing where its data was lost
 * @property {number | undefined} recoveryMs from the end of the fault to the first real decision
 */

/** A real server behind a proxy with faults, and one limiter on it. */
class Stage {
  /** Whether the server lost what it knew, so that charges cannot be compared. */
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
   * @param {number} effort how much longer than necessary what has no natural end goes on
   */
  constructor(redis, proxy, client, failStrategy, effort) {
    this.redis = redis;
    this.proxy = proxy;
    this.client = client;
    this.failStrategy = failStrategy;
    this.effort = effort;
  }

  /**
   * A limiter, not yet connected.
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
   * A limiter that is connected, and has not failed yet.
   *
   * @param {Parameters<Stage['open']>[0]} [options]
   */
  async openReady(options) {
    for (let attempt = 1; ; attempt++) {
      const caller = await this.open(options);
      try {
        await caller.limiter.ready();
        caller.allowForNothing();
        return caller;
      } catch (error) {
        // The first script call of all can take longer than a deadline on a machine that is busy.
        if (attempt === 5) throw error;
        await this.close();
      }
    }
  }

  async close() {
    await this.caller?.limiter.close();
    this.closeClient?.();
  }

  /** Script calls that have come as far as the proxy. */
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
  const stage = new Stage(redis, proxy, client, failStrategy, effort);
  try {
    await scenario.run(stage);
    const { caller } = stage;
    assert.ok(caller);
    caller.verify();
    const charges = stage.dataLost ? undefined : await chargesOf(redis);
    if (charges !== undefined) {
      assert.ok(charges >= caller.granted, `${charges} charges for ${caller.granted} granted`);
      // A user's ioredis sends again, by its defaults.
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
      recoveryMs: stage.recoveryMs,
    };
  } finally {
    await stage.close();
    await proxy.close();
    await redis.close();
  }
}

/**
 * Units charged, as the server's keys have them.
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
  return values.reduce((sum, tat) => sum + Math.ceil((Number(tat) - now) / UNIT_US), 0);
}
