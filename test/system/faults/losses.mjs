// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { MARGIN_MS, expectDegraded, expectReal, isReal, keyOf } from './caller.mjs';

/**
 * The server loses its data. The test counts the units then granted again: at most one burst for each identity.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 * @typedef {import('./caller.mjs').Caller} Caller
 */

/** @type {Scenario} */
const backEmpty = {
  name: 'killed, away, and back without its data: one more burst, no more',
  async run(context) {
    const { redis, client } = context;
    context.dataLost = true;
    const caller = await context.openReady({ url: redis.url });
    const spent = await caller.spend();
    await redis.kill();
    await sleep(300 * context.effort);
    expectDegraded(await caller.burst(20), client.tellsOfLoss ? 'store_away' : 'store_timeout');
    await redis.restart();
    const since = performance.now();
    context.recoveryMs = await caller.recovered(since, client.reconnectMs + MARGIN_MS);
    assert.equal(await drain(caller, spent), caller.smallBurst);
  },
};

/** @type {(policy: string) => Scenario} */
const evicting = (policy) => ({
  name: `memory is full, under ${policy}: one more burst for each key that was evicted`,
  async run(context) {
    const { redis } = context;
    context.dataLost = true;
    const caller = await context.openReady({ timeoutMs: 2_000 });
    const identities = await Promise.all(Array.from({ length: 60 }, () => caller.spend()));
    const { used_memory: used = '0' } = await redis.info('memory');
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', policy);
    await redis.command('CONFIG', 'SET', 'maxmemory', Number(used) + 100_000);
    const evicted = async () => Number((await redis.info('stats'))['evicted_keys']);
    for (let i = 0; (await evicted()) < 20; i++) {
      await redis.command('SET', `ballast:${i}`, 'x'.repeat(2_000), 'EX', 100_000);
    }
    // Every decision meanwhile comes from the store.
    (await caller.burst(20)).forEach(expectReal);
    await redis.command('CONFIG', 'SET', 'maxmemory', 0);
    const kept = await Promise.all(
      identities.map((identity) => redis.command('EXISTS', keyOf(identity))),
    );
    const lost = kept.filter((exists) => exists === 0).length;
    assert.ok(lost > 0 && lost <= (await evicted()), `${lost} of ${identities.length} lost`);
    for (const [i, identity] of identities.entries()) {
      const extra = await drain(caller, identity);
      assert.equal(extra, kept[i] === 0 ? caller.smallBurst : 0);
    }
  },
});

/** @type {readonly Scenario[]} */
export const losses = [backEmpty, ...['allkeys-lru', 'volatile-ttl'].map(evicting)];

/**
 * @param {Caller} caller
 * @param {string} identity
 * @returns {Promise<number>} how much it is granted before it is refused
 */
async function drain(caller, identity) {
  for (let granted = 0; ; granted++) {
    const decision = expectReal(await caller.callSpent(identity));
    assert.ok(isReal(decision));
    if (!decision.allowed) return granted;
  }
}
