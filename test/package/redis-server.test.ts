import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const source = fileURLToPath(new URL('../../scripts/redis-server.mjs', import.meta.url));
const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

/** The only folder on the PATH: what is not written into it does not exist for the script. */
let bin = '';
beforeEach(() => {
  bin = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-path-'));
  chmodSync(bin, 0o777);
  // The clone may be closed to the other user that the script also runs as.
  copyFileSync(source, path.join(bin, 'script.mjs'));
});
afterEach(() => {
  rmSync(bin, { recursive: true, force: true });
});

function program(name: string, body: string): void {
  writeFileSync(path.join(bin, name), `#!/bin/sh\n${body}\n`);
  chmodSync(path.join(bin, name), 0o755);
}

interface Circumstances {
  readonly as?: 'root' | 'user';
  readonly env?: Record<string, string>;
}

function ensureRedisServer({ as = 'user', env = {} }: Circumstances = {}) {
  return spawnSync(process.execPath, [path.join(bin, 'script.mjs')], {
    encoding: 'utf8',
    env: { PATH: bin, ...env },
    ...(as === 'user' && isRoot ? { uid: nobody } : {}),
  });
}

/** Installs by putting a program where the PATH finds it; `--version` is the question whether it is there. */
const installsRedis = `[ "$1" = --version ] && exit 0
echo "ran $*"
printf '#!/bin/sh\\n' > "$PATH/redis-server" && /bin/chmod 755 "$PATH/redis-server"`;

describe('redis-server for the tests', () => {
  test('is used when it is there, and nothing is said', () => {
    program('redis-server', 'exit 0');
    expect(ensureRedisServer()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test('without a package manager, what to do is explained', () => {
    const { status, stderr } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(1);
    expect(stderr).toContain('Install Redis');
  });

  test.each([
    ['apt-get', 'sudo apt-get install'],
    ['apk', 'sudo apk add redis'],
    ['dnf', 'sudo dnf install'],
    ['brew', '\n  brew install redis'],
  ])('a user is told how, and %s is not run', (manager, advice) => {
    program(manager, installsRedis);
    const { status, stdout, stderr } = ensureRedisServer();
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(advice);
  });

  test.runIf(isRoot).each([
    ['apt-get', 'ran install -y --no-install-recommends redis-server'],
    ['apk', 'ran add redis'],
    ['dnf', 'ran install -y redis'],
  ])('root: %s is announced, then run', (manager, ran) => {
    program(manager, installsRedis);
    const { status, stdout } = ensureRedisServer({ as: 'root' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^redis-server is needed and missing here\. Installing it:/);
    expect(stdout).toContain(ran);
  });

  test.runIf(isRoot)('root: brew refuses root, so it is not run', () => {
    program('brew', installsRedis);
    const { status, stdout } = ensureRedisServer({ as: 'root', env: { CI: 'true' } });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('CI: a user installs with brew', () => {
    program('brew', installsRedis);
    const { status, stdout } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(0);
    expect(stdout).toContain('ran install redis');
  });

  test('CI: a user installs with sudo, which must not ask', () => {
    program('sudo', '[ "$1" = --version ] && exit 0\n[ "$1" = -n ] && shift && exec "$@"');
    program('apk', installsRedis);
    const { status, stdout } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(0);
    expect(stdout).toContain('sudo -n apk add redis');
  });

  test('an installer that fails is reported', () => {
    program('brew', '[ "$1" = --version ] || exit 7');
    const { status, stderr } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(1);
    expect(stderr).toContain('`brew install redis` failed');
  });
});
