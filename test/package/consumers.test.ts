import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build as esbuild } from 'esbuild';
import { build as rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { entries, unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A user's project: the packed package in its node_modules, and no Redis client. */
let project = '';

beforeAll(() => {
  project = newProject('consumer');
  unpackInto(project);
  // Packages that some entries need, beside the tools.
  linkLibraries(project, [
    '@nestjs',
    '@opentelemetry',
    '@types',
    'fastify',
    'hono',
    'reflect-metadata',
    'rxjs',
    'undici-types',
    'vitest',
  ]);
  write('package.json', '{ "name": "consumer", "private": true }');
  write('main.mjs', `${esmImports}${program}`);
  write('main.cjs', `${cjsImports}${program}`);
});

afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

function write(file: string, text: string): void {
  writeFileSync(path.join(project, file), text);
}

/** Nest 12 itself is ES modules alone. */
const entriesOfCommonJs = entries.filter((entry) => !entry.endsWith('/nest'));

/** Runs a command that must succeed and print only its answer: a warning is a failure, too. */
function run(cwd: string, command: string, args: readonly string[]): string {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !name.startsWith('VITEST') && name !== 'NODE_OPTIONS',
    ),
  );
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', env });
  expect({ status, stderr, stdout: status === 0 ? '' : stdout }).toEqual({
    status: 0,
    stderr: '',
    stdout: '',
  });
  return stdout;
}

function node(...args: readonly string[]): string {
  return run(project, process.execPath, args);
}

const bin = (file: string): string => path.join(root, 'node_modules', file);

const esmImports = `
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
`;
const cjsImports = `
const { MemoryStore, RateLimiter } = require('distributed-rate-limiter');
const { ManualClock } = require('distributed-rate-limiter/testing');
`;

/** Two of three calls pass, and an hour later the next one. A Redis URL without a client library is explained. */
const program = `
async function main() {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 2, period: '1h' });
  const allowed = [];
  for (let i = 0; i < 3; i++) allowed.push((await limiter.allow('user:1')).allowed);
  clock.advance('1h');
  allowed.push((await limiter.allow('user:1')).allowed);
  await limiter.close();
  const remote = new RateLimiter({ redis: 'redis://localhost:1', rate: 2, period: '1h' });
  const advice = await remote.ready().then(() => 'connected', (error) => error.message);
  console.log(JSON.stringify({ allowed, advice }));
}
void main();
`;
const answer = {
  allowed: [true, true, false, true],
  advice: expect.stringMatching(/install.*ioredis/i),
};

test("the consumer's project has no Redis client that could hide a missing one", () => {
  const { resolve } = createRequire(path.join(project, 'main.cjs'));
  expect(() => resolve('ioredis')).toThrow('Cannot find module');
  expect(() => resolve('redis')).toThrow('Cannot find module');
});

describe('Node', () => {
  test.each([
    ['main.mjs', []],
    ['main.cjs', []],
    ['main.cjs', ['--no-experimental-require-module']],
  ])('Node runs %s with the flags %j', (file, flags) => {
    expect(JSON.parse(node(...flags, file))).toEqual(answer);
  });

  test.each(entries)('import and require of %s give the same names', (entry) => {
    // `require` of a module with a default export adds this mark.
    const print = `console.log(Object.keys(entry).filter((name) => name !== '__esModule').sort().join())`;
    const required = node(
      '--input-type=commonjs',
      '-e',
      `const entry = require('${entry}'); ${print}`,
    );
    const imported = node(
      '--input-type=module',
      '-e',
      `import * as entry from '${entry}'; ${print}`,
    );
    expect(required).toBe(imported);
    expect(required.trim()).not.toBe('');
  });

  test('import and require give the same objects', () => {
    const check = `
      import { createRequire } from 'node:module';
      const require = createRequire(process.cwd() + '/main.cjs');
      const different = [];
      for (const entry of ${JSON.stringify(entries)}) {
        const [imported, required] = [await import(entry), require(entry)];
        different.push(...Object.keys(imported).filter((name) => imported[name] !== required[name]));
      }
      console.log(different.join());
    `;
    expect(node('--input-type=module', '-e', check).trim()).toBe('');
  });

  test('the CommonJS of each entry gives the same names', () => {
    const check = `
      import { createRequire } from 'node:module';
      const require = createRequire(process.cwd() + '/main.cjs');
      const names = (entry) => Object.keys(entry).filter((name) => name !== '__esModule').sort().join();
      const different = [];
      for (const entry of ${JSON.stringify(entriesOfCommonJs)}) {
        const [imported, required] = [await import(entry), require(entry)];
        if (imported === required || names(imported) !== names(required)) different.push(entry);
      }
      console.log(different.join());
    `;
    const flags = ['--no-experimental-require-module', '--input-type=module'];
    expect(node(...flags, '-e', check).trim()).toBe('');
  });
});

