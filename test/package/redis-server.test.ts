import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isRoot, OwnPath } from '../kit/fakes/own-path.ts';
import type { Circumstances } from '../kit/fakes/own-path.ts';

let own: OwnPath;
beforeEach(() => {
  own = new OwnPath(fileURLToPath(new URL('../../scripts/redis-server.mjs', import.meta.url)));
});
afterEach(() => own.remove());

function ensureRedisServer(circumstances?: Circumstances) {
  return own.node(['redis-server.mjs'], circumstances);
}

/** A fake installer that puts a program on the PATH; `--version` checks whether it is there. */
const installsRedis = `[ "$1" = --version ] && exit 0
echo "ran $*"
printf '#!/bin/sh\\n' > "$PATH/redis-server" && /bin/chmod 755 "$PATH/redis-server"`;

describe('redis-server for the tests', () => {
  test('uses an installed redis-server silently', () => {
    own.program('redis-server', 'exit 0');
    expect(ensureRedisServer()).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test('prints how to install one when there is no package manager', () => {
    const { status, stderr } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(1);
    expect(stderr).toContain('Install Redis');
  });

  test.each([
    ['apt-get', 'sudo apt-get install'],
    ['apk', 'sudo apk add redis'],
    ['dnf', 'sudo dnf install'],
    ['brew', '\n  brew install redis'],
  ])('tells a user without root how to install one, and does not run %s', (manager, advice) => {
    own.program(manager, installsRedis);
    const { status, stdout, stderr } = ensureRedisServer();
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(advice);
  });

  test.runIf(isRoot).each([
    ['apt-get', 'ran install -y --no-install-recommends redis-server'],
    ['apk', 'ran add redis'],
    ['dnf', 'ran install -y redis'],
  ])('announces, then runs %s as root', (manager, ran) => {
    own.program(manager, installsRedis);
    const { status, stdout } = ensureRedisServer({ as: 'root' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^redis-server is needed and missing here\. Installing it:/);
    expect(stdout).toContain(ran);
  });

  test.runIf(isRoot)('does not run brew as root, which brew refuses', () => {
    own.program('brew', installsRedis);
    const { status, stdout } = ensureRedisServer({ as: 'root', env: { CI: 'true' } });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('installs with brew for a user in CI', () => {
    own.program('brew', installsRedis);
    const { status, stdout } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(0);
    expect(stdout).toContain('ran install redis');
  });

  test('installs with passwordless sudo for a user in CI', () => {
    own.program('sudo', '[ "$1" = --version ] && exit 0\n[ "$1" = -n ] && shift && exec "$@"');
    own.program('apk', installsRedis);
    const { status, stdout } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(0);
    expect(stdout).toContain('sudo -n apk add redis');
  });

  test('reports an installer that fails', () => {
    own.program('brew', '[ "$1" = --version ] || exit 7');
    const { status, stderr } = ensureRedisServer({ env: { CI: 'true' } });
    expect(status).toBe(1);
    expect(stderr).toContain('`brew install redis` failed');
  });
});
