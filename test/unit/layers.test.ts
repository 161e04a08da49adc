import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const src = fileURLToPath(new URL('../../src/', import.meta.url));

/**
 * The folders of src, and the folders that each may import, types included. A folder stands below those that it
 * imports, so the rows are in the order of the floors.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  options: ['base'],
  observe: ['base'],
  algorithms: ['base', 'options'],
  reports: ['base', 'options'],
  script: ['base', 'observe', 'algorithms'],
  redis: ['base'],
  'redis/connection': ['base', 'observe', 'redis'],
  'redis/clients': ['base', 'redis', 'redis/connection'],
  stores: ['base', 'options', 'algorithms', 'script', 'redis/clients', 'redis/connection'],
  limiter: [
    'base',
    'options',
    'observe',
    'algorithms',
    'reports',
    'script',
    'stores',
    'redis/clients',
  ],
  'http/address': ['base', 'options'],
  http: ['base', 'options', 'algorithms', 'limiter', 'http/address'],
  'http/adapters': ['base', 'options', 'algorithms', 'limiter', 'http', 'http/address'],
  'http/adapters/nest': [
    'base',
    'options',
    'algorithms',
    'limiter',
    'http',
    'http/address',
    'http/adapters',
  ],
  limited: ['base', 'options', 'algorithms', 'limiter'],
  workers: ['base', 'options', 'observe', 'redis', 'redis/clients', 'stores', 'limiter'],
  sync: ['base', 'options', 'algorithms', 'limiter'],
  fetch: ['base', 'options', 'algorithms', 'reports', 'limiter'],
  telemetry: ['base', 'options', 'observe'],
  refusals: ['base', 'options', 'redis', 'redis/clients'],
  testing: ['base', 'algorithms', 'limiter', 'redis', 'redis/clients', 'redis/connection'],
  'cli/kit': [],
  'cli/limits': ['base', 'algorithms', 'cli/kit'],
  'cli/simulate': ['base', 'stores', 'limiter', 'testing', 'cli/kit', 'cli/limits'],
  'cli/logs': ['base', 'algorithms', 'http/address', 'cli/kit', 'cli/limits'],
  'cli/identity': ['base', 'limiter', 'cli/kit', 'cli/limits'],
  'cli/replay': ['algorithms', 'script', 'stores', 'limiter', 'cli/kit', 'cli/limits', 'cli/logs'],
  'cli/suggest': ['base', 'algorithms', 'cli/kit', 'cli/logs'],
  'cli/redis': ['redis/clients', 'cli/kit'],
  'cli/refusals': ['base', 'refusals', 'cli/kit', 'cli/limits', 'cli/redis'],
  'cli/doctor': ['base', 'script', 'stores', 'limiter', 'cli/kit', 'cli/limits', 'cli/redis'],
  cli: [
    'cli/kit',
    'cli/doctor',
    'cli/identity',
    'cli/refusals',
    'cli/replay',
    'cli/simulate',
    'cli/suggest',
  ],
};

/** Pairs of folders: the first may import only types of the second, because its code never needs more. */
const TYPES_ONLY: readonly (readonly [from: string, to: string])[] = [
  ['http', 'algorithms'],
  ['http/adapters', 'algorithms'],
  ['http/adapters/nest', 'algorithms'],
  ['http/adapters', 'limiter'],
  ['limited', 'algorithms'],
  ['fetch', 'algorithms'],
  ['sync', 'algorithms'],
];

/** Files that import a package, which package, and whether more than its types. All other files have no dependency. */
const PACKAGES: Readonly<Record<string, { names: readonly string[]; typesOnly: boolean }>> = {
  'redis/clients/client-library.ts': { names: ['ioredis', 'redis'], typesOnly: false },
  'http/adapters/fastify.ts': { names: ['fastify'], typesOnly: true },
  'http/adapters/hono.ts': { names: ['hono'], typesOnly: true },
  'http/adapters/nest': { names: ['@nestjs/common', '@nestjs/core'], typesOnly: false },
  'telemetry/opentelemetry.ts': { names: ['@opentelemetry/api'], typesOnly: false },
};

/** These files also run in browsers. */
const WITHOUT_NODE: readonly string[] = ['fetch', 'reports'];