describe('bundlers', () => {
  test.each(['esm', 'cjs'] as const)('the %s bundle of esbuild runs', async (format) => {
    const outfile = format === 'esm' ? 'esbuild.mjs' : 'esbuild.cjs';
    const { warnings } = await esbuild({
      absWorkingDir: project,
      entryPoints: ['main.mjs'],
      outfile,
      format,
      platform: 'node',
      bundle: true,
      logLevel: 'silent',
    });
    expect(warnings).toEqual([]);
    expect(JSON.parse(node(outfile))).toEqual(answer);
  });

  test('a bundle that imports and requires the package has one copy of it', async () => {
    write(
      'both.mjs',
      `import { RateLimiter } from 'distributed-rate-limiter';
       const required = require('distributed-rate-limiter');
       console.log(required.RateLimiter === RateLimiter);`,
    );
    await esbuild({
      absWorkingDir: project,
      entryPoints: ['both.mjs'],
      outfile: 'both.esbuild.cjs',
      format: 'cjs',
      platform: 'node',
      bundle: true,
      logLevel: 'silent',
    });
    await rolldown({
      cwd: project,
      input: 'both.mjs',
      platform: 'node',
      output: { file: path.join(project, 'both.rolldown.cjs'), format: 'cjs' },
    });
    expect(node('both.esbuild.cjs')).toBe('true\n');
    expect(node('both.rolldown.cjs')).toBe('true\n');
  });

  test.each(['esm', 'cjs'] as const)('the %s bundle of Rolldown runs', async (format) => {
    const file = format === 'esm' ? 'rolldown.mjs' : 'rolldown.cjs';
    const warnings: string[] = [];
    await rolldown({
      cwd: project,
      input: 'main.mjs',
      platform: 'node',
      onLog: (_level, { message }) => warnings.push(message),
      output: { file: path.join(project, file), format },
    });
    expect(warnings).toEqual([]);
    expect(JSON.parse(node(file))).toEqual(answer);
  });
});

describe('TypeScript', () => {
  const typed = (named: readonly string[]): string => `
${named.map((entry, i) => `import * as entry${i} from '${entry}';`).join('\n')}
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';

export const everything = [${named.map((_, i) => `entry${i}`).join(', ')}];

export async function check(identity: string): Promise<number> {
  const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h' });
  const decision = await limiter.allow(identity);
  // @ts-expect-error a misspelt field is an error, so the types are really there
  void decision.remainign;
  if (decision.allowed) return 0;
  return decision.retryAfterMs ?? Infinity;
}
`;

  test.each([
    ['nodenext', 'nodenext', 'consumer.mts', true],
    ['nodenext', 'nodenext', 'consumer.mts', false],
    // TypeScript 5.8 allows a CommonJS file to import ESM in nodenext, as Node itself does.
    ['nodenext', 'nodenext', 'consumer.cts', true],
    ['node16', 'node16', 'consumer.mts', true],
    ['node16', 'node16', 'consumer.mts', false],
    ['node16', 'node16', 'consumer.cts', true],
    ['esnext', 'bundler', 'consumer.ts', true],
    ['esnext', 'bundler', 'consumer.ts', false],
  ])(
    'the types compile with module %s, moduleResolution %s: %s, exactOptionalPropertyTypes %s',
    (module, moduleResolution, file, exactOptionalPropertyTypes) => {
      write(
        file,
        typed(moduleResolution === 'node16' && file.endsWith('.cts') ? entriesOfCommonJs : entries),
      );
      const compilerOptions = {
        module,
        moduleResolution,
        exactOptionalPropertyTypes,
        target: 'es2022',
        strict: true,
        skipLibCheck: false,
        types: ['node'],
        noEmit: true,
      };
      write('tsconfig.json', JSON.stringify({ compilerOptions, files: [file] }));
      expect(node(bin('typescript/bin/tsc'), '-p', 'tsconfig.json')).toBe('');
    },
  );
});

describe('test runners', () => {
  const body = `
test('the limit holds', async () => {
  const limiter = new RateLimiter({ store: new MemoryStore({ clock: new ManualClock() }), rate: 1, period: '1h' });
  equal((await limiter.allow('user:1')).allowed, true);
  equal((await limiter.allow('user:1')).allowed, false);
});
`;

  test('vitest runs a test that uses the package', () => {
    const vitest = "import { test, assert } from 'vitest';\nconst { equal } = assert;";
    write('vitest.test.mjs', `${vitest}${esmImports}${body}`);
    write('vitest.config.mjs', "export default { test: { include: ['vitest.test.mjs'] } };");
    const report = JSON.parse(node(bin('vitest/vitest.mjs'), 'run', '--reporter=json'));
    expect(report).toMatchObject({ success: true, numPassedTests: 1 });
  });

  test('node --test runs a test that uses the package', () => {
    const nodeTest =
      "import { test } from 'node:test';\nimport { equal } from 'node:assert/strict';";
    write('node.test.mjs', `${nodeTest}${esmImports}${body}`);
    expect(node('--test', '--test-reporter=tap', 'node.test.mjs')).toContain('# pass 1\n# fail 0');
  });
});
