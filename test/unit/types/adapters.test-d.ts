/**
 * The same cases for every adapter: `identify`, `cost` and `limits` are of the limiter that they are given with. The
 * types do not see a part that a function returns beside all others: TypeScript checks excess properties of literals
 * alone. Such a part is refused at run time.
 */
import type { DynamicModule } from '@nestjs/common';
import Fastify from 'fastify';
import type { FastifyRequest } from 'fastify';
import type { Context } from 'hono';
import { expectTypeOf, test } from 'vitest';
import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { rateLimit as forExpress } from 'distributed-rate-limiter/express';
import {
  rateLimit as fastifyPlugin,
  rateLimitHook as forFastify,
} from 'distributed-rate-limiter/fastify';
import type { RateLimitPluginOptions, RouteOptions } from 'distributed-rate-limiter/fastify';
import { rateLimit as forHono } from 'distributed-rate-limiter/hono';
import { createGuard } from 'distributed-rate-limiter/http';
import { rateLimit as forKoa } from 'distributed-rate-limiter/koa';
import { limited, RateLimit as decorator } from 'distributed-rate-limiter/limited';
import { RateLimit as forNest, RateLimitModule } from 'distributed-rate-limiter/nest';
import type { NestRequest, RateLimitRuleOptions } from 'distributed-rate-limiter/nest';
import { rateLimit as forNode } from 'distributed-rate-limiter/node-http';
import { rateLimit as forWeb } from 'distributed-rate-limiter/web';

const store = new MemoryStore();
const numbers = { rate: 5, period: '1m' } as const;
const rpm = tokenBucket({ name: 'rpm', by: ['org', 'key'], ...numbers });
const tpm = tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', ...numbers });
const perAddress = tokenBucket({ name: 'ip', by: 'ip', ...numbers });
const budget = fixedWindow({ name: 'budget', by: 'org', unit: 'micros', ...numbers });
const limits = [rpm, tpm];
const parted = new RateLimiter({ store, limits });
const whole = new RateLimiter({ store, ...numbers });
const both = { org: 'acme', key: 5 };

type Parted = RateLimiter<'org' | 'key', 'tokens'>;

declare function send(to: string): Promise<void>;

