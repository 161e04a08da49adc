/** Builds and serves the sites among the recipes, with the packed package, and on a Node that their frameworks take. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { installRuntime } from '../../scripts/runtimes.mjs';
import { ask, askFrom, statusesOf } from '../kit/fakes/ask.ts';
import { unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startCommand } from '../kit/servers/command.mjs';
import { freePort } from '../kit/servers/free-port.mjs';
import { startRedis, waitUntil } from '../kit/servers/index.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Site {
  readonly name: string;
  readonly build: readonly string[];
  readonly serve: string;
  readonly page: string;
  /** Packages of whose types the framework has some in every file. */
  readonly types: readonly string[];
  /** How the server is told that its peer is a proxy, which appends to `X-Forwarded-For`. */
  readonly behindProxy: Readonly<Record<string, string>>;
  /** Of a server that is told to end; null where the signal itself ends it. */
  readonly exitCode: number | null;
}

const SITES: readonly Site[] = [
  {
    name: 'sveltekit',
    build: ['vite/bin/vite.js', 'build'],
    serve: 'build/index.js',
    page: '<p>hello, visitor 1</p>',
    types: ['node', '@sveltejs/kit'],
    behindProxy: { ADDRESS_HEADER: 'x-forwarded-for', XFF_DEPTH: '1' },
    exitCode: 0,
  },
  {
    name: 'astro',
    build: ['astro/bin/astro.mjs', 'build'],
    serve: 'dist/server/entry.mjs',
    page: '<p>hello</p>',
    types: ['node', 'astro/client'],
    behindProxy: { TRUSTED_PROXIES: 'loopback' },
    exitCode: null,
  },
];

let node = '';
beforeAll(() => {
  const program = installRuntime('node-24');
  if (program === undefined) throw new Error(`npm has no Node 24 for ${process.platform}`);
  node = program;
}, 300_000);

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

