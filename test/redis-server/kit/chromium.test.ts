import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isRoot, OwnPath } from '../../kit/fakes/own-path.ts';

let own: OwnPath;
beforeEach(() => {
  own = new OwnPath(fileURLToPath(new URL('../../kit/servers/chromium.mjs', import.meta.url)));
});
afterEach(() => own.remove());

function ensureChromium(env: Record<string, string> = {}, as: 'root' | 'user' = 'user') {
  const code = "import('./chromium.mjs').then((kit) => console.log(kit.ensureChromium()))";
  return own.node(['-e', code], { as, env });
}

/** Prints its arguments; what it installs exists afterwards. */
const installer = [
  'echo "$@" >> "${0%/*}/asked"',
  'case "$*" in *install*)',
  '  printf "#!/bin/sh\\n" > "${0%/*}/chromium"',
  '  /bin/chmod +x "${0%/*}/chromium" ;;',
  'esac',
].join('\n');

test('an installed browser is used: the named one, or else the first found', () => {
  own.program('google-chrome', '');
  expect(ensureChromium().stdout.trim()).toBe(path.join(own.folder, 'google-chrome'));
  own.program('chromium', '');
  expect(ensureChromium().stdout.trim()).toBe(path.join(own.folder, 'chromium'));
  expect(ensureChromium({ CHROMIUM: '/opt/mine' }).stdout.trim()).toBe('/opt/mine');
});

test("a developer's machine is not changed without being asked", () => {
  own.program('apt-get', installer);
  const { status, stderr } = ensureChromium({ CI: 'false' });
  expect(status).toBe(1);
  expect(stderr).toContain('sudo apt-get install chromium');
  expect(ensureChromium().stderr).toContain('or name it in CHROMIUM');
});

test('in CI a browser is announced, then installed', () => {
  own.program('apt-get', installer);
  own.program('sudo', 'shift; exec "$@"');
  const { status, stdout } = ensureChromium({ CI: 'true' });
  expect(stdout).toMatch(
    /^chromium is needed and missing here\. Installing it:\n {2}sudo -n apt-get .*update\n {2}sudo -n apt-get .*install -y --no-install-recommends chromium\n/,
  );
  expect(stdout.trim().split('\n').at(-1)).toBe(path.join(own.folder, 'chromium'));
  expect(status).toBe(0);
  expect(readFileSync(path.join(own.folder, 'asked'), 'utf8')).toMatch(/update\n.*chromium\n$/);
});

test.runIf(isRoot)('root installs a browser too, and a failed installation is reported', () => {
  own.program('apt-get', 'exit 1');
  const { status, stderr } = ensureChromium({}, 'root');
  expect(status).toBe(1);
  expect(stderr).toMatch(/update` failed/);
  own.program('apt-get', installer);
  expect(ensureChromium({}, 'root').stdout.trim().split('\n').at(-1)).toBe(
    path.join(own.folder, 'chromium'),
  );
});
