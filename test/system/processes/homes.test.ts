import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fixedWindow, RateLimiter } from 'distributed-rate-limiter';
import { runWorkers, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import { heldAfter, replay } from './history.replay.ts';
import { LOG, scriptThatNotes } from './history.script.ts';
import { entriesTold, shapeAsked } from './history.shapes.ts';
import { limitsOf } from './homes.limits.mjs';
import type { Seen, Task } from './homes.worker.mjs';
import { isLong } from './length.mjs';

const worker = new URL('homes.worker.mjs', import.meta.url);

const PROCESSES = 8;
const namespace = 'homes';
const rates = { calls: 70, tokens: 2_800, micros: 20_000 };

const limits = limitsOf(rates).map((numbers) => fixedWindow(numbers));
const parts = { calls: ['org', 'team', 'key'], tokens: ['org', 'team'], money: ['org'] } as const;

const IDENTITIES = ['o0', 'o1'].flatMap((org) =>
  ['t0', 't1', 't2'].flatMap((team) => ['k0', 'k1', 'k2', 'k3'].map((key) => ({ org, team, key }))),
);

/** The name under which a process counts what a limit of an identity let pass. */
function nameOf(limit: keyof typeof parts, identity: (typeof IDENTITIES)[number]): string {
  return [limit, ...parts[limit].map((part) => identity[part])].join(' ');
}

/** That name, by the key of the home and the limit's id in it. */
function namesByState(): ReadonlyMap<string, string> {
  const set = new LimitSet(namespace, limits, false);
  return new Map(
    IDENTITIES.flatMap((identity) => {
      const { homes } = set.locate(identity, undefined);
      return (Object.keys(parts) as (keyof typeof parts)[]).map(
        (limit, i) => [`${homes![i]!} ${limit}=f`, nameOf(limit, identity)] as const,
      );
    }),
  );
}

/** In pages: the whole history is longer than a reply should be. */
async function historyOf(server: RedisServer): Promise<string[]> {
  const lines: string[] = [];
  for (let page: string[]; ; lines.push(...page)) {
    page = await server.command('LRANGE', LOG, lines.length, lines.length + 99);
    if (page.length === 0) return lines;
  }
}

describe(`${PROCESSES} processes, three homes of an identity and three units`, () => {
  let redis: RedisServer;
  let seen: Seen[];
  /** Units that passed in all processes, by home. */
  const charged: Record<string, number> = {};
  /** Redis's own record of every execution of the script, and what it stored. */
  let history: string[];
  const stored = new Map<string, string>();
  const known = new Map<string, readonly Entry[]>();
  const answered: string[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    const task: Task = {
      port: redis.port,
      source: scriptThatNotes(),
      rates,
      inFlight: 32,
      calls: isLong ? 20_000 : 2_000,
      seed: 20_260_101,
    };
    seen = (await runWorkers(worker, PROCESSES, task, { timeoutMs: 240_000 })) as Seen[];
    for (const each of seen) {
      for (const [home, units] of Object.entries(each.charged)) {
        charged[home] = (charged[home] ?? 0) + units;
      }
      const shapes: Shape[] = [];
      for (const [what, about, calls] of each.told) {
        if (what === 'shape') shapes.push(shapeAsked(about));
        else if (what === 'encoded') known.set(about, entriesTold(calls, shapes));
        else answered.push(about);
      }
    }
    history = await historyOf(redis);
    for (const key of (await redis.command('KEYS', `*${namespace}:*`)) as string[]) {
      const value: string | null = await redis.command('GET', key);
      if (value !== null) stored.set(key, value);
    }
  }, 300_000);
  afterAll(() => redis.close());

  test('pass no more than the rate in any home, and nearly all of it in a home of each limit', () => {
    const most: Record<string, number> = {
      calls: rates.calls,
      tokens: rates.tokens,
      money: rates.micros,
    };
    const full = new Set<string>();
    for (const [home, units] of Object.entries(charged)) {
      const limit = home.split(' ', 1)[0]!;
      expect(units, home).toBeLessThanOrEqual(most[limit]!);
      if (units > 0.9 * most[limit]!) full.add(limit);
    }
    expect(full.size).toBe(3);
    expect(seen.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(0);
  });

  test('leave in each home exactly what passed: a refusal by one home charges no other', async () => {
    const limiter = new RateLimiter({ redis: redis.url, namespace, limits });
    const kept: Record<string, number> = {};
    for (const identity of IDENTITIES) {
      const cost = { calls: 0, tokens: 0, micros: 0 };
      const decision = await limiter.peek(identity, { cost });
      for (const { name, limit, remaining = NaN } of decision.limits) {
        kept[nameOf(name as keyof typeof parts, identity)] = limit - remaining;
      }
    }
    await limiter.close();
    expect(kept).toEqual(charged);
  });

  test('have each answered call in the history exactly once', () => {
    expect(answered.toSorted()).toEqual(history.toSorted());
    expect(new Set(history).size).toBe(history.length);
    const names = namesByState();
    // `ready` calls with identities of its own.
    const isOurs = ({ key, homes, shape }: Entry): boolean =>
      shape.rules.some(({ id, home = 0 }) => names.has(`${homes?.[home] ?? key} ${id}`));
    const calls = history.flatMap((line) => known.get(line.slice(0, line.lastIndexOf('|')))!);
    const verbs = new Set(calls.map(({ shape }) => shape.verb));
    expect([...verbs]).toEqual(
      expect.arrayContaining(['allow', 'reserve', 'add', 'settle', 'refund']),
    );
    const made = seen.reduce((sum, each) => sum + each.calls, 0);
    expect(calls.filter(isOurs).length).toBe(made);
    console.log(`${made} calls in ${history.length} script calls`);
  });

  test('replay from nothing with the same replies, and the same stored values', () => {
    const kept = new Map<string, string>();
    replay(history, known, kept);
    const lasting = [...kept].filter(([key]) => stored.has(key));
    expect(stored.size).toBeGreaterThan(IDENTITIES.length);
    expect(new Map(lasting)).toEqual(stored);
    // Nothing else has expired than records of settled reservations.
    const gone = [...kept.keys()].filter((key) => !stored.has(key));
    expect(gone.filter((key) => !key.includes('#r:'))).toEqual([]);
  });

  test('never hold more than the rate in any home, at any time of the history', () => {
    const { units, most } = heldAfter(history, known);
    const names = namesByState();
    const held: Record<string, number> = {};
    for (const [state, name] of names) {
      const limit = limits.find((each) => each.name === name.split(' ')[0])!;
      expect(most.get(state), name).toBeLessThanOrEqual(limit.capacity);
      held[name] = units.get(state)!;
    }
    expect(held).toEqual(charged);
  });
});
