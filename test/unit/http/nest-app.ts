import { Module } from '@nestjs/common';
import type { INestApplication, ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AbstractHttpAdapter } from '@nestjs/core';
import type { Served } from './framework.ts';

/** Creates an application with this root module, before `listen`. */
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
