import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decide } from '../../../src/script/decide.ts';
import { keysOf } from '../../../src/script/call-shape.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { digestIdentity } from '../../../src/base/identity.ts';
import {
  startRedis,
  startSteppedRedis,
  startWorkers,
  steppedClockMissing,
  waitUntil,
} from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Numbers } from './asked.mjs';
import { scriptThatAlso } from './history.script.ts';
import { shapeAsked } from './history.shapes.ts';
import type { History, Task } from './history.worker.mjs';
import { isLong } from './length.mjs';

const worker = new URL('history.worker.mjs', import.meta.url);

const PROCESSES = 8;
const DECISIONS = isLong ? 125_000 : 8_000;
const SEQUENCE = 'history-sequence';
/** The number of calls that `ready` makes. */
const PROBES = 8 + 32;
const POISON = 'not a state';

const plans: Record<string, Numbers[]> = {
  own: [{ rate: 50, period: '1s', burst: 20 }],
  simple: [{ rate: 20, period: '1s', burst: 50 }],
  // The same key as `own`, with other numbers, whose recovery takes no whole number of microseconds.
  reshaped: [{ rate: 7, period: '1s', burst: 5 }],
  named: [
    { name: 'short', rate: 30, period: '1s', burst: 10 },
    { name: 'long', rate: 10_000, period: '1h', burst: 300 },
  ],
  several: [
    { rate: 100, period: '1s' },
    { name: 'long', rate: 10_000, period: '1h', burst: 300 },
    { name: 'thirds', rate: 3, period: '1s', burst: 4 },
    { name: 'fast', rate: 700_000, period: '1s', burst: 900 },
  ],
  // Three limits of different algorithms, on one identity.
  mixed: [
    { rate: 400, period: '1s', burst: 60 },
    { algorithm: 'slidingWindow', name: 'window', rate: 300, period: '1s' },
    { algorithm: 'fixedWindow', name: 'quota', rate: 500, period: '2s' },
  ],
  whole: [{ rate: 500, period: '1s', burst: 100 }],
  parts: [{ rate: 777, period: '1s', burst: 90 }],
};

/**
 * The production script, which also counts its execution, notes which keys have not expired, and appends both to the
 * answer.
 */
const recordingScript = scriptThatAlso({
  first: `
    local sequence = redis.call('INCR', '${SEQUENCE}')
    local present = ''
    for k = 1, #KEYS do
      present = present .. redis.call('EXISTS', KEYS[k])
    end
  `,
  last: 'out[#out + 1] = present\nout[#out + 1] = sequence',
});

interface Recorded {
  readonly sequence: number;
  readonly now: number;
  /** The keys that had not expired. */
  readonly present: ReadonlySet<string>;
  readonly entries: readonly Entry[];
  readonly reply: readonly (number | string)[];
}

/** The records of all processes, in the order in which Redis decided. */
function merge(histories: readonly History[]): Recorded[] {
  return histories
    .flatMap(({ asked, batches }) => {
      const known = asked.map(shapeAsked);
      return batches.map(({ sequence, present, keys, asked: places, details, reply }) => {
        const entries = keys.map((key, i) => ({
          key,
          shape: known[places[i]!]!,
          details: details[i]!,
        }));
        return {
          sequence,
          now: Number(reply[0]),
          present: presentOf(entries, present),
          entries,
          reply,
        };
      });
    })
    .sort((a, b) => a.sequence - b.sequence);
}

/** `flags` has one character per key sent; neighbours that share a key sent it once. */
function presentOf(entries: readonly Entry[], flags: string): Set<string> {
  const sent: string[] = [];
  entries.forEach((entry, i) => {
    const before = entries[i - 1];
    if (before?.key !== entry.key || before.shape !== entry.shape) sent.push(...keysOf(entry));
  });
  expect(flags).toHaveLength(sent.length);
  return new Set(sent.filter((_, i) => flags[i] === '1'));
}

interface Kept {
  value: string;
  /** Microseconds. */
  expiresAt: number;
}

/** The twin's reply to every batch, from a table that never expires a key. */
function replay(history: readonly Recorded[], kept: Map<string, Kept>): (number | string)[][] {
  return history.map(({ entries, now }) =>
    decide(entries, now, {
      read: (key) => kept.get(key)?.value,
      write: (key, saved) => {
        if (saved === undefined) kept.delete(key);
        else kept.set(key, { value: saved.value as string, expiresAt: now + saved.ttlMs * 1_000 });
      },
    }),
  );
}

