// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { RateLimiter } from 'distributed-rate-limiter';
import { Caller, expectReal, isReal } from './caller.mjs';

/**
 * Runs scenarios on a cluster, or on a primary with its replica. A failover takes seconds, so each fault is injected
 * once for all clients and both failure strategies.
 *
 * @typedef {import('distributed-rate-limiter').RedisClient} RedisClient
 * @typedef {import('./run-scenario.mjs').Row} Row
 */

/**
 * @template Group
 * @typedef {object} GroupClient
 * @property {string} name
 * @property {boolean} own whether this library opened the connection
 * @property {number} silenceMs how long a server may be silent before the client gives it up
 * @property {number} [takeoverMs] from the detection of a dead server to the first answer of its replica; default 3,000
 * @property {true} [staysWithHungNode] whether it keeps sending the slots of a hanging node to that node until it is back
 * @property {(group: Group) => Promise<{ redis: string | RedisClient, cluster?: true, close: () => void }>} open
 */

/**
 * One client under one failure strategy.
 *
 * @typedef {object} ClientRun
 * @property {GroupClient<any>} client
 * @property {'open' | 'closed'} failStrategy
 * @property {Caller} caller
 * @property {string} spent an identity that has nothing left, on the affected node
 * @property {number} extra what it was granted after the fault
 * @property {number | undefined} recoveryMs
 * @property {number | undefined} charges
 */

/**
 * Progress of a scenario's fault.
 *
 * @typedef {object} FaultProgress
 * @property {(key: string) => boolean} isAffected whether a key is on the affected node
 * @property {number | undefined} since when the fault was injected
 * @property {boolean} over whether `inject` has ended
 */

/**
 * @template Group
 * @typedef {object} GroupScenario
 * @property {string} name
 * @property {number} [timeoutMs] of the limiters; default 250
 * @property {(group: Group) => Promise<FaultProgress['isAffected']>} choose the node that the fault affects
 * @property {(group: Group, clientRuns: readonly ClientRun[], progress: FaultProgress) => Promise<void>} inject
 * @property {(clientRun: ClientRun, progress: FaultProgress, group: Group) => Promise<void>} callThrough calls until the fault has passed
 * @property {((group: Group) => Promise<unknown>) | undefined} recover
 * @property {(group: Group, clientRun: ClientRun) => Promise<void>} check
 */

/** @typedef {{ scenario: string, client: string, failStrategy: 'open' | 'closed', result: { row: Row, extra: number } | { error: unknown } }} GroupResult */

/**
 * @template Group
 * @param {GroupScenario<Group>} scenario
 * @param {Group} group
 * @param {readonly GroupClient<Group>[]} clients
 * @returns {Promise<GroupResult[]>}
 */
export async function runGroupScenario(scenario, group, clients) {
  /** @type {Map<string, unknown>} */
  const failures = new Map();
  /** @type {Map<string, ClientRun>} */
  const clientRuns = new Map();
  /** @type {(() => void)[]} */
  const closers = [];
  const progress = {
    isAffected: await scenario.choose(group),
    /** @type {number | undefined} */
    since: undefined,
    over: false,
  };
  const who = clients.flatMap((client) =>
    /** @type {const} */ (['open', 'closed']).map((failStrategy) => ({ client, failStrategy })),
  );
  /** @param {(clientRun: ClientRun) => Promise<void>} step */
  const each = async (step) => {
    await Promise.all(
      [...clientRuns].map(async ([name, clientRun]) => {
        if (failures.has(name)) return;
        await step(clientRun).catch((/** @type {unknown} */ error) => failures.set(name, error));
      }),
    );
  };

  try {
    for (const { client, failStrategy } of who) {
      const name = nameOf(client.name, failStrategy);
      const { redis, cluster, close } = await client.open(group);
      closers.push(close);
      const namespace = `${scenario.name} ${name}`.replaceAll(/\W+/g, '-').slice(-64);
      const { timeoutMs = 250 } = scenario;
      const options = { namespace, timeoutMs, ...(cluster && { cluster }) };
      const opening = await connectAll({ redis, ...options });
      const caller = new Caller(redis, failStrategy, options);
      closers.push(() => void opening.close());
      const spent = await caller.spend(freshWhere(caller, progress.isAffected));
      clientRuns.set(name, {
        client,
        failStrategy,
        caller,
        spent,
        extra: 0,
        recoveryMs: undefined,
        charges: undefined,
      });
    }
    // No call settles while the event loop is blocked, as it is by so many servers on one machine.
    const loopDelay = monitorEventLoopDelay({ resolution: 10 });
    loopDelay.enable();
    const callingThrough = each((clientRun) => scenario.callThrough(clientRun, progress, group));
    try {
      await scenario.inject(group, [...clientRuns.values()], progress);
    } finally {
      progress.over = true;
      await callingThrough;
      await scenario.recover?.(group);
    }
    await each((clientRun) => scenario.check(group, clientRun));
    await each(async ({ caller }) => {
      caller.blockedMs = loopDelay.max / 1e6;
      caller.verify();
    });
    loopDelay.disable();
  } catch (error) {
    for (const { client, failStrategy } of who) {
      failures.set(nameOf(client.name, failStrategy), error);
    }
  } finally {
    await each(({ caller }) => caller.limiter.close());
    for (const close of closers) close();
  }

  return who.map(({ client, failStrategy }) => {
    const name = nameOf(client.name, failStrategy);
    const clientRun = clientRuns.get(name);
    const place = { scenario: scenario.name, client: client.name, failStrategy };
    if (clientRun === undefined || failures.has(name)) {
      return { ...place, result: { error: failures.get(name) } };
    }
    const { caller, charges, recoveryMs, extra } = clientRun;
    const { calls, maxMs, p99Ms, lateMs } = caller;
    return {
      ...place,
      result: { extra, row: { ...place, calls, maxMs, p99Ms, lateMs, charges, recoveryMs } },
    };
  });
}

