// @ts-check
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { RateLimiter } from 'distributed-rate-limiter';
import { Caller, expectReal, isReal } from './caller.mjs';

/**
 * Servers that stand in for each other, a cluster or a primary with its replica. One fault meets all clients at once,
 * with either failure strategy: a failover takes seconds, however many look on.
 *
 * @typedef {import('distributed-rate-limiter').RedisClient} RedisClient
 * @typedef {import('./stage.mjs').Row} Row
 */

/**
 * @template Group
 * @typedef {object} GroupClient
 * @property {string} name
 * @property {boolean} own whether this library opened the connection
 * @property {number} silenceMs how long a server may be silent before the client gives it up
 * @property {number} [heirMs] from when a server is taken for dead to the first answer of its heir; default 3,000
 * @property {true} [staysWithTheHung] whether it asks no other node for the slots of one that hangs, until that is back
 * @property {(group: Group) => Promise<{ redis: string | RedisClient, cluster?: true, close: () => void }>} open
 */

/**
 * One client under one strategy.
 *
 * @typedef {object} Subject
 * @property {GroupClient<any>} client
 * @property {'open' | 'closed'} failStrategy
 * @property {Caller} caller
 * @property {string} spent an identity that has nothing left, where the fault strikes
 * @property {number} extra what it was granted after the fault
 * @property {number | undefined} recoveryMs
 * @property {number | undefined} charges
 */

/**
 * What a scenario has chosen, and what has happened so far.
 *
 * @typedef {object} Course
 * @property {(key: string) => boolean} isStruck whether a key is where the fault strikes
 * @property {number | undefined} since when it did
 * @property {boolean} over whether the part of the fault that takes time has passed
 */

/**
 * @template Group
 * @typedef {object} GroupScenario
 * @property {string} name
 * @property {number} [timeoutMs] of the limiters; default 250
 * @property {(group: Group) => Promise<Course['isStruck']>} choose where the fault will strike
 * @property {(group: Group, subjects: readonly Subject[], course: Course) => Promise<void>} strike
 * @property {(subject: Subject, course: Course, group: Group) => Promise<void>} endure what each does meanwhile; ends after the fault
 * @property {((group: Group) => Promise<unknown>) | undefined} heal
 * @property {(group: Group, subject: Subject) => Promise<void>} judge
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
  /** @type {Map<string, Subject>} */
  const subjects = new Map();
  /** @type {(() => void)[]} */
  const closers = [];
  const course = {
    isStruck: await scenario.choose(group),
    /** @type {number | undefined} */
    since: undefined,
    over: false,
  };
  const who = clients.flatMap((client) =>
    /** @type {const} */ (['open', 'closed']).map((failStrategy) => ({ client, failStrategy })),
  );
  /** @param {(subject: Subject) => Promise<void>} step */
  const each = async (step) => {
    await Promise.all(
      [...subjects].map(async ([name, subject]) => {
        if (failures.has(name)) return;
        await step(subject).catch((/** @type {unknown} */ error) => failures.set(name, error));
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
      const spent = await caller.spend(freshWhere(caller, course.isStruck));
      subjects.set(name, {
        client,
        failStrategy,
        caller,
        spent,
        extra: 0,
        recoveryMs: undefined,
        charges: undefined,
      });
    }
    // Nothing settles while the loop stands still, and a machine that runs so many servers makes it.
    const standstills = monitorEventLoopDelay({ resolution: 10 });
    standstills.enable();
    const enduring = each((subject) => scenario.endure(subject, course, group));
    try {
      await scenario.strike(group, [...subjects.values()], course);
    } finally {
      course.over = true;
      await enduring;
      await scenario.heal?.(group);
    }
    await each((subject) => scenario.judge(group, subject));
    await each(async ({ caller }) => {
      caller.blockedMs = standstills.max / 1e6;
      caller.verify();
    });
    standstills.disable();
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
    const subject = subjects.get(name);
    const place = { scenario: scenario.name, client: client.name, failStrategy };
    if (subject === undefined || failures.has(name)) {
      return { ...place, result: { error: failures.get(name) } };
    }
    const { caller, charges, recoveryMs, extra } = subject;
    const { calls, maxMs, p99Ms, lateMs } = caller;
    return {
      ...place,
      result: { extra, row: { ...place, calls, maxMs, p99Ms, lateMs, charges, recoveryMs } },
    };
  });
}

/**
 * Calls where the fault strikes and elsewhere, until the former are real again and have stayed so.
 *
 * @param {Subject} subject
 * @param {Course} course
 * @param {number} withinMs from the fault to the first real decision; `Infinity`: not before it is healed
 */
export async function endureLoss(subject, course, withinMs) {
  const { caller } = subject;
  const endless = withinMs === Infinity;
  /** @type {Promise<void>[]} */
  const pending = [];
  const lost = { first: Infinity, last: -Infinity, harmed: 0, elsewhere: 0 };
  let realAt = Infinity;
  /** @param {boolean} struck */
  const ask = async (struck) => {
    const identity = freshWhere(caller, (key) => course.isStruck(key) === struck);
    const outcome = await caller.call(identity);
    const now = performance.now();
    if (!isReal(outcome)) {
      if (!struck) lost.elsewhere += 1;
      else lost.harmed += 1;
      lost.first = Math.min(lost.first, now);
      lost.last = Math.max(lost.last, now);
      if (struck) realAt = Infinity;
    } else if (struck && lost.harmed > 0) {
      realAt = Math.min(realAt, now);
    }
  };
  /** Whether there is somewhere else at all. */
  const others = Array.from({ length: 200 }, () => caller.keyOf(caller.fresh())).some(
    (key) => !course.isStruck(key),
  );
  const started = performance.now();
  for (;;) {
    pending.push(ask(true));
    if (others) pending.push(ask(false));
    await sleep(5);
    const now = performance.now();
    const since = course.since ?? now;
    if (now - since > (endless ? 4_000 : withinMs + 1_000) && realAt === Infinity) break;
    if (now - realAt > 500 || now - started > 60_000) break;
  }
  await Promise.all(pending);
  const { since } = course;
  assert.ok(since !== undefined && lost.harmed > 0, 'the fault struck');
  assert.equal(lost.elsewhere, 0, `${lost.elsewhere} calls failed that the fault did not concern`);
  if (endless) return;
  subject.recoveryMs = realAt - since;
  assert.ok(
    subject.recoveryMs <= withinMs,
    `real again after ${Math.round(subject.recoveryMs)} ms, of ${withinMs}`,
  );
}

/**
 * Nothing is worse than one burst granted once more.
 *
 * @param {Subject} subject
 */
export async function judgeExtra(subject) {
  const { caller, spent } = subject;
  subject.extra = 0;
  for (;;) {
    const decision = expectReal(await caller.callSpent(spent));
    if (!decision.allowed) break;
    subject.extra += 1;
  }
  assert.ok(subject.extra <= caller.smallBurst, `${subject.extra} granted again`);
}

/**
 * @param {Caller} caller
 * @param {(key: string) => boolean} wanted
 */
function freshWhere(caller, wanted) {
  for (let i = 0; ; i++) {
    const identity = caller.fresh();
    if (wanted(caller.keyOf(identity))) return identity;
    if (i === 10_000) throw new Error('no identity is where it is wanted');
  }
}

/**
 * Until every node is connected to: by a limiter of its own, which then has the connection in common with others.
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
