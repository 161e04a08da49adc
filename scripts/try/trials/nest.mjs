import { blockOf } from '../docs.mjs';
import { areReal, askInTurn, fields, statuses } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const nest = {
  name: 'nest',
  title: 'NestJS 12: docs/nest.md, and two named limits with overrides',
  async run(trial) {
    const packages = [
      'ioredis',
      '@nestjs/common',
      '@nestjs/core',
      '@nestjs/platform-express',
      'reflect-metadata',
      'rxjs',
      'typescript',
      '@types/node',
    ];
    const project = await trial.installed(packages);
    project.write(
      'documented.ts',
      blockOf('docs/nest.md', trial.redis.url, 'RateLimitModule.forRoot'),
    );
    project.write('named.ts', NAMED);
    project.write('main.ts', MAIN);
    project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS }));
    await trial.step('tsc, strict', project.run(['tsc']));

    const documented = await project.serve(['node', 'main.js', './documented.js']);
    const key = { headers: { 'x-api-key': 'alice' } };
    const hello = await askInTurn(2, documented.url, key);
    trial.must('docs/nest.md: requests pass, decided in Redis', areReal(hello), fields(hello[0]));
    const exports = await askInTurn(1, `${documented.url}/export`, { ...key, method: 'POST' });
    const left = /r=(\d+)/.exec(exports[0]?.headers.get('ratelimit') ?? '')?.[1];
    trial.must(
      'docs/nest.md: `cost: 10` of a route is charged',
      left === '88',
      `${left} left of 100`,
    );
    const health = await askInTurn(1, `${documented.url}/health`);
    trial.must(
      'docs/nest.md: a route with @SkipRateLimit() is not limited',
      statuses(health) === '200 ×1' && !areReal(health),
      statuses(health),
    );

    const { url, output } = await project.serve(['node', 'main.js', './named.js']);
    const answers = await askInTurn(4, url);
    trial.must(
      'two limits: 3 requests pass, then none',
      statuses(answers) === '200 ×3, 429 ×1',
      statuses(answers),
    );
    trial.must(
      'two limits: both are in the fields, the refusing one first by its name',
      /"short".*"long"/.test(answers[0]?.headers.get('ratelimit-policy') ?? ''),
      fields(answers[3]),
    );
    const logins = await askInTurn(3, `${url}/login`, { method: 'POST' });
    trial.must(
      "a route's own limiter: 2 failed logins, then none",
      statuses(logins) === '401 ×2, 429 ×1',
      statuses(logins),
    );
    trial.mustNotWarn(output());
  },
};

const NAMED = `
import { Controller, Get, Module, Post, UnauthorizedException } from '@nestjs/common';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { RateLimit, RateLimitModule } from 'distributed-rate-limiter/nest';

const redis = process.env['REDIS_URL'] ?? '';
const logins = new RateLimiter({ redis, namespace: 'logins', rate: 2, period: '1h' });

@Controller()
class AppController {
  @Get()
  hello() { return 'hello'; }

  @RateLimit({ limiter: logins, count: 'failures' })
  @Post('login')
  login() { throw new UnauthorizedException(); }
}

@Module({
  imports: [
    RateLimitModule.forRoot({
      limiter: {
        redis,
        namespace: 'named',
        limits: [
          tokenBucket({ name: 'short', rate: 3, period: '1h' }),
          tokenBucket({ name: 'long', rate: 100, period: '1d' }),
        ],
      },
    }),
  ],
  controllers: [AppController],
})
export class AppModule {}
`;

const MAIN = `
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';

const { AppModule } = await import(process.argv[2] ?? '');
const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
await app.listen(0, '127.0.0.1');
console.log('listening', app.getHttpServer().address().port);
`;

const COMPILER_OPTIONS = {
  module: 'nodenext',
  target: 'es2023',
  types: ['node'],
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: true,
};
