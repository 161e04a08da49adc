import { once } from 'node:events';
import { connect, constants, createServer } from 'node:http2';
import type { Http2ServerRequest } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Decision } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import type { GuardOptions, Verdict } from 'distributed-rate-limiter/http';
import { rateLimit } from 'distributed-rate-limiter/node-http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { eventually } from '../../kit/fakes/eventually.ts';
import { secondCopy } from '../../kit/fakes/second-copy.ts';

interface Asked {
  readonly cost?: number;
  readonly user?: string;
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
};

function setUp(rate: number, options: GuardOptions<Asked>, blocks = false) {
  const clock = new ManualClock();
  const told: [hook: string, decision: Decision][] = [];
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock }),
    rate,
    period: '1m',
    blocks,
    onAllow: (_, decision) => void told.push(['onAllow', decision]),
    onBlock: (_, decision) => void told.push(['onBlock', decision]),
  });
  const guard = createGuard<Asked>(limiter, {
    identify: ({ user }) => user ?? 'anna',
    cost: ({ cost }) => cost ?? 1,
    ...options,
  });
  /** Resolves to the verdict, or to undefined if there is none yet. */
  const stateOf = async (verdict: Promise<Verdict>): Promise<Verdict | undefined> => {
    await turns();
    return Promise.race([verdict, Promise.resolve(undefined)]);
  };
  return { clock, limiter, guard, told, stateOf };
}

