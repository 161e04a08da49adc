import { onTestFinished, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../../../src/testing/manual-clock.ts';
import { MemoryStore, RateLimiter, tokenBucket } from '../../../src/index.ts';
import type { RedisPort } from '../../../src/redis/port.ts';
import { callerDigest } from '../../../src/refusals/caller-digest.ts';
import { publishRefusals } from '../../../src/refusals/index.ts';
import { readRefusalMessage } from '../../../src/refusals/message.ts';
import type { RefusalMessage } from '../../../src/refusals/message.ts';
import { digestIdentity } from '../../../src/base/identity.ts';

class FakePort implements RedisPort {
  state: RedisPort['state'] = 'ready';
  failure: Error | undefined;
  readonly sent: { readonly args: readonly string[]; readonly key: string }[] = [];
  onStateChange(): void {}
  isReply(error: unknown): boolean {
    return error === this.failure;
  }
  send(_command: string, args: readonly string[], key: string): Promise<unknown> {
    this.sent.push({ args, key });
    return this.failure === undefined ? Promise.resolve(0) : Promise.reject(this.failure);
  }
  get messages(): readonly RefusalMessage[] {
    return this.sent.map(({ args }) => readRefusalMessage(args.at(-1)!)!);
  }
}

const SECRET = 'x'.repeat(32);

function limiterFor(onBlock: NonNullable<ConstructorParameters<typeof RateLimiter>[0]['onBlock']>) {
  return new RateLimiter({
    store: new MemoryStore({ clock: new ManualClock() }),
    rate: 1,
    period: '10s',
    onBlock,
  });
}

describe('a publisher of refusals', () => {
  test('tells digests, limits and waits of refusals, and the callers refused most', async () => {
    const port = new FakePort();
    const { onBlock, close } = bound(publishRefusals({ redis: port, namespace: 'api' }));
    const limiter = limiterFor(onBlock);
    for (const caller of ['a', 'b', 'a', 'a', 'b']) {
      await limiter.allow(caller);
    }
    await close();
    await close();
    const [message, ...others] = port.messages;
    expect(others).toEqual([]);
    expect(port.sent[0]).toMatchObject({ key: 'api:refusals' });
    expect(port.sent[0]!.args.slice(1, 3)).toEqual(['1', 'api:refusals']);
    const [a, b] = ['a', 'b'].map((each) => digestIdentity(each, undefined).slice(0, 16));
    expect(message).toMatchObject({ v: 1, leftOut: 0 });
    expect(message!.refusals.map(({ caller }) => caller)).toEqual([a, a, b]);
    expect(message!.refusals[0]).toEqual({
      at: expect.any(Number) as number,
      caller: a,
      reason: 'limited',
      limitedBy: ['default'],
      retryAfterMs: 10_000,
    });
    expect(message!.recent).toEqual({
      total: 3,
      callers: [
        [a, 2, 0],
        [b, 1, 0],
      ],
    });
  });

  test('tells of 20 refusals a message, and how many it left out', async () => {
    const port = new FakePort();
    const { onBlock, close } = bound(publishRefusals({ redis: port }));
    const limiter = limiterFor(onBlock);
    for (let i = 0; i <= 100; i++) {
      await limiter.allow(`secret-name-${i % 2}`);
    }
    await close();
    expect(port.messages[0]).toMatchObject({ leftOut: 79, recent: { total: 99 } });
    expect(port.messages[0]!.refusals).toHaveLength(20);
    expect(port.sent[0]!.args.join()).not.toContain('secret-name');
  });

  test('publishes once a second at most, and each five seconds without a refusal', async () => {
    // Its timers are real ones, whatever a test fakes.
    const port = new FakePort();
    const { onBlock, close } = bound(publishRefusals({ redis: port }));
    const limiter = limiterFor(onBlock);
    await limiter.allow('a');
    const startedAt = performance.now();
    while (performance.now() - startedAt < 3_500) {
      await limiter.allow('a');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const { length } = port.sent;
    expect(length).toBeGreaterThanOrEqual(2);
    expect(length).toBeLessThanOrEqual(4);
    expect(port.messages.filter(({ recent }) => recent !== undefined)).toHaveLength(1);
    await close();
  });

  test('sends nothing while Redis is away', async () => {
    const port = new FakePort();
    port.state = 'away';
    const { onBlock, close } = bound(publishRefusals({ redis: port }));
    const limiter = limiterFor(onBlock);
    await limiter.allow('a');
    await limiter.allow('a');
    await close();
    expect(port.sent).toEqual([]);
  });

  test('warns once of a server that refuses, and disturbs no decision', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => warned.mockRestore());
    const port = new FakePort();
    port.failure = new Error('NOPERM this user has no permissions');
    for (let i = 0; i < 2; i++) {
      const { onBlock, close } = bound(publishRefusals({ redis: port }));
      const limiter = limiterFor(onBlock);
      await limiter.allow('a');
      expect((await limiter.allow('a')).allowed).toBe(false);
      await close();
    }
    expect(warned.mock.calls.map(([text, options]) => [text, options])).toEqual([
      [
        expect.stringMatching(/NOPERM.*\+publish and &rate-limit:refusals/),
        { type: 'RateLimiterWarning', code: 'DRL_REFUSALS_NOT_PUBLISHED' },
      ],
    ]);
  });

  test('digests identities of named parts with their names', async () => {
    const port = new FakePort();
    const { onBlock, close } = bound(publishRefusals({ redis: port, hashSecret: SECRET }));
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock() }),
      limits: [tokenBucket({ by: ['org', 'user'], rate: 1, period: '10s' })],
      onBlock,
    });
    await limiter.allow({ org: 'acme', user: 42 });
    await limiter.allow({ user: 42n, org: 'acme' });
    await close();
    const [{ caller } = { caller: '' }] = port.messages[0]!.refusals;
    expect(caller).toBe(callerDigest({ org: 'acme', user: '42' }, SECRET));
    expect(caller).not.toBe(callerDigest({ org: '42', user: 'acme' }, SECRET));
    expect(caller).not.toBe(callerDigest({ org: 'acme', user: '42' }, undefined));
    expect(callerDigest({ org: 'acme', user: null }, SECRET)).toBe(
      callerDigest({ org: 'acme' }, SECRET),
    );
  });

  test.each([
    [{}, '`redis`'],
    [{ redis: 'redis://localhost' }, '`redis`'],
    [{ redis: new FakePort(), namespace: 'a b' }, '`namespace`'],
    [{ redis: new FakePort(), hashSecret: 'short' }, '`hashSecret`'],
    [{ redis: new FakePort(), prefix: 'a' }, '`namespace`'],
  ])('%o is refused', (options, says) => {
    expect(() => publishRefusals(options as never)).toThrow(says);
  });
});

