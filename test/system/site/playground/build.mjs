import { mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackages, ensurePackagesOf, root } from '../../../../scripts/bootstrap.mjs';
import { playground } from '../../../../site/playground/vite.ts';

const site = path.join(root, 'site');
const packages = path.join(site, 'node_modules');

/** Builds the playground as the site does, by the site's own tools. Returns the folder. @returns {Promise<string>} */
export async function buildPlayground() {
  ensurePackages();
  ensurePackagesOf(site, 'the tools of the site');
  const require = createRequire(path.join(site, 'package.json'));
  const load = (/** @type {string} */ name) => import(pathToFileURL(require.resolve(name)).href);
  const { build } = await load(path.join(packages, 'vite/dist/node/index.js'));
  const { default: vue } = await load('@vitejs/plugin-vue');
  const outDir = mkdtempSync(path.join(os.tmpdir(), 'playground-'));
  await build({
    configFile: false,
    root: fileURLToPath(new URL('.', import.meta.url)),
    logLevel: 'warn',
    plugins: [vue(), playground()],
    resolve: {
      alias: [{ find: /^(vue|vitepress)(?=\/|$)/, replacement: `${packages}/$1` }],
    },
    build: { outDir, emptyOutDir: true },
  });
  return outDir;
}