test('the README of the examples lists each site', () => {
  const list = readFileSync(path.join(root, 'examples/README.md'), 'utf8');
  const folders = readdirSync(path.join(root, 'examples/recipes'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  expect(folders).toEqual(SITES.map(({ name }) => name).toSorted());
  for (const folder of folders) expect(list).toContain(`(recipes/${folder})`);
});

describe.each(SITES)('$name', ({ name, build, serve, page, types, behindProxy, exitCode }) => {
  let project = '';

  beforeAll(async () => {
    const installed = path.join(root, 'test/installs', name);
    ensurePackagesOf(installed, name);
    project = newProject(name);
    cpSync(path.join(root, 'examples/recipes', name), project, { recursive: true });
    const manifest = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8'));
    manifest.dependencies['distributed-rate-limiter'] = '*';
    writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest));
    const modules = path.join(installed, 'node_modules');
    const libraries = readdirSync(modules).filter((each) => !each.startsWith('.'));
    const places = Object.fromEntries(libraries.map((each) => [each, path.join(modules, each)]));
    linkLibraries(project, [...libraries, 'ioredis'], places);
    unpackInto(project);

    const [program = '', ...args] = build;
    const building = startCommand(
      [node, path.join(project, 'node_modules', program), ...args],
      // The build calls no Redis.
      { REDIS_URL: 'redis://127.0.0.1:1', ASTRO_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' },
      project,
    );
    if ((await building.exitCode) !== 0) throw new Error(building.output());
  }, 300_000);
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  async function start(env: Record<string, string> = {}) {
    const port = await freePort();
    const origin = `http://127.0.0.1:${port}`;
    const address = { HOST: '127.0.0.1', PORT: String(port), NODE_ENV: 'production' };
    const run = startCommand([node, serve], { ...address, ...env }, project);
    cleanups.push(run.close);
    await run.printed(/istening on/);
    const end = (): Promise<number | null> => {
      run.signal('SIGTERM');
      return run.exitCode;
    };
    return { origin, output: run.output, end };
  }

  test('announces what is left, and calls no handler of the sixth request', async () => {
    const { origin, output, end } = await start();
    const responses = await ask(6, `${origin}/api`);
    expect(statusesOf(responses)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await responses[0]!.text()).toBe('hello, visitor 1');
    expect(responses[1]!.headers.get('ratelimit')).toMatch(/^"default";r=3;t=2\d$/);
    expect(responses[5]!.headers.get('retry-after')).toMatch(/^1[0-2]$/);
    expect(responses[5]!.headers.get('content-type')).toBe('application/problem+json');
    expect(await askFrom('127.0.0.2', `${origin}/api`)).toEqual({
      status: 200,
      body: 'hello, visitor 6',
    });
    expect(await end()).toBe(exitCode);
    expect(output()).not.toContain('Warning');
  });

  test('counts a page once, a missing one too, and one that the build has made never', async () => {
    const { origin } = await start();
    const [first, missing] = [(await ask(1, origin))[0]!, (await ask(1, `${origin}/missing`))[0]!];
    expect(await first.text()).toContain(page);
    expect(missing.status).toBe(404);
    expect(missing.headers.get('ratelimit')).toMatch(/^"default";r=3;/);
    const built = await ask(6, `${origin}/about`);
    expect(statusesOf(built)).toEqual([200, 200, 200, 200, 200, 200]);
    expect(await built[0]!.text()).toContain('<p>made by the build</p>');
    expect(statusesOf(await ask(4, origin))).toEqual([200, 200, 200, 429]);
  });

  test('counts by the address of the connection, whatever a header says', async () => {
    const { origin } = await start();
    const statuses: unknown[] = [];
    for (let i = 1; i <= 6; i++) {
      const headers = { 'x-forwarded-for': `192.0.2.${i}` };
      statuses.push((await askFrom('127.0.0.2', `${origin}/api`, headers)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await askFrom('127.0.0.3', `${origin}/api`)).toMatchObject({ status: 200 });
  });

  test('counts behind a proxy by the address that the proxy has appended', async () => {
    const { origin, output } = await start(behindProxy);
    const statusOf = async (forwarded: string): Promise<unknown> =>
      (await askFrom('127.0.0.1', `${origin}/api`, { 'x-forwarded-for': forwarded })).status;
    const statuses: unknown[] = [];
    for (let i = 1; i <= 6; i++) statuses.push(await statusOf(`192.0.2.${i}, 198.51.100.7`));
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await statusOf('192.0.2.1, 198.51.100.8')).toBe(200);
    expect(output()).not.toContain('Warning');
  });

  test('fits the types of the framework', async () => {
    const compilerOptions = {
      module: 'esnext',
      moduleResolution: 'bundler',
      target: 'es2023',
      lib: ['es2023', 'dom', 'dom.iterable', 'esnext.disposable'],
      types: types.map((each) =>
        each === 'node' ? path.join(root, 'node_modules/@types/node') : each,
      ),
      strict: true,
      checkJs: true,
      noEmit: true,
      skipLibCheck: true,
    };
    writeFileSync(
      path.join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['src/**/*.js'] }),
    );
    const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
    const run = startCommand([process.execPath, tsc, '-p', '.', '--pretty', 'false'], {}, project);
    cleanups.push(run.close);
    await run.exitCode;
    expect(run.output()).toBe('');
  });

  test('two processes share the limit over Redis', async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const env = { REDIS_URL: redis.url };
    const [one, other] = await Promise.all([start(env), start(env)]);
    for (const { origin } of [one, other]) {
      // From another address than below.
      await waitUntil('a decision of Redis', async () =>
        (await fetch(`${origin}/api`, { headers: { connection: 'close' } })).headers.has(
          'ratelimit',
        ),
      );
    }
    const statuses: unknown[] = [];
    for (const { origin } of [one, other, one, other, one, other]) {
      statuses.push((await askFrom('127.0.0.2', `${origin}/api`)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
  });
});