describe('a message', () => {
  const refusal = { at: 1, caller: '0'.repeat(16), reason: 'limited', limitedBy: ['default'] };
  const message = { v: 1, process: 'p', refusals: [refusal], leftOut: 0 };

  test('is read', () => {
    expect(readRefusalMessage(JSON.stringify(message))).toEqual(message);
  });

  test.each([
    'no JSON',
    'null',
    '[]',
    JSON.stringify({ ...message, v: 2 }),
    JSON.stringify({ ...message, leftOut: -1 }),
    JSON.stringify({ ...message, refusals: [null] }),
    JSON.stringify({ ...message, refusals: [{ ...refusal, at: 1e300 }] }),
    JSON.stringify({ ...message, refusals: [{ ...refusal, caller: 'x' }] }),
    JSON.stringify({ ...message, refusals: [{ ...refusal, limitedBy: [1] }] }),
    JSON.stringify({ ...message, recent: { total: 1, callers: [['x', 1, 0]] } }),
    JSON.stringify({ ...message, recent: { callers: [] } }),
  ])('%s is no message', (text) => {
    expect(readRefusalMessage(text)).toBeUndefined();
  });
});

function bound(publisher: ReturnType<typeof publishRefusals>) {
  onTestFinished(() => publisher.close());
  return { onBlock: publisher.onBlock, close: () => publisher.close() };
}
