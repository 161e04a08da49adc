import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { MemoryStore } from 'distributed-rate-limiter';
import { RateLimit, RateLimitExceeded } from 'distributed-rate-limiter/limited';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type * as Decorated from './decorated/service.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-decorated-'));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Compiles with TypeScript itself, which also checks the types. Returns its errors. */
function compile(kind: string): string {
  const { stdout } = spawnSync(
    process.execPath,
    [
      path.join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      path.join(root, `test/package/decorated/tsconfig.${kind}.json`),
      '--noEmit',
      'false',
      '--rootDir',
      root,
      '--outDir',
      path.join(folder, kind),
    ],
    { encoding: 'utf8' },
  );
  return stdout;
}

/** Loads the compiled module with its own copy of the package, so only the brand identifies its errors. */
async function load(file: string, kind: string): Promise<typeof Decorated> {
  const outfile = path.join(folder, `${path.extname(file).slice(1)}-${kind}.mjs`);
  const source = (name: string): string => path.join(root, 'src', name);
  await build({
    entryPoints: [file],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    tsconfigRaw: { compilerOptions: { experimentalDecorators: kind === 'legacy' } },
    alias: {
      'distributed-rate-limiter': source('index.ts'),
      'distributed-rate-limiter/limited': source('limited/index.ts'),
      'distributed-rate-limiter/testing': source('testing/index.ts'),
    },
  });
  return import(pathToFileURL(outfile).href);
}

async function outcomes(...calls: (() => Promise<unknown>)[]): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const call of calls) {
    seen.push(
      await call().catch((error: unknown) =>
        error instanceof RateLimitExceeded ? error.decision.reason : error,
      ),
    );
  }
  return seen;
}

describe.each(['standard', 'legacy'])('%s decorators', (kind) => {
  const complaints = compile(kind);

  test('TypeScript accepts valid uses and refuses invalid ones', () => {
    expect(complaints).toBe('');
  });

  describe.each([
    ['TypeScript', () => path.join(folder, kind, 'test/package/decorated/service.js')],
    ['esbuild', () => path.join(root, 'test/package/decorated/service.ts')],
  ])('compiled by %s', (_, file) => {
    let module: typeof Decorated;
    beforeAll(async () => {
      module = await load(file(), kind);
    });

    test('a decorated method gets its arguments and `this`, and `identify` and `cost` see those of the call', async () => {
      const { Service, limiter, clock } = module;
      const [a, b] = [new Service('acme'), new Service('other')];
      const rows = ['x', 'y', 'z'];
      const load3 = (service: typeof a) => () => service.load('u', rows, '-');
      expect(await outcomes(load3(a), load3(a), load3(b))).toEqual([
        'acme-u-x-y-z',
        'limited',
        'other-u-x-y-z',
      ]);
      expect(a.ran, 'a refused call runs nothing').toEqual(['u']);
      expect((await limiter.peek(['acme', 'u'])).remaining).toBe(1);
      clock.advance('2s');
      expect(await outcomes(load3(a))).toEqual(['acme-u-x-y-z']);
    });

    test('all instances share one limiter, which the decorator exposes', async () => {
      const { Service, perUser } = module;
      const [a, b] = [new Service('a'), new Service('b')];
      expect(
        await outcomes(
          () => a.send('u'),
          () => b.send('u'),
          () => b.send('v'),
        ),
      ).toEqual(['a to u', 'limited', 'b to v']);
      expect((await perUser.limiter.peek('u')).remaining).toBe(0);
      await perUser.limiter.close();
      await expect(a.send('w')).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
    });

    test('plans by instance, static methods and concurrency places work', async () => {
      const { Service, clock } = module;
      const [free, paid] = [new Service('a'), new Service('b', 'paid')];
      expect(
        await outcomes(
          () => free.export(),
          () => free.export(),
        ),
      ).toEqual([1, 'limited']);
      clock.advance('2s');
      expect(
        await outcomes(
          () => paid.export(),
          () => paid.export(),
          () => paid.export(),
        ),
      ).toEqual([1, 2, 'limited']);
      expect(
        await outcomes(
          () => Service.find(1),
          () => Service.find(2),
        ),
      ).toEqual(['static 1', 'limited']);
      const inside: unknown[] = [];
      await free.exclusive(async () => {
        inside.push(...(await outcomes(() => paid.exclusive(async () => {}))));
      });
      expect(inside).toEqual(['limited']);
      await paid.exclusive(async () => {});
    });

    test('a decorated method keeps its name and length', () => {
      const { Service } = module;
      expect(Service.prototype.load.name).toBe('load');
      expect(Service.prototype.load).toHaveLength(2);
      expect(Object.keys(new Service('a'))).not.toContain('load');
    });
  });
});

const decorate = RateLimit({
  limiter: { store: new MemoryStore(), rate: 1, period: '1s' },
  identify: 'all',
}) as unknown as (...args: unknown[]) => unknown;

test.each([
  ['a class, standard', [Map, { kind: 'class', name: 'A' }]],
  ['a class, legacy', [Map]],
  ['a field, standard', [undefined, { kind: 'field', name: 'a' }]],
  ['a field, legacy', [{}, 'a', undefined]],
  ['a getter, standard', [() => 1, { kind: 'getter', name: 'a' }]],
  ['a getter, legacy', [{}, 'a', { get: () => 1, configurable: true }]],
  ['a function', [() => 1]],
])('decorating %s is refused', (_, args) => {
  expect(() => decorate(...args)).toThrow(/`RateLimit` must stand on a method/);
});

test('invalid options are refused where the decorator is applied, naming the decorator', () => {
  expect(() => RateLimit({ limiter: {}, identify: 'all', key: 1 } as never)).toThrow(
    /`key` is not an option of RateLimit/,
  );
});
