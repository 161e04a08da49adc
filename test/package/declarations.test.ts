import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { entries, unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = fileURLToPath(new URL('../installs/declarations/', import.meta.url));

/** Packages whose declarations some entries import. These need not compile under every TypeScript. */
const others =
  /^node_modules\/(?:@fastify|@nestjs|@opentelemetry|fastify|hono|reflect-metadata|rxjs|vitest)\/|^\.\.\//;

let packed = '';
const projects: string[] = [];
const newFolder = (): string => {
  const made = newProject('declarations');
  projects.push(made);
  return made;
};

beforeAll(() => {
  ensurePackagesOf(folder, 'the versions of @types/node and TypeScript to test');
  packed = newFolder();
  unpackInto(packed);
}, 120_000);
afterAll(() => {
  for (const project of projects) rmSync(project, { recursive: true, force: true });
});

/** A project with the packed package and one version of @types/node. Every declaration file is checked. */
function projectWith(nodeTypes: string): string {
  const project = newFolder();
  const modules = path.join(project, 'node_modules');
  cpSync(path.join(packed, 'node_modules'), modules, { recursive: true });
  mkdirSync(path.join(modules, '@types'), { recursive: true });
  const types = path.join(folder, 'node_modules', nodeTypes);
  cpSync(types, path.join(modules, '@types/node'), { recursive: true });
  const undici = [`${types}/node_modules`, `${folder}node_modules`]
    .map((where) => path.join(where, 'undici-types'))
    .find((where) => existsSync(where));
  cpSync(undici!, path.join(modules, 'undici-types'), { recursive: true });
  linkLibraries(project, [
    '@nestjs',
    '@opentelemetry',
    'fastify',
    'hono',
    'reflect-metadata',
    'rxjs',
  ]);
  writeFileSync(path.join(project, 'package.json'), '{ "private": true, "type": "module" }');
  return project;
}

/** The compiler's errors for a program that imports every entry. */
function diagnose(project: string, compiler: string): string[] {
  const program = entries.map((entry, i) => `export * as e${i} from '${entry}';`).join('\n');
  writeFileSync(path.join(project, 'index.ts'), program);
  return compile(project, compiler, 'index.ts', ['--skipLibCheck', 'false']);
}

function compile(project: string, compiler: string, file: string, options: string[]): string[] {
  const { stdout } = spawnSync(
    process.execPath,
    [
      compiler,
      '--noEmit',
      '--strict',
      '--exactOptionalPropertyTypes',
      ...options,
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--lib',
      'es2023,esnext.disposable',
      '--types',
      'node',
      file,
    ],
    { cwd: project, encoding: 'utf8' },
  );
  return stdout.split('\n').filter((line) => line.includes('error TS'));
}

const typescript5 = path.join(folder, 'node_modules/typescript-5/bin/tsc');
const typescript7 = path.join(root, 'node_modules/typescript/bin/tsc');

// TypeScript 5 takes ten times as long, so it checks only the oldest and the newest types.
test.each([
  ['TypeScript 7', '20', typescript7],
  ['TypeScript 7', '22', typescript7],
  ['TypeScript 7', '24', typescript7],
  ['TypeScript 7', '25', typescript7],
  ['TypeScript 7', '26', typescript7],
  ['TypeScript 5.9', '20', typescript5],
  ['TypeScript 5.9', '26', typescript5],
])(
  '%s compiles all declarations under @types/node %s without skipLibCheck',
  (_, version, compiler) => {
    const said = diagnose(projectWith(`types-node-${version}`), compiler);
    expect(said.filter((line) => !others.test(line))).toEqual([]);
  },
);

/** The tests of types that import nothing but this package, the frameworks that it adapts to, and vitest. */
const typeTests = ['adapters', 'by', 'units', 'sync'];

test.each([
  ['TypeScript 7', typescript7],
  ['TypeScript 5.9', typescript5],
])('%s checks identities and costs by the limits of a limiter, as a consumer', (_, compiler) => {
  const project = projectWith('types-node-26');
  linkLibraries(project, ['vitest']);
  const said = typeTests.flatMap((name) => {
    const file = `${name}.test-d.ts`;
    copyFileSync(path.join(root, 'test/unit/types', file), path.join(project, file));
    return compile(project, compiler, file, ['--skipLibCheck', 'true']);
  });
  expect(said).toEqual([]);
});
