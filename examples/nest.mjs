// NestJS 12 or 11: `node examples/nest.mjs`, then `curl -i` the address that it prints, six times. ¶ Decorators are
// called as functions, because JavaScript has no syntax for them yet. docs/nest.md shows TypeScript.
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { RateLimiter } from 'distributed-rate-limiter';
import { RateLimit, RateLimitModule, SkipRateLimit } from 'distributed-rate-limiter/nest';
import { place, port, runUntilTold } from './shared/place.mjs';

const limiter = new RateLimiter({ ...place, rate: 5, period: '1m' });

class AppController {
  hello() {
    return 'hello';
  }
  report() {
    return 'a report, which costs as much as five greetings';
  }
  health() {
    return 'ok';
  }
}
Controller()(AppController);
decorate('hello', Get());
decorate('report', Get('report'), RateLimit({ cost: 5 }));
decorate('health', Get('health'), SkipRateLimit());

/**
 * @param {'hello' | 'report' | 'health'} name
 * @param {...MethodDecorator} decorators
 */
function decorate(name, ...decorators) {
  const descriptor = Object.getOwnPropertyDescriptor(AppController.prototype, name);
  if (descriptor === undefined) throw new Error(`AppController has no ${name}`);
  for (const apply of decorators) apply(AppController.prototype, name, descriptor);
}

class AppModule {}
Module({
  imports: [RateLimitModule.forRoot({ limiter })],
  controllers: [AppController],
})(AppModule);

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
// Until Redis answers, requests would pass unlimited.
await limiter.ready();
await app.listen(port, '127.0.0.1');
await runUntilTold(Number(new URL(await app.getUrl()).port), async () => {
  await app.close();
  await limiter.close();
});
