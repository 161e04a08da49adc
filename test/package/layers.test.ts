import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const layer = 'eslint(no-restricted-imports)';

/** Each row: a file, its code, and the rule that must refuse it. A layer rule refuses every line. */
const refused: readonly (readonly [string, string, string])[] = [
  ['src/algorithms/a.ts', "import { x } from '../stores/x.ts';", layer],
  ['src/algorithms/b.ts', "import { x } from '../limiter.ts';", layer],
  ['src/algorithms/c.ts', "import { x } from '../http/x.ts';", layer],
  ['src/algorithms/d.ts', "import { x } from '../redis/x.ts';", layer],
  ['src/algorithms/e.ts', "import { x } from '../telemetry/x.ts';", layer],
  ['src/algorithms/f.ts', "import type { X } from '../stores/x.ts';", layer],
  ['src/algorithms/g.ts', "export { x } from '../stores/x.ts';", layer],
  ['src/algorithms/h.ts', "export const x = import('../stores/x.ts');", layer],
  ['src/redis/a.ts', "import { x } from '../algorithms/x.ts';", layer],
  ['src/redis/b.ts', "import { x } from '../stores/x.ts';", layer],
  ['src/redis/c.ts', "import { x } from '../limiter.ts';", layer],
  ['src/redis/d.ts', "import { x } from '../http/x.ts';", layer],
  ['src/redis/e.ts', "import { x } from '../telemetry/x.ts';", layer],
  ['src/redis/f.ts', "import type { X } from '../decision.ts';", layer],
  ['src/stores/a.ts', "import { x } from '../limiter.ts';", layer],
  ['src/stores/b.ts', "import { x } from '../http/x.ts';", layer],
  ['src/stores/c.ts', "import { x } from '../telemetry/x.ts';", layer],
  ['src/http/a.ts', "import { x } from '../redis/x.ts';", layer],
  ['src/http/b.ts', "import { x } from '../stores/x.ts';", layer],
  ['src/http/adapters/nest/c.ts', "import { x } from '../../redis/x.ts';", layer],
  ['src/limited/a.ts', "import { x } from '../stores/x.ts';", layer],
  ['src/limited/b.ts', "import { x } from '../redis/x.ts';", layer],
  ['src/sync/a.ts', "import { x } from '../stores/x.ts';", layer],
  [
    'src/http/adapters/nest/d.ts',
    "import { x } from 'ioredis';\nimport type { X } from '@nestjs/graphql';",
    layer,
  ],
  ['src/http/d.ts', "import { x } from '@nestjs/common';", layer],
  ['src/http/adapters/hono.ts', "import { x } from 'hono';", layer],
  ['src/telemetry/a.ts', "import { x } from '../limiter.ts';", layer],
  ['src/telemetry/b.ts', "import type { X } from '../redis/x.ts';", layer],
  ['src/telemetry/c.ts', "import type { X } from '../stores/x.ts';", layer],
  // OpenTelemetry's API, and nothing else, in that one file, which otherwise obeys what its layer obeys.
  ['src/telemetry/opentelemetry.ts', "import type { X } from '@opentelemetry/sdk-metrics';", layer],
  ['src/telemetry/d.ts', "import type { X } from '@opentelemetry/api';", layer],
  ['src/base/errors.ts', "import { x } from './stores/x.ts';", layer],
  [
    'src/limiter/rate-limiter.ts',
    "import { x } from './http/x.ts';\nimport type { Redis } from 'ioredis';",
    layer,
  ],
  ['src/other.ts', "import { x } from './index.ts';", layer],
  // Zero dependencies: not even a type of a client's or a framework's.
  ...['', 'algorithms/', 'stores/', 'redis/', 'http/', 'telemetry/'].map(
    (folder) =>
      [`src/${folder}package.ts`, "import type { Redis } from 'ioredis';", layer] as const,
  ),
  ['src/base/clock.ts', "import type { Redis } from 'ioredis';", layer],
  // A cycle is refused even where both ends are in one layer.
  [
    'src/algorithms/one.ts',
    "import { y } from './two.ts';\nexport const x = () => y;",
    'import(no-cycle)',
  ],
  [
    'src/algorithms/two.ts',
    "import { x } from './one.ts';\nexport const y = () => x;",
    'import(no-cycle)',
  ],
  // A lost promise is a lost decision.
  [
    'src/lost.ts',
    'export function f(p: Promise<void>): void {\n  p;\n}',
    'typescript(no-floating-promises)',
  ],
  [
    'src/misused.ts',
    'export const f = (p: Promise<boolean>) => (p ? 1 : 2);',
    'typescript(no-misused-promises)',
  ],
  ['src/wasted.ts', 'export const f = async () => {\n  await 1;\n};', 'typescript(await-thenable)'],
];

/** What the layers are meant to import passes, so that no rule above refuses simply everything. */
const accepted: readonly (readonly [string, string])[] = [
  [
    'src/algorithms/ok.ts',
    "import { x } from '../duration.ts';\nimport { y } from './x.ts';\nexport const z = [x, y];",
  ],
  [
    'src/redis/ok.ts',
    "import { x } from '../errors.ts';\nimport { y } from './x.ts';\nexport const z = [x, y];",
  ],
  [
    'src/stores/ok.ts',
    "import { x } from '../algorithms/x.ts';\nimport { y } from '../redis/x.ts';\nexport const z = [x, y];",
  ],
  [
    'src/http/ok.ts',
    "import { x } from '../limiter.ts';\nimport { RateLimitExceeded } from '../rate-limit-exceeded.ts';\nexport const z = [x, RateLimitExceeded];",
  ],
  [
    'src/http/adapters/fastify.ts',
    "import type { X } from 'fastify';\nimport { z } from './guard.ts';\nexport const all: X[] = [z];",
  ],
  [
    'src/http/adapters/nest/ok.ts',
    "import { x } from '@nestjs/common';\nimport { y } from '@nestjs/core';\nimport { z } from '../guard.ts';\nexport const all = [x, y, z];",
  ],
  [
    'src/telemetry/ok.ts',
    "import { x } from '../events.ts';\nimport type { X } from '../decision.ts';\nexport const z: X = x;",
  ],
];

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-layers-'));
let diagnostics: readonly Diagnostic[] = [];

beforeAll(() => {
  for (const config of ['.oxlintrc.json', 'tsconfig.json']) {
    copyFileSync(path.join(root, config), path.join(folder, config));
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  for (const [file, code] of [...refused, ...accepted]) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), `${code}\n`);
  }
  const oxlint = path.join(root, 'node_modules/oxlint/bin/oxlint');
  const { stdout } = spawnSync(process.execPath, [oxlint, '--format=json', 'src'], {
    cwd: folder,
    encoding: 'utf8',
  });
  diagnostics = JSON.parse(stdout).diagnostics;
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const codesOf = (file: string): string[] =>
  diagnostics.filter(({ filename }) => filename === file).map(({ code }) => code);

describe('lint refuses', () => {
  test.each(refused)('%s: %s', (file, code, rule) => {
    const found = codesOf(file).filter((name) => name === rule);
    expect(found).toHaveLength(rule === layer ? code.split('\n').length : 1);
  });
});

describe('lint accepts', () => {
  test.each(accepted)('%s: %s', (file) => {
    expect(codesOf(file)).toEqual([]);
  });
});