/**
 * Makes calls on the affected node and on others until the affected node decides again, and keeps doing so.
 *
 * @param {ClientRun} clientRun
 * @param {FaultProgress} progress
 * @param {number} withinMs from the fault to the first real decision; `Infinity`: not before `recover`
 */
export async function callThroughLoss(clientRun, progress, withinMs) {
  const { caller } = clientRun;
  const endless = withinMs === Infinity;
  /** @type {Promise<void>[]} */
  const pending = [];
  const lost = { first: Infinity, last: -Infinity, harmed: 0, elsewhere: 0 };
  let realAt = Infinity;
  /** @param {boolean} affected */
  const ask = async (affected) => {
    const identity = freshWhere(caller, (key) => progress.isAffected(key) === affected);
    const outcome = await caller.call(identity);
    const now = performance.now();
    if (!isReal(outcome)) {
      if (!affected) lost.elsewhere += 1;
      else lost.harmed += 1;
      lost.first = Math.min(lost.first, now);
      lost.last = Math.max(lost.last, now);
      if (affected) realAt = Infinity;
    } else if (affected && lost.harmed > 0) {
      realAt = Math.min(realAt, now);
    }
  };
  /** Whether any other node exists. */
  const others = Array.from({ length: 200 }, () => caller.keyOf(caller.fresh())).some(
    (key) => !progress.isAffected(key),
  );
  const started = performance.now();
  for (;;) {
    pending.push(ask(true));
    if (others) pending.push(ask(false));
    await sleep(5);
    const now = performance.now();
    const since = progress.since ?? now;
    if (now - since > (endless ? 4_000 : withinMs + 1_000) && realAt === Infinity) break;
    if (now - realAt > 500 || now - started > 60_000) break;
  }
  await Promise.all(pending);
  const { since } = progress;
  assert.ok(since !== undefined && lost.harmed > 0, 'the fault had an effect');
  assert.equal(lost.elsewhere, 0, `${lost.elsewhere} calls failed that the fault did not concern`);
  if (endless) return;
  clientRun.recoveryMs = realAt - since;
  assert.ok(
    clientRun.recoveryMs <= withinMs,
    `real again after ${Math.round(clientRun.recoveryMs)} ms, of ${withinMs}`,
  );
}

/**
 * Checks that at most one extra burst is granted.
 *
 * @param {ClientRun} clientRun
 */
export async function checkExtra(clientRun) {
  const { caller, spent } = clientRun;
  clientRun.extra = 0;
  for (;;) {
    const decision = expectReal(await caller.callSpent(spent));
    if (!decision.allowed) break;
    clientRun.extra += 1;
  }
  assert.ok(clientRun.extra <= caller.smallBurst, `${clientRun.extra} granted again`);
}

/**
 * @param {Caller} caller
 * @param {(key: string) => boolean} wanted
 */
function freshWhere(caller, wanted) {
  for (let i = 0; ; i++) {
    const identity = caller.fresh();
    if (wanted(caller.keyOf(identity))) return identity;
    if (i === 10_000) throw new Error('no identity is on the wanted node');
  }
}

/**
 * Connects to every node with a limiter of its own; the other limiters then share its connection.
 *
 * @param {{ redis: string | RedisClient, namespace: string, timeoutMs: number, cluster?: true }} options
 */
async function connectAll(options) {
  const limiter = new RateLimiter({
    ...options,
    namespace: 'opening',
    rate: 1_000_000,
    period: '1s',
    onError: () => {},
  });
  for (let attempt = 1; ; attempt++) {
    const calls = Array.from({ length: 50 }, (_, i) => limiter.allow(`${i}`));
    const outcomes = await Promise.all(calls);
    if (outcomes.every(isReal)) return limiter;
    if (attempt === 20) outcomes.forEach(expectReal);
    await sleep(50 * attempt);
  }
}

/**
 * @param {string} client
 * @param {string} failStrategy
 */
function nameOf(client, failStrategy) {
  return `${client} ${failStrategy}`;
}
