/**
 * `npm run site` serves the documentation site while its pages are edited; `npm run site:build` writes it to site/dist.
 * Further arguments are VitePress's: `npm run site:build -- --base /docs/`.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, ensurePackagesOf, root } from './bootstrap.mjs';

const site = path.join(root, 'site');

/** @param {readonly string[]} args of VitePress @returns {number} its exit code */
function vitepress(args) {
  const program = path.join(site, 'node_modules/vitepress/bin/vitepress.js');
  const { status } = spawnSync(process.execPath, [program, ...args], {
    cwd: site,
    stdio: 'inherit',
  });
  return status ?? 1;
}

/**
 * Installs what the site needs, then builds it.
 *
 * @param {readonly string[]} args further ones of VitePress
 * @throws where a page cannot be built, such as one with a link that leads nowhere
 */
export function buildSite(args = []) {
  ensurePackages();
  ensurePackagesOf(site, 'the tools of the site');
  if (vitepress(['build', '.', ...args]) !== 0)
    throw new Error('the site cannot be built, see above');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [command, ...args] = process.argv.slice(2);
  if (command === 'build') {
    buildSite(args);
    console.log(`The site is in ${path.relative(process.cwd(), path.join(site, 'dist'))}.`);
  } else {
    ensurePackages();
    ensurePackagesOf(site, 'the tools of the site');
    process.exitCode = vitepress([
      'dev',
      '.',
      ...(command === undefined ? [] : [command, ...args]),
    ]);
  }
}
