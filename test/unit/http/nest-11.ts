import { cpSync, existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as Http from 'distributed-rate-limiter/http';
import type * as Adapter from 'distributed-rate-limiter/nest';
import type * as Express from '@nestjs/platform-express';
import type * as Common from '@nestjs/common';
import type * as Core from '@nestjs/core';
import { ensurePackagesOf } from '../../../scripts/bootstrap.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = path.join(root, 'test/installs/nest-11');
const installed = path.join(folder, 'node_modules/distributed-rate-limiter');

/**
 * NestJS 11 with this package installed beside it. Uses a copy of the build, because a link would resolve the
 * repository's NestJS 12. The interfaces of Nest used here are equal in both.
 */
export async function loadNest11(): Promise<{
  common: typeof Common & { VERSION: string };
  core: typeof Core;
  express: typeof Express;
  adapter: typeof Adapter;
  http: typeof Http;
}> {
  if (!existsSync(path.join(root, 'dist/http/adapters/nest/index.js'))) {
    throw new Error('Run `npm run build` first.');
  }
  ensurePackagesOf(folder, 'NestJS 11');
  rmSync(installed, { recursive: true, force: true });
  for (const part of ['package.json', 'dist']) {
    cpSync(path.join(root, part), path.join(installed, part), { recursive: true });
  }
  const require = createRequire(path.join(folder, 'package.json'));
  const load = (name: string): Promise<never> =>
    import(/* @vite-ignore */ pathToFileURL(require.resolve(name)).href) as Promise<never>;
  const { version } = require('@nestjs/common/package.json') as { version: string };
  return {
    common: Object.assign({ VERSION: version }, require('@nestjs/common') as typeof Common),
    core: require('@nestjs/core') as typeof Core,
    express: require('@nestjs/platform-express') as typeof Express,
    adapter: await load('distributed-rate-limiter/nest'),
    http: await load('distributed-rate-limiter/http'),
  };
}
