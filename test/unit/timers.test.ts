import { createHook } from 'node:async_hooks';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { pacedFetch } from 'distributed-rate-limiter/fetch';
import { createGuard } from 'distributed-rate-limiter/http';
import { limited } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';

const src = fileURLToPath(new URL('../../src/', import.meta.url));

/** Files that wait on the store's clock, and what waits. */
const ON_THE_STORES_CLOCK: Readonly<Record<string, string>> = {
  'limiter/wait-queue.ts': 'callers of `wait`, and of `limited` with `wait`',
  'limiter/lease.ts': 'heartbeats, and the loss of a lease',
  'http/give-back.ts': '`maxHold` of a request that holds a place',
  'fetch/paced-fetch.ts': 'calls of `pacedFetch`, on its `clock`',
};

/** Files that wait in real time, or only for a turn of the event loop, and why. */
const IN_REAL_TIME: Readonly<Record<string, string>> = {
  'base/clock.ts': 'the timers of the system clock, and how often a clock without timers is read',
  'base/timers.ts': 'the timers of Redis stores, whose time is the server’s',
  'base/same-turn.ts': 'turns of the event loop, without a duration',
  'cli/refusals/listen.ts': 'how long `top` listens to a server',
  'cli/simulate/command.ts': 'turns of the event loop, in which a memory store answers',
  'refusals/publish-refusals.ts': 'one message a second to a server',
  'cli/replay/policy.ts': 'turns of the event loop, in which a memory store answers',
  'http/gone-streams.ts': 'sockets: Node reports some closed streams only when asked',
  'redis/clients/from-url.ts': 'turns of the event loop while a client connects',
  'redis/clients/node-redis-sentinel.ts':
    'how often a client is asked whether it is connected again',
  'redis/clients/node-redis.ts': 'a server that is silent',
  'redis/clients/valkey-glide.ts': 'a server that is silent',
  'redis/connection/dispatcher.ts': 'a server that moves a slot',
  'redis/connection/gathering.ts': 'the end of this turn, in which calls are gathered',
  'redis/connection/in-flight.ts': 'the deadline of a call to a server',
  'redis/connection/lateness.ts': 'how late the timers of this process are',
  'redis/connection/pulse.ts': 'pauses of this process',
  'redis/connection/sender.ts': 'a server that moves a slot',
  'sync/bridge.ts': 'the thread that asks a server',
  'workers/request-client.ts': 'a request that has made its last call to a server',
  'testing/client-contract.ts': 'a server under test',
  'testing/manual-clock.ts': 'its own sleepers',
};

const TIMER =
  /\b(?:setTimeout|setInterval|setImmediate|wakeAt|wakeAfter|sleep|Atomics\.wait(?:Async)?|AbortSignal\.timeout)\(/;

function filesWithTimers(): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll(path.sep, '/'))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.gen.ts'))
    .filter((file) =>
      readFileSync(path.join(src, file), 'utf8')
        .split('\n')
        .some((line) => TIMER.test(line) && !/^\s*(?:\/?\*|\/\/)/.test(line)),
    )
    .sort();
}

test('each file of src that waits is listed, with what waits there and on which clock', () => {
  expect(filesWithTimers()).toEqual(
    [...Object.keys(ON_THE_STORES_CLOCK), ...Object.keys(IN_REAL_TIME)].sort(),
  );
});

/** Counts the real timers that are made from here to the end of the test. */
function countTimers(): () => number {
  let timers = 0;
  const hook = createHook({
    init(_, type) {
      timers += type === 'Timeout' ? 1 : 0;
    },
  }).enable();
  onTestFinished(() => void hook.disable());
  return () => timers;
}

describe('with a ManualClock no real timer is made', () => {
  const oneIn30s = async (): Promise<{ clock: ManualClock; limiter: RateLimiter }> => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 1, period: '30s' });
    await limiter.allow('id');
    return { clock, limiter };
  };
  const onePlace = (): { clock: ManualClock; limiter: RateLimiter } => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    return {
      clock,
      limiter: new RateLimiter({ store, limits: [concurrency({ max: 1, ttl: '30s' })] }),
    };
  };

  test('by `wait`, with and without a deadline', async () => {
    const timers = countTimers();
    const { clock, limiter } = await oneIn30s();
    const waiting = [limiter.wait('id'), limiter.wait('id', { timeoutMs: 90_000 })];
    clock.advance('30s');
    await waiting[0];
    clock.advance('30s');
    await waiting[1];
    expect(timers()).toBe(0);
  });

  test('by a limited function that waits', async () => {
    const timers = countTimers();
    const { clock, limiter } = await oneIn30s();
    const running = limited(() => 'ran', { limiter, identify: 'id', wait: true })();
    await setImmediate();
    clock.advance('30s');
    expect(await running).toBe('ran');
    expect(timers()).toBe(0);
  });

  test('by a heartbeat, a lost lease, and a request that holds its place', async () => {
    const timers = countTimers();
    const { clock, limiter } = onePlace();
    const renewed = await limiter.acquire('id', { heartbeat: true });
    clock.advance('1h');
    expect(await renewed.release()).toBe(true);
    const left = await limiter.acquire('id');
    const { signal } = left;
    clock.advance('30s');
    expect(signal.aborted).toBe(true);
    const guard = createGuard<object>(limiter, { identify: () => 'id', maxHold: '1h' });
    const verdict = await guard.check({});
    expect(verdict.pass).toBe(true);
    clock.advance('1h');
    await setImmediate();
    expect((await limiter.acquire('id')).allowed).toBe(true);
    expect(timers()).toBe(0);
  });

  test('by pacedFetch', async () => {
    const timers = countTimers();
    const clock = new ManualClock();
    const statuses = [429, 200];
    const paced = pacedFetch({
      clock,
      fetch: () =>
        Promise.resolve(
          new Response(null, { status: statuses.shift()!, headers: { 'retry-after': '20' } }),
        ),
    });
    const answer = paced('https://api.example.com/');
    await setImmediate();
    clock.advance('22s');
    expect((await answer).status).toBe(200);
    expect(timers()).toBe(0);
  });
});