describe('a guard with `wait`', () => {
  const wait = { timeoutMs: 60_000 };

  test('decides a burst at once, whatever `maxQueue`', async () => {
    const { guard } = setUp(5, { wait: { timeoutMs: 1, maxQueue: 0 } });
    const verdicts = await Promise.all(Array.from({ length: 6 }, () => guard.check({})));
    expect(verdicts.map(({ pass }) => pass)).toEqual([true, true, true, true, true, false]);
    expect(verdicts[5]).not.toHaveProperty('body', expect.stringContaining('detail'));
  });

  test('lets no later request overtake one that waits', async () => {
    const { guard, clock, stateOf } = setUp(2, { wait: { timeoutMs: 120_000 } });
    await guard.check({ cost: 2 });
    const large = guard.check({ cost: 2 });
    await turns();
    clock.advance('30s'); // one unit is there
    const small = guard.check({});
    expect([await stateOf(large), await stateOf(small)]).toEqual([undefined, undefined]);
    clock.advance('30s');
    expect(await stateOf(large)).toMatchObject({ pass: true });
    expect(await stateOf(small)).toBeUndefined();
    clock.advance('30s');
    expect(await stateOf(small)).toMatchObject({ pass: true });
  });

  test('keeps the identities apart', async () => {
    const { guard, stateOf } = setUp(1, { wait });
    await guard.check({});
    const waiting = guard.check({});
    expect(await stateOf(waiting)).toBeUndefined();
    expect(await guard.check({ user: 'ben' })).toMatchObject({ pass: true });
  });

  test('tells `onAllow` or `onBlock` once of each request', async () => {
    const { guard, clock, told } = setUp(1, { wait: { timeoutMs: 60_000, maxQueue: 1 } });
    await guard.check({});
    const verdicts = [guard.check({}), guard.check({})];
    await turns();
    verdicts.push(guard.check({})); // the queue is full
    await turns();
    clock.advance('60s');
    expect((await Promise.all(verdicts)).map(({ pass }) => pass)).toEqual([true, false, false]);
    expect(told.map(([hook]) => hook)).toEqual(['onAllow', 'onBlock', 'onAllow', 'onBlock']);
  });

  test('gives a request behind others the refusal of its own cost', async () => {
    const { guard, clock } = setUp(6, { wait: { timeoutMs: 15_000 } });
    await guard.check({ cost: 6 });
    const first = guard.check({ cost: 1 });
    await turns();
    const behind = guard.check({ cost: 6 });
    await turns();
    clock.advance('10s');
    expect(await first).toMatchObject({ pass: true });
    const verdict = await behind;
    expect(Object.fromEntries(verdict.headers)).toMatchObject({ 'Retry-After': '60' });
  });

  test('gives a request its refusal at its own deadline, behind a longer wait', async () => {
    const { guard, limiter, clock, stateOf } = setUp(1, { wait: { timeoutMs: 30_000 } });
    await guard.check({});
    void limiter.wait('anna', { timeoutMs: 60_000 });
    await turns();
    const behind = guard.check({});
    clock.advance('29s');
    expect(await stateOf(behind)).toBeUndefined();
    clock.advance('1s');
    const verdict = await stateOf(behind);
    expect(verdict).toMatchObject({ pass: false, status: 429 });
    expect(Object.fromEntries(verdict!.headers)).toMatchObject({ 'Retry-After': '30' });
  });

  test('waits for a block that ends in time', async () => {
    const { guard, limiter, clock, stateOf } = setUp(5, { wait }, true);
    await limiter.block('anna', '30s');
    const waiting = guard.check({});
    expect(await stateOf(waiting)).toBeUndefined();
    clock.advance('30s');
    expect(await stateOf(waiting)).toMatchObject({ pass: true });
  });

  test('refuses at once a cost that can never pass', async () => {
    const { guard } = setUp(5, { wait });
    expect(await guard.check({ cost: 6 })).toMatchObject({ pass: false, status: 429 });
  });

  test('answers 503 at once while the store is away under failStrategy closed', async () => {
    const away = new RateLimiter({
      redis: 'redis://127.0.0.1:1',
      rate: 1,
      period: '1m',
      failStrategy: 'closed',
    });
    const guard = createGuard<object>(away, { identify: () => 'anna', wait });
    const started = performance.now();
    expect(await guard.check({})).toMatchObject({ pass: false, status: 503 });
    expect(performance.now() - started).toBeLessThan(30_000);
    await away.close();
  });

  test('rejects the requests that wait when the limiter is closed', async () => {
    const { guard, limiter } = setUp(1, { wait });
    await guard.check({});
    const waiting = guard.check({});
    await turns();
    await limiter.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });

  test('decides at once when 10,000 of its requests wait', async () => {
    const { guard, clock, stateOf } = setUp(1, { wait });
    const users = Array.from({ length: 10_000 }, (_, i) => String(i));
    await Promise.all(users.map((user) => guard.check({ user })));
    const waiting = users.map((user) => guard.check({ user }));
    await turns();
    expect(await guard.check({ user: '0' })).toMatchObject({ pass: false, status: 429 });
    clock.advance('1m');
    expect((await Promise.all(waiting)).every(({ pass }) => pass)).toBe(true);
    const later = guard.check({ user: '0' });
    expect(await stateOf(later)).toBeUndefined(); // there is room again
  });

  test.each<[what: string, leave: () => { client: AbortSignal | Request; leave: () => void }]>([
    [
      'a signal',
      () => {
        const { signal, abort } = controls();
        return { client: signal, leave: abort };
      },
    ],
    [
      'a web Request',
      () => {
        const { signal, abort } = controls();
        return { client: new Request('http://x/', { signal }), leave: abort };
      },
    ],
  ])('forgets a request when %s says that the client has gone', async (_, make) => {
    const { guard, clock, limiter, told } = setUp(1, { wait });
    await guard.check({});
    const { client, leave } = make();
    const waiting = guard.check({}, undefined, client);
    await turns();
    leave();
    expect(await waiting).toEqual({ pass: false, status: 499, headers: [], body: '' });
    clock.advance('1m');
    await turns();
    expect((await limiter.peek('anna')).remaining).toBe(1);
    expect(told).toHaveLength(1);
  });

  test('refuses to wait for places', async () => {
    const places = [concurrency({ max: 1, ttl: '1m' })];
    const store = new MemoryStore();
    const identify = (): string => 'anna';
    const says = '`wait` must be left out where a limit is a concurrency limit';
    expect(() => createGuard({ store, limits: places }, { identify, wait })).toThrow(says);
    const rated = new RateLimiter({ store, rate: 1, period: '1m' });
    expect(() => createGuard(rated, { identify, wait, limits: places })).toThrow(says);
    const late = createGuard<object>(rated, { identify, wait, limits: () => places });
    await expect(late.check({})).rejects.toThrow(says);
  });

  test('waits under a limiter of another copy of the package', async () => {
    const other = await secondCopy();
    const clock = new ManualClock();
    const limiter = new other.RateLimiter({
      store: new other.MemoryStore({ clock }),
      limits: [other.tokenBucket({ rate: 1, period: '1m' })],
    });
    const guard = createGuard<object>(limiter, { identify: () => 'anna', wait });
    await guard.check({});
    const waiting = guard.check({});
    await turns();
    clock.advance('1m');
    expect(await waiting).toMatchObject({ pass: true });
  });

  test('charges no request whose HTTP/2 stream is reset while it waits', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock }),
      limits: [tokenBucket({ rate: 1, period: '1m' })],
    });
    let asked = 0;
    let handled = 0;
    const limited = rateLimit<Http2ServerRequest>(limiter, {
      wait,
      identify: () => {
        asked += 1;
        return 'anna';
      },
    });
    const server = createServer(
      limited((_, response) => {
        handled += 1;
        response.end('done');
      }),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const first = session.request({ ':path': '/' });
    await once(first, 'response');
    first.close();
    const second = session.request({ ':path': '/' });
    second.on('error', () => {});
    await eventually(async () => expect(asked).toBe(2));
    second.close(constants.NGHTTP2_CANCEL);
    await once(second, 'close');
    await sleep(30); // until the server has noticed
    clock.advance('1m');
    await turns();
    expect([(await limiter.peek('anna')).remaining, handled]).toEqual([1, 1]);
    const third = session.request({ ':path': '/' });
    const [fields] = (await once(third, 'response')) as [{ ':status': number }];
    expect(fields[':status']).toBe(200);
    session.destroy();
    server.close();
  });
});

function controls(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
