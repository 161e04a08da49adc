// @ts-check
import assert from 'node:assert/strict';
import { loadClient } from '../../installs/clients/index.mjs';
import { startSentinel, waitUntil } from '../../kit/servers/index.mjs';
import { MARGIN_MS, isReal } from './caller.mjs';
import { callThroughLoss, checkExtra, runGroupScenario } from './groups.mjs';
import { chargesOf } from './run-scenario.mjs';

/**
 * @typedef {Awaited<ReturnType<typeof startSentinel>>} Watched
 * @typedef {import('./groups.mjs').GroupClient<Watched>} SentinelClient
 * @typedef {import('./groups.mjs').GroupScenario<Watched>} SentinelScenario
 * @typedef {import('./groups.mjs').GroupResult} GroupResult
 */

const DOWN_AFTER_MS = 1_000;
const SILENCE_MS = 500;

/** @type {SentinelClient} */
const ioredis = {
  name: 'ioredis by Sentinel',
  own: false,
  silenceMs: SILENCE_MS,
  open: async ({ addresses, name }) => {
    const { Redis } = await import('ioredis');
    const client = new Redis({
      sentinels: addresses,
      name,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      connectTimeout: 1_000,
      // Without this setting the client never leaves a primary that hangs.
      socketTimeout: SILENCE_MS,
      retryStrategy: (attempt) => Math.min(50 * attempt, 500),
      sentinelRetryStrategy: (attempt) => Math.min(50 * attempt, 500),
    });
    client.on('error', () => {});
    return { redis: client, close: () => client.disconnect() };
  },
};

/**
 * @param {string} name
 * @param {() => Promise<Pick<typeof import('redis'), 'createSentinel'>>} load
 * @returns {SentinelClient}
 */
const nodeRedis = (name, load) => ({
  name: `${name} by Sentinel`,
  own: false,
  silenceMs: SILENCE_MS,
  open: async ({ addresses, name: group }) => {
    const { createSentinel } = await load();
    const client = createSentinel({ name: group, sentinelRootNodes: addresses });
    client.on('error', () => {});
    await client.connect();
    return { redis: client, close: () => void client.destroy() };
  },
});

export const sentinelClients = [
  ioredis,
  nodeRedis('node-redis', () => import('redis')),
  nodeRedis('node-redis 5', async () => loadClient('redis-5')),
];

/** @param {number} extraMs @returns {SentinelScenario['callThrough']} */
const callingThrough = (extraMs) => (clientRun, progress) =>
  callThroughLoss(clientRun, progress, DOWN_AFTER_MS + extraMs + 3_000 + MARGIN_MS);

/** @type {SentinelScenario['check']} */
async function check(group, clientRun) {
  const { caller } = clientRun;
  await caller.recovered(performance.now(), 1_000 + MARGIN_MS);
  await waitUntil('an end of the errors', async () => (await caller.burst(50)).every(isReal), {
    timeoutMs: 1_000,
  });
  await checkExtra(clientRun);
  clientRun.charges = await chargesOf(group.replica, `${caller.namespace}:*`);
  assert.ok(clientRun.charges <= caller.calls, 'nothing was sent twice');
}

/** @type {SentinelScenario} */
const killed = {
  name: 'the primary dies (SIGKILL), and Sentinels promote its replica',
  choose: async () => () => true,
  async inject({ primary }, _clientRuns, progress) {
    await primary.kill();
    progress.since = performance.now();
  },
  callThrough: callingThrough(0),
  recover: undefined,
  check,
};

/** @type {SentinelScenario} */
const hung = {
  name: 'the primary hangs (SIGSTOP), Sentinels promote its replica, and it comes back',
  choose: async () => () => true,
  async inject({ primary }, _clientRuns, progress) {
    await primary.stop();
    progress.since = performance.now();
  },
  callThrough: callingThrough(SILENCE_MS),
  recover: ({ primary }) => primary.cont(),
  check,
};

/** @type {SentinelScenario} */
const lost = {
  name: 'the replica that is promoted had not received the last writes: one burst more, no more',
  async choose({ primary, replica }) {
    await replica.stop();
    // Otherwise the replica would read later writes from its socket before the promotion.
    await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
    return () => true;
  },
  async inject({ primary, replica }, _clientRuns, progress) {
    await primary.kill();
    await replica.cont();
    progress.since = performance.now();
  },
  // The Sentinels must first see that the replica answers, too.
  callThrough: callingThrough(1_000),
  recover: undefined,
  async check(group, clientRun) {
    await check(group, clientRun);
    assert.equal(clientRun.extra, clientRun.caller.smallBurst, 'as much as was lost');
  },
};

export const sentinelScenarios = [killed, hung, lost];

/**
 * Runs each scenario on its own servers.
 *
 * @param {(result: GroupResult) => void} tell
 * @param {string} [words] in the name of the scenario
 */
export async function runSentinelScenarios(tell, words = '') {
  for (const scenario of sentinelScenarios.filter(({ name }) => name.includes(words))) {
    const group = await startSentinel({ downAfterMs: DOWN_AFTER_MS });
    try {
      for (const result of await runGroupScenario(scenario, group, sentinelClients)) tell(result);
    } finally {
      await group.close();
    }
  }
}