test('a guard: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(createGuard(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(
    createGuard({ store, limits }, { identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(createGuard(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void createGuard(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void createGuard(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void createGuard(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void createGuard({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void createGuard({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void createGuard(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void createGuard(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void createGuard(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void createGuard(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void createGuard(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void createGuard(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void createGuard(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void createGuard(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void createGuard(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void createGuard(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void createGuard(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void createGuard(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void createGuard({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void createGuard(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void createGuard(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('Express: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(forExpress(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(
    forExpress({ store, limits }, { identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(forExpress(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forExpress(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forExpress(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forExpress(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forExpress({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forExpress({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forExpress(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forExpress(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forExpress(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forExpress(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forExpress(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forExpress(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forExpress(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forExpress(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forExpress(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forExpress(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forExpress(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forExpress(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forExpress({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forExpress(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forExpress(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('node:http: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(forNode(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(
    forNode({ store, limits }, { identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(forNode(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forNode(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forNode(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forNode(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forNode({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forNode({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forNode(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forNode(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forNode(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forNode(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forNode(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forNode(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forNode(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forNode(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forNode(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forNode(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forNode(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forNode(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forNode({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forNode(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forNode(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('Koa: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(forKoa(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(forKoa({ store, limits }, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(forKoa(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forKoa(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forKoa(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forKoa(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forKoa({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forKoa({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forKoa(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forKoa(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forKoa(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forKoa(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forKoa(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forKoa(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forKoa(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forKoa(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forKoa(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forKoa(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forKoa(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forKoa(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forKoa({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forKoa(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forKoa(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('Hono: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(forHono(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(
    forHono({ store, limits }, { identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(forHono(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forHono(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forHono(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forHono(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forHono({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forHono({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forHono(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forHono(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forHono(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forHono(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forHono(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forHono(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forHono(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forHono(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forHono(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forHono(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forHono(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forHono(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forHono({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forHono(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forHono(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('web-standard handlers: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(forWeb(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(forWeb({ store, limits }, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(forWeb(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forWeb(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forWeb(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forWeb(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forWeb({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forWeb({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forWeb(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forWeb(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forWeb(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forWeb(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forWeb(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forWeb(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forWeb(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forWeb(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forWeb(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forWeb(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forWeb(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forWeb(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forWeb({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forWeb(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forWeb(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test("Fastify's hook: identities, costs and plans are those of the limiter", () => {
  expectTypeOf(forFastify(parted, { identify: () => both }).limiter).toEqualTypeOf<Parted>();
  expectTypeOf(
    forFastify({ store, limits }, { identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(forFastify(whole, { identify: () => 'a' }).limiter).toEqualTypeOf<RateLimiter>();
  void forFastify(parted, {
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forFastify(parted, { identify: () => both, cost: () => ({ tokens: 5 }), limits: [tpm] });
  void forFastify(parted, { identify: () => both, cost: 0, limits: () => [rpm] });
  void forFastify({ store, limits }, { identify: () => both, cost: { tokens: 5 } });
  void forFastify({ store, ...numbers }, { identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forFastify(parted, { identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forFastify(parted, { identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forFastify(parted, { identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forFastify(parted, { identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void forFastify(parted, { cost: 0 });
  // @ts-expect-error an unknown unit
  void forFastify(parted, { identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forFastify(parted, { identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forFastify(parted, { identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forFastify(parted, { identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forFastify(parted, { identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forFastify(parted, { identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forFastify(whole, { identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forFastify({ store, ...numbers }, { identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forFastify(whole, { identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forFastify(whole, { identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test("Nest's decorator: identities, costs and plans are those of the limiter", () => {
  expectTypeOf(forNest({ limiter: parted, identify: () => both })).toEqualTypeOf<
    ClassDecorator & MethodDecorator
  >();
  void forNest({
    limiter: parted,
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void forNest({
    limiter: parted,
    identify: () => both,
    cost: () => ({ tokens: 5 }),
    limits: [tpm],
  });
  void forNest({ limiter: parted, identify: () => both, cost: 0, limits: () => [rpm] });
  void forNest({ limiter: { store, limits }, identify: () => both, cost: { tokens: 5 } });
  void forNest({ limiter: { store, ...numbers }, identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void forNest({ limiter: parted, identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void forNest({ limiter: parted, identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void forNest({ limiter: parted, identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void forNest({ limiter: parted, identify: () => 'acme' });
  // @ts-expect-error an unknown unit
  void forNest({ limiter: parted, identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void forNest({ limiter: parted, identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void forNest({ limiter: parted, identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void forNest({ limiter: parted, identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void forNest({ limiter: parted, identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void forNest({ limiter: parted, identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void forNest({ limiter: whole, identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void forNest({ limiter: { store, ...numbers }, identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void forNest({ limiter: whole, identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void forNest({ limiter: whole, identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test("Nest's module: identities, costs and plans are those of the limiter", () => {
  expectTypeOf(
    RateLimitModule.forRoot({ limiter: parted, identify: () => both }),
  ).toEqualTypeOf<DynamicModule>();
  void RateLimitModule.forRoot({
    limiter: parted,
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void RateLimitModule.forRoot({
    limiter: parted,
    identify: () => both,
    cost: () => ({ tokens: 5 }),
    limits: [tpm],
  });
  void RateLimitModule.forRoot({
    limiter: parted,
    identify: () => both,
    cost: 0,
    limits: () => [rpm],
  });
  void RateLimitModule.forRoot({
    limiter: { store, limits },
    identify: () => both,
    cost: { tokens: 5 },
  });
  void RateLimitModule.forRoot({
    limiter: { store, ...numbers },
    identify: () => 'a',
    cost: async () => 5,
  });
  // @ts-expect-error a part is missing
  void RateLimitModule.forRoot({ limiter: parted, identify: () => ({ org: 'acme' }) });
  void RateLimitModule.forRoot({
    limiter: parted,
    // @ts-expect-error a part is undefined
    identify: () => ({ org: 'acme', key: undefined }),
  });
  // @ts-expect-error no limit counts by this part
  void RateLimitModule.forRoot({ limiter: parted, identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void RateLimitModule.forRoot({ limiter: parted, identify: () => 'acme' });
  // @ts-expect-error an unknown unit
  void RateLimitModule.forRoot({ limiter: parted, identify: () => both, cost: { token: 5 } });
  void RateLimitModule.forRoot({
    limiter: parted,
    identify: () => both,
    // @ts-expect-error an unknown unit
    cost: () => ({ token: 5 }),
  });
  // @ts-expect-error a number where units are named
  void RateLimitModule.forRoot({ limiter: parted, identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void RateLimitModule.forRoot({ limiter: parted, identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void RateLimitModule.forRoot({ limiter: parted, identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void RateLimitModule.forRoot({ limiter: parted, identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void RateLimitModule.forRoot({ limiter: whole, identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void RateLimitModule.forRoot({ limiter: { store, ...numbers }, identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void RateLimitModule.forRoot({ limiter: whole, identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void RateLimitModule.forRoot({ limiter: whole, identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test("Nest's module with a factory: identities, costs and plans are those of the limiter", () => {
  expectTypeOf(
    RateLimitModule.forRootAsync({ useFactory: () => ({ limiter: parted, identify: () => both }) }),
  ).toEqualTypeOf<DynamicModule>();
  void RateLimitModule.forRootAsync({
    useFactory: () => ({
      limiter: parted,
      identify: async () => ({ org: 'acme', key: null }),
      cost: { tokens: 5, calls: 2 },
    }),
  });
  void RateLimitModule.forRootAsync({
    useFactory: () => ({
      limiter: parted,
      identify: () => both,
      cost: () => ({ tokens: 5 }),
      limits: [tpm],
    }),
  });
  void RateLimitModule.forRootAsync({
    useFactory: () => ({ limiter: parted, identify: () => both, cost: 0, limits: () => [rpm] }),
  });
  void RateLimitModule.forRootAsync({
    useFactory: () => ({ limiter: { store, limits }, identify: () => both, cost: { tokens: 5 } }),
  });
  void RateLimitModule.forRootAsync({
    useFactory: () => ({
      limiter: { store, ...numbers },
      identify: () => 'a',
      cost: async () => 5,
    }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a part is missing
    useFactory: () => ({ limiter: parted, identify: () => ({ org: 'acme' }) }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a part is undefined
    useFactory: () => ({ limiter: parted, identify: () => ({ org: 'acme', key: undefined }) }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error no limit counts by this part
    useFactory: () => ({ limiter: parted, identify: () => ({ org: 'acme', ip: '::1' }) }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error it is not named which part it is
    useFactory: () => ({ limiter: parted, identify: () => 'acme' }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error an unknown unit
    useFactory: () => ({ limiter: parted, identify: () => both, cost: { token: 5 } }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error an unknown unit
    useFactory: () => ({ limiter: parted, identify: () => both, cost: () => ({ token: 5 }) }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a number where units are named
    useFactory: () => ({ limiter: parted, identify: () => both, cost: 5 }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a number where units are named
    useFactory: () => ({ limiter: parted, identify: () => both, cost: () => 5 }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a plan by another part
    useFactory: () => ({ limiter: parted, identify: () => both, limits: [perAddress] }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error a plan in another unit
    useFactory: () => ({ limiter: parted, identify: () => both, limits: () => [budget] }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error parts where no limit counts by one
    useFactory: () => ({ limiter: whole, identify: () => both }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error parts where no limit counts by one
    useFactory: () => ({ limiter: { store, ...numbers }, identify: () => both }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error names where no limit has a unit
    useFactory: () => ({ limiter: whole, identify: () => 'a', cost: { calls: 5 } }),
  });
  void RateLimitModule.forRootAsync({
    // @ts-expect-error names where no limit has a unit
    useFactory: () => ({ limiter: whole, identify: () => 'a', cost: () => ({ calls: 5 }) }),
  });
});

test('a limited function: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(
    limited(send, { limiter: parted, identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(
    limited(send, { limiter: { store, limits }, identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(
    limited(send, { limiter: whole, identify: () => 'a' }).limiter,
  ).toEqualTypeOf<RateLimiter>();
  void limited(send, {
    limiter: parted,
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void limited(send, {
    limiter: parted,
    identify: () => both,
    cost: () => ({ tokens: 5 }),
    limits: [tpm],
  });
  void limited(send, { limiter: parted, identify: () => both, cost: 0, limits: () => [rpm] });
  void limited(send, { limiter: { store, limits }, identify: () => both, cost: { tokens: 5 } });
  void limited(send, { limiter: { store, ...numbers }, identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void limited(send, { limiter: parted, identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void limited(send, { limiter: parted, identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void limited(send, { limiter: parted, identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void limited(send, { limiter: parted, identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void limited(send, { limiter: parted, cost: 0 });
  // @ts-expect-error an unknown unit
  void limited(send, { limiter: parted, identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void limited(send, { limiter: parted, identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void limited(send, { limiter: parted, identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void limited(send, { limiter: parted, identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void limited(send, { limiter: parted, identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void limited(send, { limiter: parted, identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void limited(send, { limiter: whole, identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void limited(send, { limiter: { store, ...numbers }, identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void limited(send, { limiter: whole, identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void limited(send, { limiter: whole, identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('a decorated method: identities, costs and plans are those of the limiter', () => {
  expectTypeOf(
    decorator({ limiter: parted, identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(
    decorator({ limiter: { store, limits }, identify: () => both }).limiter,
  ).toEqualTypeOf<Parted>();
  expectTypeOf(
    decorator({ limiter: whole, identify: () => 'a' }).limiter,
  ).toEqualTypeOf<RateLimiter>();
  void decorator({
    limiter: parted,
    identify: async () => ({ org: 'acme', key: null }),
    cost: { tokens: 5, calls: 2 },
  });
  void decorator({
    limiter: parted,
    identify: () => both,
    cost: () => ({ tokens: 5 }),
    limits: [tpm],
  });
  void decorator({ limiter: parted, identify: () => both, cost: 0, limits: () => [rpm] });
  void decorator({ limiter: { store, limits }, identify: () => both, cost: { tokens: 5 } });
  void decorator({ limiter: { store, ...numbers }, identify: () => 'a', cost: async () => 5 });
  // @ts-expect-error a part is missing
  void decorator({ limiter: parted, identify: () => ({ org: 'acme' }) });
  // @ts-expect-error a part is undefined
  void decorator({ limiter: parted, identify: () => ({ org: 'acme', key: undefined }) });
  // @ts-expect-error no limit counts by this part
  void decorator({ limiter: parted, identify: () => ({ org: 'acme', ip: '::1' }) });
  // @ts-expect-error it is not named which part it is
  void decorator({ limiter: parted, identify: () => 'acme' });
  // @ts-expect-error who is limited has to be said
  void decorator({ limiter: parted, cost: 0 });
  // @ts-expect-error an unknown unit
  void decorator({ limiter: parted, identify: () => both, cost: { token: 5 } });
  // @ts-expect-error an unknown unit
  void decorator({ limiter: parted, identify: () => both, cost: () => ({ token: 5 }) });
  // @ts-expect-error a number where units are named
  void decorator({ limiter: parted, identify: () => both, cost: 5 });
  // @ts-expect-error a number where units are named
  void decorator({ limiter: parted, identify: () => both, cost: () => 5 });
  // @ts-expect-error a plan by another part
  void decorator({ limiter: parted, identify: () => both, limits: [perAddress] });
  // @ts-expect-error a plan in another unit
  void decorator({ limiter: parted, identify: () => both, limits: () => [budget] });
  // @ts-expect-error parts where no limit counts by one
  void decorator({ limiter: whole, identify: () => both });
  // @ts-expect-error parts where no limit counts by one
  void decorator({ limiter: { store, ...numbers }, identify: () => both });
  // @ts-expect-error names where no limit has a unit
  void decorator({ limiter: whole, identify: () => 'a', cost: { calls: 5 } });
  // @ts-expect-error names where no limit has a unit
  void decorator({ limiter: whole, identify: () => 'a', cost: () => ({ calls: 5 }) });
});

test('functions know their arguments, whatever the limiter', () => {
  type Env = { Variables: { org: string } };
  expectTypeOf(
    forHono(parted, { identify: (c: Context<Env>) => ({ org: c.get('org'), key: 1 }) }).limiter,
  ).toEqualTypeOf<Parted>();
  void forHono<Env, string, 'org' | 'key', 'tokens'>(parted, {
    identify: ({ var: { org } }) => ({ org, key: 1 }),
  });
  void forWeb(parted, {
    identify: (request: Request, context: { key: number }) => ({
      org: request.headers.get('x-org'),
      key: context.key,
    }),
    cost: { tokens: 5 },
  })((request, { key }) => new Response(request.url + key.toFixed()));
  void forKoa(parted, { identify: (ctx) => ({ org: ctx.get('x-org'), key: ctx.path }) });
  void forFastify(parted, { identify: ({ ip }) => ({ org: ip, key: 1 }) });
  void limited(send, {
    limiter: parted,
    identify: (to) => ({ org: to, key: 1 }),
    cost: (to) => ({ tokens: to.length }),
  });
  // @ts-expect-error an unknown part
  void limited(send, { limiter: parted, identify: { org: 'acme', key: 1, ip: '::1' } });
  void decorator({ limiter: parted, identify: (to: string) => ({ org: to, key: 1 }) });
  // @ts-expect-error an address is no named part
  void forWeb(parted, { address: () => '::1' });
  // @ts-expect-error an address is no named part
  void forHono(parted, { address: () => '::1' });
});

test('options of Fastify say of which limiter they are', () => {
  type Plugin = RateLimitPluginOptions<FastifyRequest, 'org' | 'key', 'tokens'>;
  type Route = RouteOptions<FastifyRequest, 'org' | 'key', 'tokens'>;
  const options = {
    limiter: parted,
    identify: (request) => {
      expectTypeOf(request).toEqualTypeOf<FastifyRequest>();
      return { org: request.ip, key: 1 };
    },
  } satisfies Plugin;
  void Fastify().register(fastifyPlugin, options);
  void ({ limiter: parted, identify: () => both, cost: { tokens: 5 } } satisfies Route);
  void ({ limiter: whole, identify: () => 'a' } satisfies RateLimitPluginOptions);
  void ({ limiter: parted, identify: () => both } satisfies RateLimitPluginOptions);
  // @ts-expect-error a part is missing
  void ({ limiter: parted, identify: () => ({ org: 'acme' }) } satisfies Plugin);
  // @ts-expect-error another limiter
  void ({ limiter: whole, identify: () => both } satisfies Plugin);
  // @ts-expect-error it is not named which part it is
  void ({ identify: () => 'acme' } satisfies Route);
  // @ts-expect-error a number where units are named
  void ({ cost: 5 } satisfies Route);
});

test('rules of Nest under inherited limiters say of which limiter they are', () => {
  type Rule = RateLimitRuleOptions<NestRequest, 'org' | 'key', 'tokens'>;
  expectTypeOf(forNest({ identify: () => both, cost: { tokens: 5 } })).toEqualTypeOf<
    ClassDecorator & MethodDecorator
  >();
  void forNest({ identify: () => 'a', cost: 5 });
  void forNest({ identify: () => both, cost: () => ({ tokens: 5 }) } satisfies Rule);
  // @ts-expect-error a part is missing
  void forNest({ identify: () => ({ org: 'acme' }) } satisfies Rule);
  // @ts-expect-error a number where units are named
  void forNest({ cost: 5 } satisfies Rule);
});
