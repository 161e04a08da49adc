import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { RateLimiter } from 'distributed-rate-limiter';
import type { StoreCallMessage, StoreSubmission } from 'distributed-rate-limiter';
import { afterEach, describe, expect, test } from 'vitest';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';
import { traced } from '../../kit/fakes/traced.ts';

const undo: (() => unknown)[] = [];
afterEach(() => {
  for (const each of undo.splice(0)) each();
});

function listen(): [event: string, message: StoreCallMessage][] {
  const { heard, end } = traced(
    tracingChannel<unknown, StoreCallMessage>('distributed-rate-limiter:store-call'),
  );
  undo.push(end);
  return heard;
}

const rule = { rate: 100, period: '1h', timeoutMs: 20 } as const;
const eventsOf = (heard: readonly [string, StoreCallMessage][]) => heard.map(([event]) => event);

describe('the channel of script calls', () => {
  test('publishes one script call, however many decisions it carries', async () => {
    const heard = listen();
    const limiter = new RateLimiter({ redis: new FakeRedis(), ...rule });
    await Promise.all([limiter.allow('a'), limiter.allow('b'), limiter.allow('b')]);
    expect(eventsOf(heard)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(heard[0]![1]).toEqual({
      store: 'redis',
      node: '',
      entries: 3,
      keys: 3, // a key that occurs again counts again
      submissions: [],
      command: 'EVALSHA',
    });
    expect(heard[3]![1]).toMatchObject({ outcome: 'answered', durationMs: expect.any(Number) });
    expect(heard[3]![1].error).toBeUndefined();
  });

  test.each([
    ['a deadline', silence, 'store_timeout'],
    [
      'a refusal of the server',
      () => Promise.reject(new ReplyError('OOM command not allowed')),
      'store_error',
    ],
    ['a lost connection', () => Promise.reject(new Error('Connection is closed.')), 'store_away'],
    ['a reply of another form', () => 'PONG', 'store_error'],
  ])('%s ends the call as an error, once', async (_, respond, outcome) => {
    const heard = listen();
    const redis = new FakeRedis();
    const limiter = new RateLimiter({ redis, ...rule });
    redis.respond = respond;
    const decision = await limiter.allow('a');
    expect(eventsOf(heard)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(heard[2]![1]).toMatchObject({ error: (decision as { error?: unknown }).error, outcome });
  });

  test('does not publish an answer after the deadline', async () => {
    const heard = listen();
    const redis = new FakeRedis();
    let answer = (): void => {};
    redis.respond = (send) => new Promise((resolve) => (answer = () => resolve(redis.run(send))));
    const limiter = new RateLimiter({ redis, ...rule });
    await limiter.allow('a');
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toHaveLength(5);
  });

  test('publishes NOSCRIPT and the resent call as one', async () => {
    const heard = listen();
    const redis = new FakeRedis();
    redis.respond = (send) => {
      if (send.command === 'EVALSHA') throw new ReplyError('NOSCRIPT No matching script.');
      return redis.run(send);
    };
    await new RateLimiter({ redis, ...rule }).allow('a');
    expect(eventsOf(heard)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(heard[3]![1]).toMatchObject({ command: 'EVAL', outcome: 'answered' });
  });

  test('a decision made without a script call publishes no store call', async () => {
    const heard = listen();
    await new RateLimiter({ redis: new FakeRedis('away'), ...rule }).allow('a');
    expect(heard).toEqual([]);
  });
});

describe('the channel of submissions', () => {
  test("publishes each call in its caller's own context, and its script call names it", async () => {
    const heard = listen();
    const context = new AsyncLocalStorage<string>();
    const callers = new Map<StoreSubmission, string | undefined>();
    const onSubmit = (message: unknown): void => {
      callers.set(message as StoreSubmission, context.getStore());
    };
    const submits = channel('distributed-rate-limiter:store-submit');
    submits.subscribe(onSubmit);
    undo.push(() => submits.unsubscribe(onSubmit));
    const limiter = new RateLimiter({ redis: new FakeRedis(), ...rule });
    const after = await Promise.all(
      ['one', 'two'].map((name) =>
        context.run(name, async () => {
          await limiter.allow(name);
          return context.getStore();
        }),
      ),
    );
    const { submissions } = heard[0]![1];
    expect(submissions.map((each) => callers.get(each))).toEqual(['one', 'two']);
    expect(submissions).toEqual([{ store: 'redis' }, { store: 'redis' }]);
    expect(after).toEqual(['one', 'two']);
  });
});
