import { Module } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata, FactoryProvider } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { invalidOption } from '../../../base/errors.ts';
import { RateLimiter } from '../../../limiter/rate-limiter.ts';
import { readBoolean, readFunction, readOptions } from '../../../options/read-options.ts';
import type { NestRequest } from './call.ts';
import { RateLimitGuard } from './guard.ts';
import { RouteGuards } from './route-guards.ts';
import { checkRule } from './rule.ts';
import type { CompleteRule, RateLimitLimiterOptions } from './rule.ts';

/** Defaults for every route. */
export interface RateLimitDefaults<
  Request = NestRequest,
  By extends string = never,
  Unit extends string = never,
> extends RateLimitLimiterOptions<Request, By, Unit> {
  /**
   * A limiter, which stays yours to close, or the options of a new one, which is closed when the application shuts
   * down.
   */
  limiter: RateLimitLimiterOptions<Request, By, Unit>['limiter'];
}

interface Binding {
  /** Whether every route is limited; otherwise only those with `@UseGuards(RateLimitGuard)`. Default true. */
  global?: boolean;
}

/** Options of `RateLimitModule.forRoot`. */
export interface RateLimitModuleOptions<
  Request = NestRequest,
  By extends string = never,
  Unit extends string = never,
>
  extends RateLimitDefaults<Request, By, Unit>, Binding {}

/** Options of `RateLimitModule.forRootAsync`. */
export interface RateLimitModuleAsyncOptions<
  Dependencies extends unknown[],
  Request = NestRequest,
  By extends string = never,
  Unit extends string = never,
>
  extends Binding, Pick<ModuleMetadata, 'imports'> {
  /** Tokens of the providers that `useFactory` is called with. */
  inject?: { [I in keyof Dependencies]: NonNullable<FactoryProvider['inject']>[number] };
  useFactory: (
    ...dependencies: Dependencies
  ) => RateLimitDefaults<Request, By, Unit> | Promise<RateLimitDefaults<Request, By, Unit>>;
}

/**
 * Limits the routes of a Nest application. Import it once, in the root module. The limiter can be injected everywhere,
 * as `RateLimiter`.
 *
 * @example
 * ```ts
 * @Module({
 *   imports: [RateLimitModule.forRoot({ limiter: { redis: 'redis://localhost:6379', rate: 100, period: '1m' } })],
 * })
 * class AppModule {}
 * ```
 */
export class RateLimitModule {
  /** @throws {RateLimiterError} `ERR_INVALID_OPTION` for every misspelt or wrong option. */
  static forRoot<Request = NestRequest, By extends string = never, Unit extends string = never>(
    options: RateLimitModuleOptions<Request, By, Unit>,
  ): DynamicModule {
    const { global, ...defaults } = options;
    checkDefaults(defaults);
    return makeModule(global, [
      { provide: RouteGuards, useFactory: () => makeRouteGuards(defaults) },
    ]);
  }

  /**
   * Makes the module from options that need other providers.
   *
   * @throws {RateLimiterError} `ERR_INVALID_OPTION`; for the result of `useFactory`, when the application starts.
   * @example
   * RateLimitModule.forRootAsync({
   *   inject: [ConfigService],
   *   useFactory: (config: ConfigService) => ({ limiter: { redis: config.getOrThrow('REDIS_URL'), rate: 100, period: '1m' } }),
   * });
   */
  static forRootAsync<
    Dependencies extends unknown[],
    Request = NestRequest,
    By extends string = never,
    Unit extends string = never,
  >(options: RateLimitModuleAsyncOptions<Dependencies, Request, By, Unit>): DynamicModule {
    const { imports, inject, useFactory, global } = options;
    readOptions(
      { of: 'forRootAsync', names: ['imports', 'inject', 'useFactory', 'global'] },
      options,
    );
    readFunction('useFactory', useFactory);
    const provider: FactoryProvider = {
      provide: RouteGuards,
      inject: [...(inject ?? [])] as NonNullable<FactoryProvider['inject']>,
      useFactory: async (...dependencies: Dependencies) => {
        const defaults = await useFactory(...dependencies);
        checkDefaults(defaults);
        return makeRouteGuards(defaults);
      },
    };
    return { ...makeModule(global, [provider]), imports: imports ?? [] };
  }
}

Module({})(RateLimitModule);

function checkDefaults(defaults: unknown): void {
  checkRule('RateLimitModule', defaults);
  if ((defaults as Partial<CompleteRule>).limiter === undefined) {
    throw invalidOption(
      'limiter',
      'given',
      undefined,
      'Pass a RateLimiter, or options: `{ redis, rate, period }`.',
    );
  }
}

/** Takes the defaults of whatever requests and limits. */
function makeRouteGuards(defaults: object): RouteGuards {
  return new RouteGuards(defaults as CompleteRule);
}

function makeModule(
  global: boolean | undefined,
  providers: NonNullable<ModuleMetadata['providers']>,
): DynamicModule {
  const everywhere = global === undefined || readBoolean('global', global);
  return {
    module: RateLimitModule,
    // Makes the exports global: the guard needs the routes wherever it is bound.
    global: true,
    providers: [
      ...providers,
      {
        provide: RateLimiter,
        inject: [RouteGuards],
        useFactory: ({ limiter }: RouteGuards) => limiter,
      },
      ...(everywhere ? [{ provide: APP_GUARD, useClass: RateLimitGuard }] : []),
    ],
    exports: [RouteGuards, RateLimiter],
  };
}
