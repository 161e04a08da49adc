/**
 * `npm run site` serves the documentation site while its pages are edited; `npm run site:build` writes it to site/dist.
 * Further arguments are VitePress's: `npm run site:build -- --base /docs/`.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, ensurePackagesOf, root } from './bootstrap.mjs';

const site = path.join(root, 'site');
const declarations = path.join(site, '.vitepress/cache/declarations');
const vitepress = path.join(site, 'node_modules/vitepress/bin/vitepress.js');

/** @param {string} program @param {readonly string[]} args @returns {number} its exit code */
function run(program, args) {
  const { status } = spawnSync(process.execPath, [program, ...args], {
    cwd: site,
    stdio: 'inherit',
  });
  return status ?? 1;
}

/** Installs what the site needs, and makes the pages that come from the docstrings. */
function prepare() {
  ensurePackages();
  ensurePackagesOf(site, 'the tools of the site');
  // The declarations hold what users see. TypeDoc reads no sources, as it needs an older compiler.
  const declare = ['--emitDeclarationOnly', '--outDir', declarations];
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const typedoc = path.join(site, 'node_modules/typedoc/bin/typedoc');
  rmSync(declarations, { recursive: true, force: true });
  if (
    run(tsc, ['-p', path.join(root, 'tsconfig.build.json'), ...declare]) !== 0 ||
    run(typedoc, []) !== 0
  ) {
    throw new Error('The API reference cannot be made, see above.');
  }
}

/**
 * Writes the site to site/dist.
 *
 * @param {readonly string[]} args further ones of VitePress
 * @throws where a page cannot be built, such as one with a link that leads nowhere
 */
export function buildSite(args = []) {
  prepare();
  if (run(vitepress, ['build', '.', ...args]) !== 0) {
    throw new Error('The site cannot be built, see above.');
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const args = process.argv.slice(2);
  if (args[0] === 'build') {
    buildSite(args.slice(1));
    console.log(`The site is in ${path.relative(process.cwd(), path.join(site, 'dist'))}.`);
  } else {
    prepare();
    process.exitCode = run(vitepress, ['dev', '.', ...args]);
  }
}