/**
 * The twin's reply to every batch, over steps of the clock: a key that expired before a step back stays deleted. When
 * exactly Redis removes a key is up to Redis, so the recorded presence decides here.
 */
function replayWithExpiry(
  history: readonly Recorded[],
  kept: Map<string, Kept>,
): (number | string)[][] {
  return history.map((batch) => {
    for (const key of keysIn(batch)) {
      if (!batch.present.has(key)) kept.delete(key);
    }
    return replay([batch], kept)[0]!;
  });
}

/**
 * Keys that were absent before their TTL had passed. Redis counts whole milliseconds, from its own reading of the
 * clock.
 */
function lostKeys(history: readonly Recorded[], kept: Map<string, Kept>): string[] {
  return history.flatMap((batch) => {
    const lost = keysIn(batch).filter(
      (key) => !batch.present.has(key) && (kept.get(key)?.expiresAt ?? 0) > batch.now + 2_000,
    );
    replay([batch], kept);
    return lost;
  });
}

function keysIn({ entries }: Recorded): string[] {
  return entries.flatMap(({ key, shape }) => keysOf({ key, shape }));
}

/** The first batch for which the twin's answer differs, with both answers. */
function firstDifference(
  history: readonly Recorded[],
  replies: readonly (number | string)[][],
): unknown {
  const i = history.findIndex(({ reply }, at) => {
    const twin = replies[at]!;
    return twin.length !== reply.length || twin.some((value, place) => value !== reply[place]);
  });
  return i === -1
    ? undefined
    : { batch: i, ofBatches: history.length, redis: history[i]!.reply, twin: replies[i] };
}

/** When a key's units passed, in Redis's order: once per call. */
function passedOn(key: string, history: readonly Recorded[]): { at: number; units: number }[] {
  const passed: { at: number; units: number }[] = [];
  for (const { entries, reply, now } of history) {
    let place = 1;
    for (const entry of entries) {
      const { verb, rules, units, width } = entry.shape;
      if (entry.key === key && verb === 'allow') {
        // Each limit answers separately, and a refusal begins with a negative number: a call passes if no limit
        // refuses.
        let at = place;
        const answers = rules.map(({ plan }) => Number(reply[(at += plan.width) - plan.width]));
        if (answers.every((answer) => answer >= 0)) passed.push({ at: now, units });
      }
      place += width;
    }
  }
  return passed;
}

const noClock = steppedClockMissing();

