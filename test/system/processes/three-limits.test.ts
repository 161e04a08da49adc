import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../../../scripts/build-lua.mjs';
import { runWorkers, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { isLong } from './length.mjs';
import type { Numbers as Three, Seen, Task } from './three-limits.worker.mjs';

const worker = new URL('three-limits.worker.mjs', import.meta.url);

const PROCESSES = 8;
const IN_FLIGHT = 8;
const LASTS_MS = isLong ? 20_000 : 4_000;

const WINDOW_US = 1_000_000;
const LOG_US = 500_000;

interface Numbers {
  readonly name: string;
  /** Units per second. */
  readonly rate: number;
  readonly burst: number;
  /** Units per half second. */
  readonly log: number;
  readonly third: 'window' | 'places';
  /** Units per second of the clock, or lease holders. */
  readonly most: number;
}

/** Numbers with which each of the three limits refuses at some time. */
const sets: Numbers[] = [
  {
    name: 'a token bucket, a log and a fixed window',
    rate: 100,
    burst: 40,
    log: 60,
    third: 'window',
    most: 90,
  },
  // Each place is held for as long as a call takes, so the rates beside it are low.
  {
    name: 'a token bucket, a log and places',
    rate: 40,
    burst: 20,
    log: 30,
    third: 'places',
    most: 3,
  },
];

function taskOf({ rate, burst, log, third, most: max }: Numbers): Three {
  return {
    bucket: { rate, period: '1s', burst },
    log: { rate: log, period: '500ms' },
    // No place becomes free by expiry of a lease.
    ...(third === 'window'
      ? { window: { rate: max, period: '1s' } }
      : { places: { max, ttl: '1h' } }),
  };
}

/** The production script, which also records each decision, in order, at the script's own time. */
function recording(): ReturnType<typeof assemble> {
  const source = readFileSync(new URL('../../../src/script/decide.lua', import.meta.url), 'utf8');
  const decided = 'entries[#entries + 1] = entry\n';
  if (!source.includes(decided)) throw new Error('decide.lua has no place to record at');
  return assemble({
    'script/decide': source.replace(
      decided,
      `${decided}
      local passed = shape.verb == 'release' and out[out_at] or 1
      for l = 1, shape.verb == 'release' and 0 or #shape do
        passed = entry.verdicts[l] and passed or 0
      end
      redis.call('RPUSH', string.match(KEYS[key], 'three/%d'), shape.verb .. string.format(' %d %d', now, passed))\n`,
    ),
  });
}

interface Event {
  readonly what: string;
  /** Microseconds, on Redis's clock. */
  readonly at: number;
  readonly passed: boolean;
}

function most(counts: Iterable<number>): number {
  return [...counts].reduce((a, b) => Math.max(a, b), 0);
}

/** How many units more than `burst + rate · Δ` passed in the worst interval Δ that begins and ends with a call. */
function beyondBucket(at: readonly number[], { rate, burst }: Numbers): number {
  let worst = -Infinity;
  // Finds the worst beginning for each end. Measures in parts of a microsecond that stay whole: the excess is n − rate
  // · t.
  let least = Infinity;
  for (const [n, t] of at.entries()) {
    const scaled = n * 1_000_000 - rate * (t - at[0]!);
    least = Math.min(least, scaled);
    worst = Math.max(worst, scaled - least + 1_000_000 - burst * 1_000_000);
  }
  return worst / 1_000_000;
}

/** Most calls that passed within any window of the log's length. */
function worstWindow(at: readonly number[]): number {
  let [first, worst] = [0, 0];
  for (const [last, t] of at.entries()) {
    while (at[first]! <= t - LOG_US) first += 1;
    worst = Math.max(worst, last - first + 1);
  }
  return worst;
}

describe(`${PROCESSES} processes with ${IN_FLIGHT} calls in flight each, all for one identity`, () => {
  let redis: RedisServer;
  let seen: Seen[][];
  let histories: Event[][];

  beforeAll(
    async () => {
      redis = await startRedis();
      const task: Task = {
        port: redis.port,
        source: recording(),
        inFlight: IN_FLIGHT,
        lastsMs: LASTS_MS,
        sets: sets.map(taskOf),
      };
      seen = await runWorkers(worker, PROCESSES, task, { timeoutMs: 60_000 + 2 * LASTS_MS });
      histories = [];
      for (const number of sets.keys()) {
        const lines: string[] = await redis.command('LRANGE', `three/${number}`, 0, -1);
        histories.push(
          lines.map((line) => {
            const [what = '', at, passed] = line.split(' ');
            return { what, at: Number(at), passed: passed === '1' };
          }),
        );
      }
    },
    90_000 + 2 * LASTS_MS,
  );
  afterAll(() => redis?.close());

  test.each(sets.map((set, number) => ({ ...set, number })))(
    'under $name, admit no more than each of the three limits allows',
    ({ number, ...set }) => {
      const { third } = set;
      const history = histories[number]!;
      const told = seen.map((each) => each[number]!);
      const refusedBy = (name: string) =>
        told.reduce((sum, each) => sum + (each.refusedBy[name] ?? 0), 0);
      const at = history
        .filter(({ what, passed }) => what !== 'release' && passed)
        .map((e) => e.at);
      const windows = new Map<number, number>();
      for (const t of at) {
        const window = Math.floor(t / WINDOW_US);
        windows.set(window, (windows.get(window) ?? 0) + 1);
      }
      let held = 0;
      const holders = history.map(({ what, passed }) => {
        if (what === 'acquire' && passed) held += 1;
        if (what === 'release' && passed) held -= 1;
        return held;
      });
      const decided = history.filter(({ what }) => what !== 'release').length;
      console.log(
        `${decided} decisions, ${at.length} passed; at most ${worstWindow(at)} in 500 ms, ${most(windows.values())} in a second of the clock, ` +
          `${most(holders)} holders, ${beyondBucket(at, set).toFixed(3)} beyond the bucket; refused by ` +
          ['bucket', 'log', third].map((name) => `${name} ${refusedBy(name)}`).join(', '),
      );
      expect(
        history.map((event) => event.at),
        'the clock stands or goes on',
      ).toEqual(history.map((event) => event.at).toSorted((a, b) => a - b));
      expect(told.reduce((sum, { passed }) => sum + passed, 0)).toBe(at.length);

      expect(beyondBucket(at, set)).toBeLessThanOrEqual(0);
      expect(worstWindow(at)).toBeLessThanOrEqual(set.log);
      expect(most(third === 'window' ? windows.values() : holders)).toBe(set.most);
      expect(held).toBe(0);

      // Each limit was the one that bound: callers asked for far more, and each limit refused.
      expect(decided).toBeGreaterThan(2 * at.length);
      expect(['bucket', 'log', third].filter((name) => refusedBy(name) === 0)).toEqual([]);
      // The bucket refills less than the log admits, and at least its refill passed.
      expect(worstWindow(at)).toBeGreaterThan(set.log / 2);
    },
  );
});
