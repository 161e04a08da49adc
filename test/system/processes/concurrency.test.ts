import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../../../scripts/build-lua.mjs';
import { Random, seed } from '../../kit/random.mjs';
import { startRedis, startWorkers } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import type { Task } from './concurrency.worker.mjs';
import { isLong } from './length.mjs';

const worker = new URL('concurrency.worker.mjs', import.meta.url);

const MAX = 5;
const TTL_MS = 300;
const PROCESSES = 8;
const KILLED = 6;
/** Leases of each process that is not killed. */
const STALLS = 3;
const ROUNDS = isLong ? 10 : 2;
const LASTS_MS = 3_000;
const random = new Random(seed);

/** The production script, which also records each decision about a lease, in order, at the script's own time. */
function recording(): ReturnType<typeof assemble> {
  const source = readFileSync(new URL('../../../src/script/decide.lua', import.meta.url), 'utf8');
  const decided = 'entries[#entries + 1] = entry\n';
  if (!source.includes(decided)) throw new Error('decide.lua has no place to record at');
  return assemble({
    'script/decide': source.replace(
      decided,
      `${decided}redis.call('RPUSH', 'history', shape.verb .. ' ' .. ARGV[entry.details] .. string.format(' %d %d', now, out[out_at]))\n`,
    ),
  });
}

/** A process stopped for longer than its leases last, as by a long pause of its machine or of garbage collection. */
async function stall({ pid }: { readonly pid: number }): Promise<void> {
  for (let times = 0; times < STALLS; times++) {
    await sleep(random.fraction() * (LASTS_MS / STALLS - 2 * TTL_MS));
    process.kill(pid, 'SIGSTOP');
    await sleep(1.5 * TTL_MS);
    process.kill(pid, 'SIGCONT');
  }
}

interface Event {
  readonly what: 'acquire' | 'renew' | 'release' | 'enter' | 'leave' | 'late';
  readonly lease: string;
  readonly at: number;
  readonly answer: number;
}

interface Round {
  readonly history: readonly Event[];
  readonly keyWithoutTtl: string[];
  readonly keysLeft: string[];
  readonly worked: number;
}

describe(`${PROCESSES} processes hold ${MAX} places while ${KILLED} of them are killed and the others stopped`, () => {
  let redis: RedisServer;
  const rounds: Round[] = [];

  beforeAll(
    async () => {
      console.log(`DRL_SEED=${seed}`);
      redis = await startRedis();
      for (let round = 0; round < ROUNDS; round++) rounds.push(await run());
    },
    60_000 + ROUNDS * 15_000,
  );
  afterAll(() => redis?.close());

  async function keys(): Promise<string[]> {
    const all: string[] = await redis.command('KEYS', '*');
    return all.filter((key) => key !== 'history');
  }

  async function run(): Promise<Round> {
    await redis.command('FLUSHALL');
    const task: Task = {
      port: redis.port,
      source: recording(),
      max: MAX,
      ttl: `${TTL_MS}ms`,
      lanes: 3,
      lastsMs: LASTS_MS,
      seed: random.int(0, 2 ** 31),
    };
    const group = startWorkers(worker, PROCESSES, task);
    await group.going;
    const stalled = Promise.all(group.workers.slice(KILLED).map(stall));
    const keyWithoutTtl: string[] = [];
    for (const victim of group.workers.slice(0, KILLED)) {
      await sleep(random.fraction() * ((1.6 * LASTS_MS) / KILLED));
      victim.kill();
      for (const key of await keys()) {
        if ((await redis.command('PTTL', key)) === -1) keyWithoutTtl.push(key);
      }
    }
    await stalled;
    const results: ({ worked: number } | undefined)[] = await group.results;
    // The last leases expire by themselves; Redis deletes the key a few milliseconds later.
    await sleep(TTL_MS + 50);
    const keysLeft = await keys();
    const lines: string[] = await redis.command('LRANGE', 'history', 0, -1);
    return {
      history: lines.map((line) => {
        const [what, lease, at, answer] = line.split(' ') as [
          Event['what'],
          string,
          string,
          string,
        ];
        return { what, lease, at: Number(at), answer: Number(answer) };
      }),
      keyWithoutTtl,
      keysLeft,
      worked: results.reduce((sum, counts) => sum + (counts?.worked ?? 0), 0),
    };
  }

  test("never have more holders than places by Redis's clock, and fewer only without demand", () => {
    for (const { history } of rounds) {
      /** When each lease ends, computed from the rules alone. */
      const ends = new Map<string, number>();
      const wrong: unknown[] = [];
      let [full, most, byThemselves] = [0, 0, 0];
      let before = 0;
      for (const event of history) {
        const { what, lease, at, answer } = event;
        if (at < before) wrong.push(['the clock stepped back', event]);
        before = at;
        for (const [each, end] of ends) {
          if (end <= at) {
            ends.delete(each);
            byThemselves += 1;
          }
        }
        const held = ends.has(lease);
        if (what === 'acquire') {
          const passes = ends.size < MAX;
          if (passes) ends.set(lease, at + TTL_MS * 1_000);
          full += passes ? 0 : 1;
          if (answer !== (passes ? ends.size : -1 - ends.size)) wrong.push([ends.size, event]);
        } else if (what === 'renew' || what === 'release') {
          if (answer !== (held ? 1 : 0)) wrong.push([held, event]);
          if (what === 'release') ends.delete(lease);
          else if (held) ends.set(lease, at + TTL_MS * 1_000);
        }
        most = Math.max(most, ends.size);
      }
      console.log(
        `${history.length} events, at most ${most} holders, ${full} refused, ${byThemselves} leases ended by themselves`,
      );
      expect(wrong).toEqual([]);
      expect(most).toBe(MAX);
      expect(full, 'more was asked for than there are places').toBeGreaterThan(50);
      expect(byThemselves, 'some were never released').toBeGreaterThan(0);
    }
  });

  test('never work on more places at once, by their own records', () => {
    for (const { history } of rounds) {
      // Only holders that recorded their end while they held their place: a killed process works no longer.
      const left = new Set(history.flatMap(({ what, lease }) => (what === 'leave' ? [lease] : [])));
      for (const { what, lease } of history) if (what === 'late') left.delete(lease);
      const inside = new Set<string>();
      let most = 0;
      for (const { what, lease } of history) {
        if (what === 'enter' && left.has(lease)) inside.add(lease);
        if (what === 'leave') inside.delete(lease);
        most = Math.max(most, inside.size);
      }
      expect(left.size).toBeGreaterThan(10);
      expect(most).toBeGreaterThan(1);
      expect(most).toBeLessThanOrEqual(MAX);
    }
  });

  test('leave no lease past its ttl, and no key without a TTL', () => {
    for (const { keysLeft, keyWithoutTtl, worked } of rounds) {
      expect(keysLeft).toEqual([]);
      expect(keyWithoutTtl).toEqual([]);
      expect(worked).toBeGreaterThan(0);
    }
  });
});
