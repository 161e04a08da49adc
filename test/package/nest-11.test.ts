import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { expect, test, vi } from 'vitest';
import { frameworkContract } from '../unit/http/contract.ts';
import { decorate } from '../unit/http/nest-decorate.ts';
import { nestFramework } from '../unit/http/nest-framework.ts';

const { nest11 } = await vi.hoisted(async () => {
  const { loadNest11 } = await import('../unit/http/nest-11.ts');
  return { nest11: await loadNest11() };
});
// `decisionOf` finds decisions only in the copy of the package that made them.
vi.mock('distributed-rate-limiter/http', () => nest11.http);

const { common, core, express, adapter } = nest11;

test('runs NestJS 11, and the adapter loads the same copy', () => {
  expect(common.VERSION).toMatch(/^11\./);
  expect(adapter.RateLimitException.prototype).toBeInstanceOf(common.HttpException);
});

frameworkContract(
  nestFramework('NestJS 11 on Express', {
    common,
    core,
    adapter,
    platform: () => new express.ExpressAdapter(),
  }),
);

test("limits by the module's limit where no decorator says otherwise, and closes the limiters it made", async () => {
  const { Catch, Controller, Get, Module, UseFilters } = common;
  const { RateLimit, RateLimitException, RateLimitModule, SkipRateLimit } = adapter;
  const seen: unknown[] = [];
  class Calm {
    catch(exception: unknown, host: { getArgByIndex(index: number): never }): void {
      seen.push(exception);
      const response: { status(code: number): { send(body: string): void } } =
        host.getArgByIndex(1);
      response.status(420).send('calm');
    }
  }
  decorate(Calm, [Catch(RateLimitException)]);
  class Routes {
    plain(): string {
      return 'done';
    }
    skipped(): string {
      return 'done';
    }
    own(): string {
      return 'done';
    }
  }
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 9, period: '1h' });
  decorate(Routes, [Controller()], {
    plain: [Get('plain'), UseFilters(Calm)],
    skipped: [Get('skipped'), SkipRateLimit()],
    own: [Get('own'), RateLimit({ limiter })],
  });
  class AppModule {}
  const redis = 'redis://127.0.0.1:1';
  Module({
    imports: [
      RateLimitModule.forRootAsync({
        useFactory: () => ({
          limiter: { redis, rate: 1, period: '1h', failStrategy: 'closed' as const },
          identify: () => 'anna',
        }),
      }),
    ],
    controllers: [Routes],
  })(AppModule);
  const app = await core.NestFactory.create(AppModule, new express.ExpressAdapter(), {
    logger: false,
    forceCloseConnections: true,
  });
  await app.listen(0, '127.0.0.1');
  const origin = await app.getUrl();
  const plain = await fetch(`${origin}/plain`);
  expect([plain.status, await plain.text()]).toEqual([420, 'calm']);
  expect(seen).toEqual([expect.objectContaining({ status: 503 })]);
  expect((await fetch(`${origin}/skipped`)).status).toBe(200);
  expect((await fetch(`${origin}/own`)).headers.get('ratelimit')).toMatch(/^"default";r=8/);
  const closed = vi.spyOn(limiter, 'close');
  await app.close();
  expect(closed).not.toHaveBeenCalled();
});
