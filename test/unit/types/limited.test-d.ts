import { expectTypeOf, test } from 'vitest';
import type { Identity, Limit as LimitOf, RateLimiter } from 'distributed-rate-limiter';
import { RateLimit, limited, RateLimitExceeded } from 'distributed-rate-limiter/limited';
import type {
  LimitedFunction,
  LimitedOptions,
  RefusedDecision,
} from 'distributed-rate-limiter/limited';

declare const limiter: RateLimiter;
declare const plans: Record<string, readonly LimitOf[]>;
declare function sendMail(to: string, text?: string, ...tags: number[]): Promise<{ id: string }>;

test('a limited function has the parameters of the function and a promise of its result', () => {
  const send = limited(sendMail, { limiter, identify: 'all' });
  expectTypeOf(send).parameters.toEqualTypeOf<
    [to: string, text?: string | undefined, ...tags: number[]]
  >();
  expectTypeOf(send).returns.toEqualTypeOf<Promise<{ id: string }>>();
  expectTypeOf(send.limiter).toEqualTypeOf<RateLimiter>();
  const add = limited((a: number, b: number) => a + b, { limiter, identify: ['acme', 'all'] });
  expectTypeOf(add).toEqualTypeOf<LimitedFunction<unknown, [a: number, b: number], number>>();
  expectTypeOf(add(1, 2)).toEqualTypeOf<Promise<number>>();
  // @ts-expect-error a parameter is missing
  void add(1);
  // @ts-expect-error a parameter is of another type
  void send(5);
});

test('option callbacks get the arguments of the call', () => {
  limited(sendMail, {
    limiter,
    identify: (to, text, ...tags) => {
      expectTypeOf(to).toEqualTypeOf<string>();
      expectTypeOf(text).toEqualTypeOf<string | undefined>();
      expectTypeOf(tags).toEqualTypeOf<number[]>();
      return to;
    },
    cost: (to) => to.length,
    limits: (to) => plans[to],
  });
  // Annotations and a shorter parameter list do not change the function.
  const send = limited(sendMail, {
    limiter,
    identify: (to: string): Identity => [to],
    cost: () => 2,
  });
  expectTypeOf(send).parameters.toEqualTypeOf<
    [to: string, text?: string | undefined, ...tags: number[]]
  >();
  const wide = limited(sendMail, { limiter, identify: (to: string | number) => String(to) });
  expectTypeOf(wide).parameters.toEqualTypeOf<
    [to: string, text?: string | undefined, ...tags: number[]]
  >();
  limited(sendMail, { limiter, identify: async (to) => Promise.resolve(to) });
  limited(sendMail, { limiter, identify: () => 5 });
  limited(sendMail, { limiter, identify: async () => ['acme', 5n] });
  limited(sendMail, { limiter, identify: 5n });
  // @ts-expect-error a boolean identifies nobody
  limited(sendMail, { limiter, identify: () => true });
  // @ts-expect-error the function takes no number first
  limited(sendMail, { limiter, identify: (to: number) => String(to) });
  // @ts-expect-error who is limited has to be said
  limited(sendMail, { limiter });
  // @ts-expect-error a misspelt option
  limited(sendMail, { limiter, identify: 'all', weight: 5 });
});

test("`this` is the function's own", () => {
  class Service {
    tenant = 'acme';
  }
  const load = limited(
    function load(this: Service, user: string) {
      return this.tenant + user;
    },
    {
      limiter,
      identify(user) {
        expectTypeOf(this).toEqualTypeOf<Service>();
        return [this.tenant, user];
      },
    },
  );
  expectTypeOf(load.call(new Service(), 'u')).toEqualTypeOf<Promise<string>>();
  // @ts-expect-error without one
  void load('u');
});

test('the options have a type of their own', () => {
  const options: LimitedOptions<void, [userId: string, rows: string[]]> = {
    limiter: { redis: 'redis://localhost', rate: 5, period: '1s' },
    identify: (userId) => userId,
    cost: (_, rows) => rows.length,
    wait: { timeoutMs: 5, maxQueue: 1, signal: AbortSignal.timeout(1) },
    heartbeat: true,
  };
  expectTypeOf(
    limited((_: string, rows: string[]) => rows, options)('a', []),
  ).resolves.toEqualTypeOf<string[]>();
  // @ts-expect-error no limiter option
  limited(sendMail, { limiter: { redis: 'redis://localhost', points: 5 }, identify: 'all' });
});

test('a refusal has its decision', () => {
  const error = new RateLimitExceeded({} as RefusedDecision);
  expectTypeOf(error.retryAfterMs).toEqualTypeOf<number | undefined>();
  expectTypeOf(error.decision.allowed).toEqualTypeOf<false>();
  expectTypeOf(error.decision.reason).toExtend<string>();
  // @ts-expect-error what passed is no refusal
  expectTypeOf(error.decision.reason === 'within_limit').toBeBoolean();
});

test('the decorator exposes its limiter; decorated classes are checked in test/package/decorated', () => {
  expectTypeOf(RateLimit({ limiter, identify: 'all' }).limiter).toEqualTypeOf<RateLimiter>();
  // @ts-expect-error a misspelt option
  RateLimit({ limiter, identify: 'all', weight: 5 });
});
