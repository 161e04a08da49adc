import { Module } from '@nestjs/common';
import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import type { Served } from './framework.ts';

/** Decorators as the functions that they are, from the top: their syntax is no JavaScript yet. */
export function decorate<T extends Type<unknown>>(
  target: T,
  decorators: readonly ClassDecorator[],
  methods: Readonly<Record<string, readonly MethodDecorator[]>> = {},
): T {
  for (const [name, ofMethod] of Object.entries(methods)) {
    const descriptor = Object.getOwnPropertyDescriptor(target.prototype, name)!;
    for (const each of ofMethod.toReversed()) each(target.prototype as object, name, descriptor);
  }
  for (const each of decorators.toReversed()) each(target);
  return target;
}

/** A decorator of a method's parameter, as one of the method. */
export function parameter(index: number, decorator: ParameterDecorator): MethodDecorator {
  return (target, name) => decorator(target, name, index);
}

/** Starts an application of this root module, before `listen`. */
export function create(
  metadata: ModuleMetadata,
  adapter: AbstractHttpAdapter,
): Promise<INestApplication> {
  class AppModule {}
  Module(metadata)(AppModule);
  return NestFactory.create(AppModule, adapter, {
    logger: false,
    abortOnError: false,
    forceCloseConnections: true,
  });
}

export async function listen(app: INestApplication): Promise<Served> {
  await app.listen(0, '127.0.0.1');
  return { origin: await app.getUrl(), close: () => app.close() };
}
