import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { RateLimiter, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Decision, RedisClient } from 'distributed-rate-limiter';
import { assemble } from '../../scripts/build-lua.mjs';
import { decide } from '../../src/algorithms/decide.ts';
import type { Entry } from '../../src/algorithms/shape.ts';
import { connectionOfClient } from '../../src/redis/connect.ts';
import type { Script } from '../../src/redis/script.ts';
import { decideBatch } from '../../src/stores/redis.ts';
import type { Call } from '../../src/stores/store.ts';
import { startFaultProxy, startRedis, startSentinel, waitUntil } from '../kit/index.mjs';
import type { RedisServer } from '../kit/index.mjs';
import { openClient } from './clients.mjs';
import { isLong } from './length.mjs';

/**
 * Under faults a reply may be lost while its charge stands, so here Redis itself keeps the history: the script notes
 * every execution in a list, in the same instant, and the list is replicated together with the states.
 */
const LOG = 'history-log';
const MS = isLong ? 5_000 : 700;

/** Hours for one unit: nothing comes back, and nothing expires. */
const BURST = 60;
const limits = [
  tokenBucket({ rate: 1, period: '5h', burst: BURST }),
  slidingWindow({ name: 'window', rate: 10_000, period: '12h' }),
];
const plenty = [tokenBucket({ rate: 100_000, period: '365d' })];

function recordingScript(): { text: string; sha1: string } {
  const source = (name: string): string =>
    readFileSync(new URL(`../../src/algorithms/${name}.lua`, import.meta.url), 'utf8');
  const recording = (name: string): string => {
    const text = source(name);
    const told = text.replaceAll(
      /\n *return out\n/g,
      `
        local noted = {}
        for i = 1, #out do
          noted[i] = type(out[i]) == 'number' and string.format('%.0f', out[i]) or out[i]
        end
        redis.call('RPUSH', '${LOG}', table.concat(KEYS, ' ') .. '|' .. table.concat(ARGV, ' ') .. '|' .. table.concat(noted, ' '))
        return out
      `,
    );
    expect(told).not.toBe(text);
    return told;
  };
  return assemble({ clock: source('clock'), lone: recording('lone'), decide: recording('decide') });
}

const source = recordingScript();

/** Limiters under load, and what they were told. */
class Crowd {
  /** What each script call asked for, by its keys and arguments. */
  readonly known = new Map<string, readonly Entry[]>();
  readonly issued = new Map<string, number>();
  readonly admitted = new Map<string, number>();
  real = 0;
  degraded = 0;
  #calls = 0;
  readonly #limiters: RateLimiter[] = [];
  readonly #pending: Promise<void>[] = [];

  add(client: RedisClient, failStrategy: 'open' | 'closed'): void {
    const { known } = this;
    const recording: Script<Call> = {
      source,
      encode(calls, from) {
        const encoded = decideBatch.encode(calls, from);
        const asked = `${encoded.keys.join(' ')}|${encoded.args.join(' ')}`;
        const mine = calls.slice(from, from + encoded.taken);
        known.set(
          asked,
          mine.map(({ key, shape }) => ({ key, shape })),
        );
        return encoded;
      },
      settle: (calls, reply) => decideBatch.settle(calls, reply),
      settleLate: (calls, reply) => decideBatch.settleLate?.(calls, reply),
    };
    // Limiters on one client share its connection, so the limiter's own calls go through this script.
    connectionOfClient(client, recording);
    this.#limiters.push(
      new RateLimiter({
        redis: client,
        namespace: 'history',
        limits,
        failStrategy,
        onError: () => {},
      }),
    );
  }

  async load(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      for (const limiter of this.#limiters) {
        this.#ask(limiter, 'scarce', 1);
        this.#ask(limiter, 'plenty', 1 + (this.#calls % 3));
        if (this.#calls % 7 === 0) this.#ask(limiter, `user-${this.#calls}`, 1);
      }
      await sleep(3);
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /** Until `scarce` is refused, and all that was asked is answered. */
  async exhaust(): Promise<void> {
    const [first] = this.#limiters;
    do {
      await this.load(100);
      await this.settled();
    } while ((await first!.peek('scarce')).remaining !== 0);
  }

  /** Until a decision of every limiter is real again. */
  async recovered(): Promise<void> {
    for (const limiter of this.#limiters) {
      await waitUntil('a real decision', async () => !(await limiter.peek('scarce')).degraded);
    }
  }

  #ask(limiter: RateLimiter, identity: string, cost: number): void {
    this.#calls += 1;
    count(this.issued, identity, cost);
    const note = async (): Promise<void> => {
      const options = identity === 'plenty' ? { cost, limits: plenty } : { cost };
      const decision: Decision = await limiter.allow(identity, options);
      this[decision.degraded ? 'degraded' : 'real'] += 1;
      if (!decision.degraded && decision.allowed) count(this.admitted, identity, cost);
    };
    this.#pending.push(note());
  }
}

function count(counts: Map<string, number>, name: string, units: number): void {
  counts.set(name, (counts.get(name) ?? 0) + units);
}

/** The history as Redis has it, decided again by the twin: what passed, in units, by key. */
function replay(log: readonly string[], known: Crowd['known']): Map<string, number> {
  const kept = new Map<string, string>();
  const charged = new Map<string, number>();
  for (const line of log) {
    const [keys, args, noted = ''] = line.split('|');
    const entries = known.get(`${keys}|${args}`);
    expect(entries, 'somebody asked for it').toBeDefined();
    const values = noted.split(' ');
    const twin = decide(entries!, Number(values[0]), {
      read: (key) => kept.get(key),
      write: (key, saved) => {
        if (saved === undefined) kept.delete(key);
        else kept.set(key, saved.value as string);
      },
    });
    expect(twin.map(String)).toEqual(values);
    let place = 1;
    for (const { key, shape } of entries!) {
      const { verb, rules, units, width } = shape;
      let at = place;
      const answers = rules.map(({ plan }) => Number(values[(at += plan.width) - plan.width]));
      if (verb === 'allow' && answers.every((answer) => answer >= 0)) count(charged, key, units);
      place += width;
    }
  }
  return charged;
}

