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
  test('users install nothing but the package itself', () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(manifest.optionalDependencies).toBeUndefined();
  });

  test('names one repository, for its page, its issues and its security advisories', () => {
    const repository = 'https://github.com/distributed-rate-limiter/distributed-rate-limiter';
    expect(manifest.repository).toEqual({ type: 'git', url: `git+${repository}.git` });
    expect(manifest.homepage).toBe(`${repository}#readme`);
    expect(manifest.bugs).toBe(`${repository}/issues`);
    const security = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8');
    expect(security).toContain(`(${repository}/security/advisories/new)`);
  });

  test('every client is a peer that may be missing', () => {
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
  test('agrees with package.json, so that `npm ci` does not refuse it', () => {
    expect(lock.packages[''].devDependencies).toEqual(manifest.devDependencies);
    expect(lock.packages[''].peerDependencies).toEqual(manifest.peerDependencies);
    expect(lock.version).toBe(manifest.version);
  });

  test('names no registry: whoever installs uses their own', () => {
    expect(packages.filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  test('has the hash of every package, binaries of other platforms apart', () => {
    const unhashed = packages.filter(({ integrity }) => integrity === undefined);
    const [self, ...others] = unhashed;
    expect(self).toBe(lock.packages['']);
    expect(others.filter(({ optional, os }) => optional !== true || os === undefined)).toEqual([]);
  });

  test('has every platform, or `npm ci` refuses it (cure: scripts/complete-lock.mjs)', () => {
    const wanted = packages.flatMap((one) => Object.keys(one.optionalDependencies ?? {}));
    expect(wanted.filter((name) => !(`node_modules/${name}` in lock.packages))).toEqual([]);
  });
});
