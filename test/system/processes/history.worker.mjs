// @ts-check
import { runAsWorker } from '../../kit/servers/index.mjs';
import { Shapes, limitOf } from './asked.mjs';
import { RateLimiter, connectionOfClient, decideBatch } from './built.mjs';
import { LIBRARIES, openClient } from './clients.mjs';
import { keepInFlight } from './demand.mjs';
import { Random } from '../../kit/random.mjs';

/**
 * @typedef {import('./asked.mjs').Asked} Asked
 * @typedef {import('./asked.mjs').Numbers} Numbers
 * @typedef {import('../../../src/redis/connection/script.ts').ScriptSource} ScriptSource
 * @typedef {import('../../../src/redis/connection/script.ts').Script<import('../../../src/stores/store.ts').Call>} Script
 *
 * @typedef {object} Task
 * @property {number} port
 * @property {ScriptSource} source the production script with two more values at the end of its reply: for each of its
 *   KEYS whether it was there, as one `1` or `0`, and the sequence number
 * @property {Record<string, Numbers[]>} plans
 * @property {number} decisions of each process
 *
 * @typedef {object} Batch one execution of the script
 * @property {number} sequence
 * @property {string} present
 * @property {string[]} keys of its calls, in order
 * @property {(readonly string[])[]} details of each call
 * @property {number[]} asked of each call, its place in the process's list
 * @property {(number | string)[]} reply the time, then the integers of every call
 *
 * @typedef {{ asked: Asked[], batches: Batch[], allowed: number, refused: number, failed: number }} History
 */

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    /** @type {History} */
    const history = { asked: [], batches: [], allowed: 0, refused: 0, failed: 0 };
    const shapes = new Shapes((asked) => history.asked.push(asked));

    const { client } = await openClient(LIBRARIES[index % 2] ?? 'ioredis', data.port);
    /** @type {Script} */
    const recording = {
      source: data.source,
      encode: (calls, from) => decideBatch.encode(calls, from),
      settle: (calls, reply, sentAtMs, node) => {
        const values = /** @type {(number | string)[]} */ (reply);
        const sequence = Number(values.pop());
        const present = String(values.pop());
        decideBatch.settle(calls, values, sentAtMs, node);
        history.batches.push({
          sequence,
          present,
          keys: calls.map(({ key }) => key),
          details: calls.map(({ details }) => details ?? []),
          asked: calls.map(({ shape }) => shapes.placeOf(shape)),
          reply: [Number(values[0]), ...values.slice(1)],
        });
      },
    };
    // Limiters on one client share its connection, so the limiter's own calls use this script, too.
    connectionOfClient(client, recording);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'history',
      limits: (data.plans['own'] ?? []).map(limitOf),
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    const plans = Object.fromEntries(
      Object.entries(data.plans).map(([name, limits]) => [name, limits.map(limitOf)]),
    );
    await limiter.ready();
    await ready();

    const random = new Random(index + 1);
    /** @param {Promise<{ allowed: boolean } | void>} call */
    const count = async (call) => {
      try {
        const decision = await call;
        if (decision) history[decision.allowed ? 'allowed' : 'refused'] += 1;
      } catch (error) {
        if (!/UNREADABLE/.test(String(error))) throw error;
        history.failed += 1;
      }
    };
    /**
     * A call under one limit without fractions, as most are: a batch of equal calls takes the script's fast path.
     *
     * @param {number} lane
     */
    const simple = (lane) => limiter.allow(`simple:${lane}`, { limits: plans['simple'] ?? [] });
    /** Two identities whose histories are checked against the rate itself. */
    const lawful = () => {
      const plan = random.pick(['whole', 'parts', 'mixed']);
      const options = { limits: plans[plan] ?? [], cost: random.pick([1, 1, 2, 5]) };
      return random.fraction() < 0.9 ? limiter.allow(plan, options) : limiter.peek(plan, options);
    };
    const wild = () => {
      const number = random.int(0, 39);
      const identity = random.pick([`user:${number}`, ['org', `user:${number}`], `user:${number}`]);
      const limits = plans[random.pick(['own', 'own', 'reshaped', 'named', 'several'])] ?? [];
      const options = { limits, cost: random.pick([1, 1, 1, 2, 3]) };
      const kind = random.fraction();
      if (kind < 0.75) return limiter.allow(identity, options);
      if (kind < 0.95) return limiter.peek(identity, options);
      return limiter.reset(identity, { limits });
    };
    const poisoned = () =>
      random.fraction() < 0.99 ? limiter.allow('poisoned') : limiter.reset('poisoned');

    let left = data.decisions;
    await keepInFlight(64, async (lane) => {
      if (left <= 0) return false;
      left -= 1;
      // In phases, so that there are batches of equal calls as well as mixed ones.
      const stretch = Math.floor(left / 500) % 3;
      const kind =
        stretch === 0 ? 0 : stretch === 1 ? 0.3 + 0.7 * random.fraction() : random.fraction();
      await count(
        kind < 0.3 ? simple(lane) : kind < 0.6 ? lawful() : kind < 0.98 ? wild() : poisoned(),
      );
      return true;
    });
    return history;
  },
);
