import { Controller, Get } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { RateLimit, RateLimitModule, SkipRateLimit } from 'distributed-rate-limiter/nest';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { afterAll, describe, expect, test } from 'vitest';
import type { Served } from './framework.ts';
import { create, listen } from './nest-app.ts';
import { decorate } from './nest-decorate.ts';

const hour = { period: '1h' } as const;
const rpm = tokenBucket({ name: 'rpm', by: ['org', 'user'], rate: 10, ...hour });
const tpm = tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', rate: 100, ...hour });
const anna = { org: 'acme', user: 'anna' };

const open: Served[] = [];
afterAll(async () => {
  await Promise.all(open.map((served) => served.close()));
});

function make(): RateLimiter<'org' | 'user', 'tokens'> {
  const store = new MemoryStore({ clock: new ManualClock() });
  return new RateLimiter({ store, limits: [rpm, tpm] });
}

async function left(limiter: ReturnType<typeof make>): Promise<unknown> {
  const { limits } = await limiter.peek(anna, { cost: 0 });
  return limits.map(({ remaining }) => remaining);
}

/** Serves `GET /` under the limiter of the module, with these decorators on the controller and its handler. */
async function serve(
  limiter: ReturnType<typeof make>,
  controller: readonly ClassDecorator[],
  handler: readonly MethodDecorator[],
): Promise<() => Promise<number>> {
  class Routes {
    get(): string {
      return 'done';
    }
  }
  const routes = decorate(Routes, [Controller(), ...controller], { get: [Get(), ...handler] });
  const imports = [RateLimitModule.forRoot({ limiter, identify: () => anna })];
  const app = await create({ imports, controllers: [routes] }, new ExpressAdapter());
  const served = await listen(app);
  open.push(served);
  return async () => (await fetch(served.origin)).status;
}

describe('rules of Nest under limits by part and unit', () => {
  test.each<[string, ClassDecorator[], MethodDecorator[], readonly number[]]>([
    ['one call unless a cost is given', [], [], [9, 100]],
    ['the cost of a handler', [], [RateLimit({ cost: { tokens: 5 } })], [9, 95]],
    [
      "the handler's cost in place of the controller's",
      [RateLimit({ cost: { tokens: 50 } })],
      [RateLimit({ cost: () => ({ tokens: 5, calls: 2 }) })],
      [8, 95],
    ],
    [
      'no unit of a limit that is skipped',
      [RateLimit({ cost: { tokens: 5 } })],
      [SkipRateLimit('rpm')],
      [10, 95],
    ],
  ])('charge %s', async (_, controller, handler, expected) => {
    const limiter = make();
    const call = await serve(limiter, controller, handler);
    expect(await call()).toBe(200);
    expect(await left(limiter)).toEqual(expected);
  });

  test('refuse every call whose inherited cost the limits do not count', async () => {
    const limiter = make();
    const call = await serve(limiter, [], [RateLimit({ cost: 5 })]);
    expect([await call(), await call()]).toEqual([500, 500]);
    expect(await left(limiter)).toEqual([10, 100]);
  });
});
