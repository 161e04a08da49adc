import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

/** The only folder on the PATH: what is not written into it does not exist. */
let bin = '';
beforeEach(() => {
  bin = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-path-'));
  chmodSync(bin, 0o777);
  const source = fileURLToPath(new URL('chromium.mjs', import.meta.url));
  copyFileSync(source, path.join(bin, 'chromium.mjs'));
});
afterEach(() => {
  rmSync(bin, { recursive: true, force: true });
});

function program(name: string, body: string): void {
  writeFileSync(path.join(bin, name), `#!/bin/sh\n${body}\n`);
  chmodSync(path.join(bin, name), 0o755);
}

function ensureChromium(env: Record<string, string> = {}, as: 'root' | 'user' = 'user') {
  const code = "import('./chromium.mjs').then((kit) => console.log(kit.ensureChromium()))";
  return spawnSync(process.execPath, ['-e', code], {
    cwd: bin,
    encoding: 'utf8',
    env: { PATH: bin, ...env },
    ...(as === 'user' && isRoot ? { uid: nobody } : {}),
  });
}

/** Says what it was asked for; what it installs is there afterwards. */
const installer = [
  'echo "$@" >> "${0%/*}/asked"',
  'case "$*" in *install*)',
  '  printf "#!/bin/sh\\n" > "${0%/*}/chromium"',
  '  /bin/chmod +x "${0%/*}/chromium" ;;',
  'esac',
].join('\n');

test('one that is there is taken: the one that is named, or else the first of its family', () => {
  program('google-chrome', '');
  expect(ensureChromium().stdout.trim()).toBe(path.join(bin, 'google-chrome'));
  program('chromium', '');
  expect(ensureChromium().stdout.trim()).toBe(path.join(bin, 'chromium'));
  expect(ensureChromium({ CHROMIUM: '/opt/mine' }).stdout.trim()).toBe('/opt/mine');
});

test('nobody’s machine is changed unasked', () => {
  program('apt-get', installer);
  const { status, stderr } = ensureChromium({ CI: 'false' });
  expect(status).toBe(1);
  expect(stderr).toContain('sudo apt-get install chromium');
  expect(ensureChromium().stderr).toContain('or name it in CHROMIUM');
});

test('in CI it is installed, and that is said first', () => {
  program('apt-get', installer);
  program('sudo', 'shift; exec "$@"');
  const { status, stdout } = ensureChromium({ CI: 'true' });
  expect(stdout).toMatch(
    /^chromium is needed and missing here\. Installing it:\n {2}sudo -n apt-get .*update\n {2}sudo -n apt-get .*install -y --no-install-recommends chromium\n/,
  );
  expect(stdout.trim().split('\n').at(-1)).toBe(path.join(bin, 'chromium'));
  expect(status).toBe(0);
  expect(readFileSync(path.join(bin, 'asked'), 'utf8')).toMatch(/update\n.*chromium\n$/);
});

test.runIf(isRoot)('so may root; an installation that fails is said', () => {
  program('apt-get', 'exit 1');
  const { status, stderr } = ensureChromium({}, 'root');
  expect(status).toBe(1);
  expect(stderr).toMatch(/update` failed/);
  program('apt-get', installer);
  expect(ensureChromium({}, 'root').stdout.trim().split('\n').at(-1)).toBe(
    path.join(bin, 'chromium'),
  );
});
