import type { DynamicModule } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { RateLimit, RateLimitModule, SkipRateLimit } from 'distributed-rate-limiter/nest';
import type { NestRequest } from 'distributed-rate-limiter/nest';
import { expectTypeOf, test } from 'vitest';

const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1m' });

test('callbacks know a request without an annotation', () => {
  RateLimit({
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<NestRequest>();
      return request.headers['x-api-key'];
    },
    cost: ({ method }) => (method === 'POST' ? 5 : 1),
    limits: [tokenBucket({ name: 'a', rate: 1, period: '1m' })],
  });
  RateLimitModule.forRoot({
    limiter,
    skip: ({ url }) => url === '/health',
  });
});

test('a request of another kind is annotated once', () => {
  RateLimit<IncomingMessage>({
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<IncomingMessage>();
      return request.socket.remoteAddress;
    },
  });
  RateLimitModule.forRoot<IncomingMessage>({
    limiter,
    identify: ({ socket }) => socket.remoteAddress,
  });
});

test('decorators apply to classes and to methods', () => {
  expectTypeOf(RateLimit).returns.toEqualTypeOf<ClassDecorator & MethodDecorator>();
  expectTypeOf(SkipRateLimit).returns.toEqualTypeOf<ClassDecorator & MethodDecorator>();
});

test('the module requires a limiter, a decorator does not', () => {
  // @ts-expect-error without a limiter there is nothing to limit by
  void (() => RateLimitModule.forRoot({ cost: 2 }));
  expectTypeOf(RateLimit).toBeCallableWith();
  expectTypeOf(RateLimit).toBeCallableWith({ cost: 2 });
  // @ts-expect-error misspelt
  void (() => RateLimit({ csot: 2 }));
});

test('useFactory infers its parameters', () => {
  class Config {
    readonly rate = 5;
  }
  const built = RateLimitModule.forRootAsync({
    inject: [Config],
    useFactory: (config: Config) => ({
      limiter: { store: new MemoryStore(), rate: config.rate, period: '1m' },
      identify: ({ headers }) => headers['x-user'],
    }),
  });
  expectTypeOf(built).toEqualTypeOf<DynamicModule>();
  void (() =>
    RateLimitModule.forRootAsync({
      // @ts-expect-error one dependency is declared, none is injected
      inject: [],
      useFactory: (config: Config) => ({
        limiter: { store: new MemoryStore(), rate: config.rate, period: '1m' },
      }),
    }));
});