interface Import {
  readonly from: string;
  /** A file of src, or the name of a package or of a Node module. */
  readonly to: string;
  readonly typeOnly: boolean;
}

function readSources(): Map<string, string> {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll(path.sep, '/'))
    .filter((file) => file.endsWith('.ts'));
  return new Map(files.map((file) => [file, readFileSync(path.join(src, file), 'utf8')]));
}

/** Every `import`, `export … from` and `import()` of a literal. Imports in docstrings begin with a star. */
function importsOf(sources: ReadonlyMap<string, string>): Import[] {
  return [...sources].flatMap(([from, text]) =>
    [
      ...text.matchAll(/^(?:import|export)\s+(type\s)?[^;'"]*?from\s+'([^']+)'/gm),
      ...text.matchAll(/^(?!\s*(?:\/\*)?\*|\s*\/\/).*\bimport\(\s*()'([^']+)'/gm),
    ].map(([, type, specifier = '']) => ({
      from,
      to: specifier.startsWith('.')
        ? path.posix.join(path.posix.dirname(from), specifier)
        : specifier,
      typeOnly: type !== undefined && type !== '',
    })),
  );
}

function brokenRules(sources: ReadonlyMap<string, string>): string[] {
  return importsOf(sources).flatMap(({ from, to, typeOnly }) => {
    const folder = path.posix.dirname(from);
    if (!to.endsWith('.ts')) {
      return packageProblem(from, folder, to, typeOnly);
    }
    const target = path.posix.dirname(to);
    if (folder === '.' && to !== 'index.ts') {
      return []; // the entry point
    }
    const allowed = folder === target || LAYERS[folder]?.includes(target) === true;
    if (!allowed) {
      return [`${from} must not import ${to}`];
    }
    const typesAlone = TYPES_ONLY.some(([a, b]) => a === folder && b === target);
    return typesAlone && !typeOnly ? [`${from} may import types alone of ${to}`] : [];
  });
}

function packageProblem(from: string, folder: string, name: string, typeOnly: boolean): string[] {
  if (name.startsWith('node:')) {
    return WITHOUT_NODE.includes(folder)
      ? [`${from} runs in browsers and must not import ${name}`]
      : [];
  }
  const rule = PACKAGES[from] ?? PACKAGES[folder];
  if (rule?.names.includes(name) !== true) {
    return [`${from} must not import the package ${name}`];
  }
  return rule.typesOnly && !typeOnly ? [`${from} may import types alone of ${name}`] : [];
}

/** Groups of files that import each other in a circle, and of folders: Tarjan's strongly connected components. */
function circlesOf(edges: readonly (readonly [from: string, to: string])[]): string[][] {
  const next = new Map<string, Set<string>>();
  for (const [from, to] of edges) {
    next.set(from, (next.get(from) ?? new Set()).add(to));
  }
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[][] = [];
  const visit = (node: string): number => {
    const mine = index.size;
    index.set(node, mine);
    low.set(node, mine);
    stack.push(node);
    for (const to of next.get(node) ?? []) {
      if (!index.has(to)) {
        low.set(node, Math.min(low.get(node)!, visit(to)));
      } else if (stack.includes(to)) {
        low.set(node, Math.min(low.get(node)!, index.get(to)!));
      }
    }
    if (low.get(node) === mine) {
      const circle = stack.splice(stack.indexOf(node));
      if (circle.length > 1 || next.get(node)?.has(node) === true) {
        circles.push(circle.sort());
      }
    }
    return low.get(node)!;
  };
  for (const node of next.keys()) {
    if (!index.has(node)) {
      visit(node);
    }
  }
  return circles;
}

function circlesOfFiles(sources: ReadonlyMap<string, string>): string[][] {
  return circlesOf(
    importsOf(sources)
      .filter(({ to }) => to.endsWith('.ts'))
      .map(({ from, to }) => [from, to] as const),
  );
}

const sources = readSources();

describe('the tree of src', () => {
  test('the table of layers has a row for every folder of src and no other', () => {
    const folders = new Set([...sources.keys()].map((file) => path.posix.dirname(file)));
    folders.delete('.');
    expect([...folders].sort()).toEqual(Object.keys(LAYERS).sort());
  });

  test('src obeys the table of layers, types included', () => {
    expect(importsOf(sources).length).toBeGreaterThan(sources.size);
    expect(brokenRules(sources)).toEqual([]);
  });

  test('src has no import cycle of files, types included', () => {
    expect(circlesOfFiles(sources)).toEqual([]);
  });

  test('the table of layers has no cycle of folders', () => {
    const edges = Object.entries(LAYERS).flatMap(([from, all]) =>
      all.map((to) => [from, to] as const),
    );
    expect(circlesOf(edges)).toEqual([]);
  });

  test('the table of layers allows only imports in use', () => {
    const used = new Set(
      importsOf(sources).map(
        ({ from, to }) => `${path.posix.dirname(from)} → ${path.posix.dirname(to)}`,
      ),
    );
    const unused = Object.entries(LAYERS).flatMap(([from, all]) =>
      all.map((to) => `${from} → ${to}`).filter((edge) => !used.has(edge)),
    );
    // The port declares what a client must do: only types.
    expect(unused).toEqual(['redis → base']);
  });
});

/** Each row: a hypothetical file, its code, and the expected errors. */
const refused: readonly (readonly [file: string, code: string, problem: string])[] = [
  ['algorithms/a.ts', "import { x } from '../stores/memory.ts';", 'must not import stores/'],
  ['algorithms/b.ts', "import type { X } from '../limiter/lease.ts';", 'must not import limiter/'],
  ['algorithms/c.ts', "export { x } from '../redis/port.ts';", 'must not import redis/port.ts'],
  ['algorithms/d.ts', "export const x = import('../stores/redis.ts');", 'must not import stores/'],
  ['base/e.ts', "import { x } from '../options/read-options.ts';", 'must not import options/'],
  ['redis/connection/f.ts', "import { x } from '../../script/decide.ts';", 'must not import'],
  ['redis/clients/g.ts', "import type { X } from '../../stores/store.ts';", 'must not import'],
  ['http/h.ts', "import { x } from '../stores/memory.ts';", 'must not import stores/'],
  ['http/i.ts', "import { x } from '../algorithms/limit.ts';", 'types alone of algorithms/'],
  ['http/adapters/nest/j.ts', "import { x } from '../../../redis/port.ts';", 'must not import'],
  ['telemetry/k.ts', "import type { X } from '../limiter/hooks.ts';", 'must not import limiter/'],
  ['stores/l.ts', "import { x } from '../index.ts';", 'must not import index.ts'],
  ['redis/m.ts', "import type { Redis } from 'ioredis';", 'must not import the package ioredis'],
  ['http/adapters/hono.ts', "import { Hono } from 'hono';", 'types alone of hono'],
  ['http/n.ts', "import { Module } from '@nestjs/common';", 'must not import the package'],
  ['telemetry/o.ts', "import type { X } from '@opentelemetry/api';", 'must not import the package'],
  ['fetch/p.ts', "import { x } from 'node:crypto';", 'runs in browsers'],
];

describe('the layer rules', () => {
  test.each(refused)('refuse in %s: %s', (file, code, problem) => {
    const [found, ...rest] = brokenRules(new Map([[file, `${code}\n`]]));
    expect(found).toContain(problem);
    expect(rest).toEqual([]);
  });

  test('refuse an import cycle of types alone', () => {
    const made = new Map(sources);
    made.set('base/one.ts', "import type { Y } from './two.ts';\nexport type X = Y;\n");
    made.set('base/two.ts', "import type { X } from './three.ts';\nexport type Y = X;\n");
    made.set('base/three.ts', "export type { X } from './one.ts';\n");
    expect(circlesOfFiles(made)).toEqual([['base/one.ts', 'base/three.ts', 'base/two.ts']]);
  });

  test('refuse an import cycle through real files', () => {
    const made = new Map(sources);
    made.set(
      'base/errors.ts',
      `import type { Decision } from './decision.ts';\n${sources.get('base/errors.ts')}`,
    );
    expect(circlesOfFiles(made)).toEqual([['base/decision.ts', 'base/errors.ts']]);
  });
});
