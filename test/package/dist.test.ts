import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';
import { absoluteLinks } from '../../scripts/absolute-links.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const dist = path.join(root, 'dist');
const manifest: {
  bin: Record<string, string>;
  exports: Record<string, string | { default: string }>;
  typesVersions: { '*': Record<string, string[]> };
} = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

beforeAll(() => {
  if (!existsSync(path.join(dist, 'index.js'))) throw new Error('Run `npm run build` first.');
});

function filesOfDist(ending: string): string[] {
  return readdirSync(dist, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll(path.sep, '/'))
    .filter((file) => file.endsWith(ending));
}

/** The files of the ES modules. */
function modulesOfDist(ending: string): string[] {
  return filesOfDist(ending).filter((file) => !file.startsWith('cjs/'));
}

test('every module of dist is reachable from an entry', () => {
  const entries = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [] : [target.default.replace('./dist/', '')],
  );
  const commands = Object.values(manifest.bin).map((file) => file.replace('dist/', ''));
  const reached = new Set([...entries, ...commands, 'base/edge-runtime.js']);
  for (const file of reached) {
    const text = readFileSync(path.join(dist, file), 'utf8');
    // The worker's file is referenced by `new URL`.
    for (const [, specifier = ''] of text.matchAll(
      /(?:from|import\(?|new URL\()\s*['"](\.[^'"]+\.js)['"]/g,
    )) {
      reached.add(path.posix.join(path.posix.dirname(file), specifier));
    }
  }
  // Modules that hold only types are empty once built, and nothing imports them.
  const modules = modulesOfDist('.js').filter(
    (file) => !/^export \{\};$/m.test(readFileSync(path.join(dist, file), 'utf8')),
  );
  expect(entries.length).toBeGreaterThan(10);
  expect(modules.filter((file) => !reached.has(file))).toEqual([]);
});

test('the published declarations hide every member marked @internal', () => {
  const marked = filesOfDist('.d.ts').filter((file) =>
    readFileSync(path.join(dist, file), 'utf8').includes('@internal'),
  );
  expect(marked).toEqual([]);
});

test.each(['.js', '.d.ts'])(
  'the CommonJS copy has a file for each %s of the modules, but those of the command line',
  (ending) => {
    const copies = filesOfDist(ending).filter((file) => file.startsWith('cjs/'));
    expect(copies.map((file) => file.slice('cjs/'.length)).sort()).toEqual(
      modulesOfDist(ending)
        .filter((file) => !file.startsWith('cli/'))
        .sort(),
    );
  },
);

test('no module awaits at its top level, so that CommonJS can require it', () => {
  for (const file of modulesOfDist('.js')) {
    const code = readFileSync(path.join(dist, file), 'utf8');
    expect(() => transformSync(code, { format: 'cjs', logLevel: 'silent' }), file).not.toThrow();
  }
  expect(() => transformSync('await 1', { format: 'cjs', logLevel: 'silent' })).toThrow('await');
});

test('the entries that limit in a web server throw an error on an edge runtime, before any other condition', () => {
  const refused = Object.entries(manifest.exports).filter(
    ([, target]) => Object.keys(target)[0] === 'edge-light',
  );
  expect(refused.map(([subpath]) => subpath)).toEqual([
    '.',
    './http',
    './workers',
    './limited',
    './hono',
    './web',
  ]);
  for (const [, target] of refused) {
    expect(target).toHaveProperty(['edge-light'], './dist/cjs/base/edge-runtime.js');
  }
  const load = ['-e', "require('./dist/cjs/base/edge-runtime.js')"];
  const { stderr } = spawnSync(process.execPath, load, { cwd: root, encoding: 'utf8' });
  expect(stderr).toContain("code: 'ERR_RUNTIME_UNSUPPORTED'");
});

test('each entry has its module for every condition but `require`, and its CommonJS for that', () => {
  for (const target of Object.values(manifest.exports)) {
    if (typeof target === 'string') continue;
    const module = target.default;
    expect(Object.entries(target).filter(([condition]) => condition !== 'edge-light')).toEqual([
      ['module-sync', module],
      ['module', module],
      ['require', module.replace('./dist/', './dist/cjs/')],
      ['default', module],
    ]);
  }
  const subpaths = Object.keys(manifest.exports).flatMap((subpath) =>
    subpath === '.' || subpath === './package.json' ? [] : [subpath.slice(2)],
  );
  expect(Object.keys(manifest.typesVersions['*'])).toEqual(subpaths);
});

test('the installed package is smaller than 2.5 MB', () => {
  const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  });
  const [{ unpackedSize }] = JSON.parse(stdout) as [{ unpackedSize: number }];
  console.log(`${(unpackedSize / 1e6).toFixed(2)} MB unpacked`);
  expect(unpackedSize).toBeGreaterThan(500_000);
  expect(unpackedSize).toBeLessThan(2_500_000);
});

test.each(['index.js', 'cjs/index.js'])(
  'a stack trace from %s names a line of a published file, as the source has it',
  (entry) => {
    const program = `
    const { RateLimiter } = await import(${JSON.stringify(pathToFileURL(path.join(dist, entry)).href)});
    try {
      new RateLimiter({ rate: -1 });
    } catch (error) {
      console.log(error.stack);
    }
  `;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    const [, file = '', line = ''] =
      /\((?:file:\/\/)?(\/.*rate-limiter\.js):(\d+):/.exec(stdout) ?? [];
    expect(file).toBe(path.join(dist, path.dirname(entry), 'limiter/rate-limiter.js'));
    const lines = readFileSync(file, 'utf8').split('\n');
    expect(lines[Number(line) - 1]).toMatch(/readLimiterOptions\)?\(options\)/);
  },
);

test('every link of the published README is absolute and leads to a file of the repository', () => {
  const repository = 'https://example.org/repository';
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const links = [...absoluteLinks(readme, repository, 'v1').matchAll(/\]\(([^)\s]+)\)/g)];
  expect(links.length).toBeGreaterThan(20);
  for (const [, link = ''] of links) {
    expect(link).toMatch(/^(?:https:|#)/);
    const [, file] =
      /^https:\/\/example\.org\/repository\/(?:blob|raw)\/v1\/([^#]+)/.exec(link) ?? [];
    expect(file === undefined || existsSync(path.join(root, file)), link).toBe(true);
  }
});
