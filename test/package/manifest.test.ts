import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

function read(file: string) {
  return JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8'));
}

const manifest = read('package.json');
const lock = read('package-lock.json');

interface LockedPackage {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const packages = Object.values<LockedPackage>(lock.packages);

describe('package.json', () => {
  test('users install no dependency beside the package', () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(manifest.optionalDependencies).toBeUndefined();
  });

  test('names one repository for its page, its issues and its security advisories', () => {
    const repository = 'https://github.com/distributed-rate-limiter/distributed-rate-limiter';
    expect(manifest.repository).toEqual({ type: 'git', url: `git+${repository}.git` });
    expect(manifest.homepage).toBe(`${repository}#readme`);
    expect(manifest.bugs).toBe(`${repository}/issues`);
    const security = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8');
    expect(security).toContain(`(${repository}/security/advisories/new)`);
  });

  test('every client is an optional peer dependency', () => {
    const peers = Object.keys(manifest.peerDependencies);
    expect(peers).toContain('ioredis');
    for (const peer of peers) {
      expect(manifest.peerDependenciesMeta[peer]).toEqual({ optional: true });
    }
  });

  test.each(Object.entries<string>(manifest.devDependencies))(
    'the version of %s is exact: %s',
    (_name, version) => {
      expect(version).toMatch(/^(?:npm:[a-z]+@)?\d+\.\d+\.\d+$/);
    },
  );
});

describe('package-lock.json', () => {
  test('the lockfile agrees with package.json, as `npm ci` demands', () => {
    expect(lock.packages[''].devDependencies).toEqual(manifest.devDependencies);
    expect(lock.packages[''].peerDependencies).toEqual(manifest.peerDependencies);
    expect(lock.version).toBe(manifest.version);
  });

  test("the lockfile names no registry, so each user's own is used", () => {
    expect(packages.filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  test('the lockfile has the hash of every package, except binaries of other platforms', () => {
    const unhashed = packages.filter(({ integrity }) => integrity === undefined);
    const [self, ...others] = unhashed;
    expect(self).toBe(lock.packages['']);
    expect(others.filter(({ optional, os }) => optional !== true || os === undefined)).toEqual([]);
  });

  test('the lockfile has every platform, as `npm ci` demands (cure: scripts/complete-lock.mjs)', () => {
    const wanted = packages.flatMap((one) => Object.keys(one.optionalDependencies ?? {}));
    expect(wanted.filter((name) => !(`node_modules/${name}` in lock.packages))).toEqual([]);
  });
});