describe(`the history of ${PROCESSES} processes`, () => {
  let redis: RedisServer;
  let close: () => Promise<void>;
  let histories: History[];
  let history: Recorded[];
  /** Decisions before the first step of the clock. */
  let forward: Recorded[];
  let sequence: number;
  let kept: Map<string, Kept>;
  let inRedis: Map<string, string>;
  const poisonedKey = `history:token_bucket:${digestIdentity('poisoned', undefined)}`;
  const poisoned = (): Map<string, Kept> =>
    new Map([[poisonedKey, { value: POISON, expiresAt: Infinity }]]);

  beforeAll(async () => {
    const stepped = noClock === undefined ? await startSteppedRedis() : undefined;
    redis = stepped?.redis ?? (await startRedis());
    close = stepped?.close ?? (() => redis.close());
    await redis.command('SET', poisonedKey, POISON, 'PX', 600_000);
    const task: Task = { port: redis.port, source: recordingScript, plans, decisions: DECISIONS };
    const group = startWorkers(worker, PROCESSES, task, { timeoutMs: 150_000 });
    await group.going;
    let done = false;
    group.results.finally(() => (done = true)).catch(() => {});
    /** A batch has at most 64 calls here, of 512 in flight. */
    const executed = (batches: number): Promise<boolean> =>
      waitUntil(
        `${batches} batches`,
        async () => done || Number(await redis.command('GET', SEQUENCE)) >= batches,
        {
          everyMs: 5,
          timeoutMs: 300_000,
        },
      );
    const batches = (PROCESSES * DECISIONS) / 64;
    await executed(batches / 2);
    const beforeSteps = Number(await redis.command('GET', SEQUENCE));
    stepped?.clock.step(-5_000);
    await executed(0.65 * batches);
    stepped?.clock.step(-60_000);
    await executed(0.8 * batches);
    // Does not step back: a key that had expired would be missing at an earlier time for which it was written.
    stepped?.clock.restore();
    histories = (await group.results) as History[];
    sequence = Number(await redis.command('GET', SEQUENCE));
    inRedis = new Map();
    for (const key of await redis.command('KEYS', '*history:*')) {
      const value = await redis.command('GET', key);
      if (value !== null) inRedis.set(key, value);
    }
    history = merge(histories);
    forward = noClock === undefined ? history.slice(0, beforeSteps) : history;
    kept = poisoned();
  }, 300_000);
  afterAll(() => close());

  test('has every execution of the script exactly once', () => {
    expect(history.map((batch) => batch.sequence)).toEqual(
      Array.from({ length: sequence }, (_, i) => i + 1),
    );
    const decisions = history.reduce((sum, { entries }) => sum + entries.length, 0);
    // One `ready()` for each process: two calls that are refunded and reset, looks, and those that look for a proxy.
    expect(decisions).toBe(PROCESSES * (DECISIONS + PROBES));
    expect(decisions).toBeGreaterThanOrEqual(50_000);
    const count = (of: 'allowed' | 'refused' | 'failed'): number =>
      histories.reduce((sum, each) => sum + each[of], 0);
    const back = history.filter(({ now }, i) => i > 0 && now < history[i - 1]!.now).length;
    console.log(
      `${decisions} decisions in ${sequence} batches: ${count('allowed')} allowed, ${count('refused')} refused, ${count('failed')} failed; ` +
        (noClock === undefined
          ? `the clock went back ${back} times`
          : `no steps of the clock: ${noClock}`),
    );
    expect(Math.min(count('allowed'), count('refused'), count('failed'))).toBeGreaterThan(0);
    expect(back > 0).toBe(noClock === undefined);
  });

  test("replays identically through the TypeScript twin, in Redis's order, over steps of the clock", () => {
    expect(firstDifference(history, replayWithExpiry(history, kept))).toBeUndefined();
  });

  test('replays identically without expiry while the clock goes forward', () => {
    expect(forward.length).toBeGreaterThan(0.3 * history.length);
    expect(firstDifference(forward, replay(forward, poisoned()))).toBeUndefined();
  });

  test('has no key that expired early', () => {
    expect(lostKeys(forward, poisoned())).toEqual([]);
  });

  test('ends in the same state, except for expired keys', () => {
    expect(inRedis.size).toBeGreaterThan(0);
    const ours = new Map([...inRedis.keys()].map((key) => [key, kept.get(key)?.value]));
    expect(ours).toEqual(inRedis);
  });

  test('admits no more in a 2 s fixed window than it allows beside two other limits', () => {
    const { rate } = plans['mixed']![2]!;
    const key = `history:token_bucket:${digestIdentity('mixed', undefined)}`;
    const inWindow = new Map<number, number>();
    for (const { at, units } of passedOn(key, forward)) {
      const window = Math.floor(at / 2e6);
      inWindow.set(window, (inWindow.get(window) ?? 0) + units);
    }
    expect(inWindow.size).toBeGreaterThan(0);
    console.log(
      `the fullest of ${inWindow.size} windows: ${Math.max(...inWindow.values())} of ${rate}`,
    );
    expect(Math.max(...inWindow.values())).toBeLessThanOrEqual(rate);
  });

  test.each(['whole', 'parts'])(
    'admits in no interval more than the burst and the refill: %s',
    (name) => {
      const { rate, burst } = plans[name]![0]! as { rate: number; burst: number };
      const key = `history:token_bucket:${digestIdentity(name, undefined)}`;
      const passed = passedOn(key, forward);
      const units = passed.reduce((sum, each) => sum + each.units, 0);
      expect(units).toBeGreaterThan(burst);
      const start = passed[0]!.at;
      // Of all intervals that end here, the worst begins where the earlier units are fewest for their time.
      let fewest = Infinity;
      let sum = 0;
      let most = -Infinity;
      for (const { at, units: cost } of passed) {
        const back = rate * (at - start);
        fewest = Math.min(fewest, 1e6 * sum - back);
        sum += cost;
        most = Math.max(most, 1e6 * sum - back - fewest);
      }
      console.log(
        `${name}: ${units} units; at the worst interval ${most / 1e6} of ${burst} beyond what came back`,
      );
      expect(most).toBeLessThanOrEqual(1e6 * burst);
    },
  );
});
