import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packInto } from '../kit/fakes/packed.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { peerDependencies }: { peerDependencies: Record<string, string> } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
);

/** The lowest and the newest supported version of each peer, as the documents state. */
const supported: Readonly<Record<string, readonly [lowest: string, newest: string]>> = {
  '@nestjs/common': ['11.0.0', '12.5.1'],
  '@nestjs/core': ['11.0.0', '12.5.1'],
  '@opentelemetry/api': ['1.9.0', '1.10.0'],
  '@upstash/redis': ['1.39.0', '1.39.0'],
  '@valkey/valkey-glide': ['2.0.1', '2.5.2'],
  fastify: ['5.0.0', '5.12.8'],
  hono: ['4.0.0', '4.13.19'],
  ioredis: ['5.0.0', '6.0.0'],
  iovalkey: ['0.4.0', '0.4.0'],
  redis: ['4.0.0', '6.3.1'],
};

let folder = '';
let tarball = '';
beforeAll(() => {
  folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'drl-peers-')));
  tarball = packInto(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lets npm resolve a project with the packed package and these packages. Returns npm's error, if any. */
function refusalBeside(packages: Readonly<Record<string, string>>): string {
  const project = mkdtempSync(path.join(folder, 'project-'));
  const dependencies = { 'distributed-rate-limiter': `file:${tarball}`, ...packages };
  writeFileSync(
    path.join(project, 'package.json'),
    JSON.stringify({ private: true, dependencies }),
  );
  const args = ['--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { status, stderr } = spawnSync('npm', ['install', '--prefer-offline', ...args], {
    cwd: project,
    encoding: 'utf8',
  });
  return status === 0 ? '' : stderr;
}

const at = (which: 0 | 1): Record<string, string> =>
  Object.fromEntries(Object.entries(supported).map(([name, versions]) => [name, versions[which]]));

test('every peer has a lowest and a newest version to test', () => {
  expect(Object.keys(peerDependencies).toSorted()).toEqual(Object.keys(supported).toSorted());
});

test('npm installs the package beside the lowest supported version of every peer', () => {
  expect(refusalBeside(at(0))).toBe('');
}, 120_000);

test('npm installs the package beside the newest supported version of every peer', () => {
  expect(refusalBeside(at(1))).toBe('');
}, 120_000);

test('npm installs the package beside only redis 5 and ioredis 5', () => {
  expect(refusalBeside({ redis: '^5', ioredis: '^5' })).toBe('');
}, 120_000);