const total = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((sum, units) => sum + units, 0);

/** In the name of the table: the fault, and how it is done to a server behind a proxy while calls go on. */
const faults: [
  string,
  (on: { redis: RedisServer; proxy: Awaited<ReturnType<typeof startFaultProxy>> }) => Promise<void>,
][] = [
  [
    'a server that stops (SIGSTOP) and goes on',
    async ({ redis }) => {
      await redis.stop();
      await sleep(MS);
      await redis.cont();
    },
  ],
  [
    'replies that are dropped after execution',
    async ({ proxy }) => {
      await proxy.dropReplies();
      await sleep(MS);
      await proxy.pass();
    },
  ],
  [
    'connections that are cut in place of a reply',
    async ({ proxy }) => {
      for (let i = 0; i < MS / 100; i++) {
        await proxy.dropReplies({ cut: true, times: 1 });
        await sleep(100);
      }
      await proxy.pass();
    },
  ],
  [
    'connections that are reset every 50 ms',
    async ({ proxy }) => {
      await proxy.cut({ everyMs: 50, reset: true });
      await sleep(MS);
      await proxy.pass();
    },
  ],
  [
    'SCRIPT FLUSH every 5 ms',
    async ({ redis }) => {
      for (let i = 0; i < MS / 5; i++) {
        await redis.command('SCRIPT', 'FLUSH');
        await sleep(5);
      }
    },
  ],
];

it.each(faults)(
  '%s: admitted <= charged <= issued, and the twin decides the same',
  async (name, fault) => {
    const redis = await startRedis();
    const proxy = await startFaultProxy(redis);
    const crowd = new Crowd();
    const opened = await Promise.all([
      openClient('ioredis', proxy.port),
      openClient('node-redis', proxy.port),
      openClient('ioredis', proxy.port),
    ]);
    try {
      opened.forEach(({ client }, i) => crowd.add(client, i === 0 ? 'closed' : 'open'));
      await crowd.recovered();
      const load = crowd.load(MS + 600);
      await sleep(200);
      await fault({ redis, proxy });
      await load;
      await crowd.settled();
      await crowd.recovered();

      const log: string[] = await redis.command('LRANGE', LOG, 0, -1);
      const charged = replay(log, crowd.known);
      const [admitted, charges, issued] = [crowd.admitted, charged, crowd.issued].map(total);
      console.log(
        `${name}: ${crowd.real} real, ${crowd.degraded} degraded; admitted ${admitted} <= charged ${charges} <= issued ${issued}`,
      );
      expect(crowd.real).toBeGreaterThan(50);
      if (!name.startsWith('SCRIPT')) expect(crowd.degraded).toBeGreaterThan(0);
      else expect([crowd.degraded, admitted]).toEqual([0, charges]);
      expect(admitted).toBeLessThanOrEqual(charges!);
      expect(charges).toBeLessThanOrEqual(issued!);
      expect(crowd.admitted.get('scarce')).toBeLessThanOrEqual(BURST);
      expect(Math.max(...charged.values())).toBeLessThanOrEqual(crowd.issued.get('plenty')!);
    } finally {
      opened.forEach(({ end }) => end());
      await proxy.close();
      await redis.close();
    }
  },
);

it('a promotion with lost writes: what is left replays identically, what was lost is counted, one burst is the most', async () => {
  const group = await startSentinel();
  const { primary, replica } = group;
  const crowd = new Crowd();
  const clients = (['open', 'closed'] as const).map((failStrategy) => {
    const client = new Redis({
      sentinels: group.addresses,
      name: group.name,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      socketTimeout: 500,
    });
    client.on('error', () => {});
    crowd.add(client, failStrategy);
    return client;
  });
  try {
    await crowd.recovered();
    // Calls of a few identities reach both servers, and then only the one that dies.
    await crowd.load(30);
    await crowd.settled();
    await replica.stop();
    await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
    await crowd.exhaust();
    const died: string[] = await primary.command('LRANGE', LOG, 0, -1);
    await primary.kill();
    await replica.cont();
    const load = crowd.load(1_000);
    await group.becomesPrimary(replica);
    await load;
    await crowd.recovered();
    await crowd.exhaust();

    const log: string[] = await replica.command('LRANGE', LOG, 0, -1);
    const common = died.findIndex((line, i) => line !== log[i]);
    expect(common).toBeGreaterThan(0);
    const [before, after] = [replay(died, crowd.known), replay(log, crowd.known)];
    const lost = total(before) - total(replay(died.slice(0, common), crowd.known));
    const admitted = total(crowd.admitted);
    const scarce = crowd.admitted.get('scarce')!;
    console.log(
      `lost ${died.length - common} of ${died.length} script calls and ${lost} units; admitted ${admitted} <= charged ${total(after)} and lost ${lost}; ` +
        `one identity was admitted ${scarce} under a burst of ${BURST}`,
    );
    expect(lost).toBeGreaterThan(0);
    expect(admitted).toBeLessThanOrEqual(total(after) + lost);
    expect(scarce).toBeGreaterThan(BURST);
    expect(scarce).toBeLessThanOrEqual(2 * BURST);
    expect(total(after)).toBeLessThanOrEqual(total(crowd.issued));
  } finally {
    clients.forEach((client) => client.disconnect());
    await group.close();
  }
}, 60_000);
