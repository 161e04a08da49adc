/**
 * package.json `exports` and dist must tell the same story: every entry is there with its types and loads both ways,
 * and every file in dist is reached from an entry.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { root } from './bootstrap.mjs';

const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const require = createRequire(import.meta.url);

/** @type {string[]} */
const problems = [];
/** @type {string[]} source files of the entries, relative to src */
const entries = [];

for (const [subpath, entry] of Object.entries(manifest.exports)) {
  if (typeof entry === 'string') {
    if (!existsSync(path.join(root, entry))) problems.push(`${subpath}: ${entry} does not exist`);
  } else {
    checkShape(subpath, entry);
    await checkLoads(subpath);
  }
}
checkReached();

for (const problem of problems) console.error(problem);
console.log(`${entries.length} entries, ${problems.length} problems`);
if (entries.length === 0 || problems.length > 0) process.exitCode = 1;

/**
 * @param {string} subpath
 * @param {Record<string, string>} target
 */
function checkShape(subpath, target) {
  const file = target['default'] ?? '';
  const stem = /^\.\/dist\/(.+)\.js$/.exec(file)?.[1];
  if (subpath.includes('*') || stem === undefined) {
    problems.push(`${subpath}: must be one file below dist, without a wildcard`);
    return;
  }
  // Conditions are tried in order: `types` after `default` is never read.
  if (Object.keys(target).join() !== 'types,default' || target['types'] !== `./dist/${stem}.d.ts`) {
    problems.push(`${subpath}: must be { "types": "./dist/${stem}.d.ts", "default": "${file}" }`);
  }
  for (const built of [`./dist/${stem}.d.ts`, file]) {
    if (!existsSync(path.join(root, built))) problems.push(`${subpath}: ${built} does not exist`);
  }
  entries.push(`${stem}.ts`);
}

/**
 * `require` first: a module that import() has already evaluated could hide a top-level await.
 * @param {string} subpath
 */
async function checkLoads(subpath) {
  const specifier = `${manifest.name}${subpath.slice(1)}`;
  try {
    // `require` of a module with a default export has the mark `__esModule` beside it.
    const required = Object.keys(require(specifier))
      .filter((name) => name !== '__esModule')
      .sort()
      .join();
    const imported = Object.keys(await import(specifier))
      .sort()
      .join();
    if (required !== imported || imported === '') {
      problems.push(`${subpath}: require() gives [${required}], import() gives [${imported}]`);
    }
  } catch (error) {
    problems.push(`${subpath}: does not load: ${String(error)}`);
  }
}

/** A file that no entry reaches is dead weight in the package, or an entry that was forgotten. */
function checkReached() {
  const reached = new Set(entries);
  for (const file of reached) {
    const source = path.join(root, 'src', file);
    if (!existsSync(source)) {
      problems.push(`dist has ${file.replace(/\.ts$/, '.js')}, src has no ${file}`);
      continue;
    }
    // A worker is named as the file that it is built to.
    const text = readFileSync(source, 'utf8').replace(
      /new URL\('(\.[^']+)\.js', import\.meta\.url\)/g,
      "import('$1.ts')",
    );
    for (const [, specifier = ''] of text.matchAll(/(?:from|import\(?)\s*'(\.[^']+\.ts)'/g)) {
      reached.add(path.posix.join(path.posix.dirname(file), specifier));
    }
  }
  for (const file of readdirSync(path.join(root, 'dist'), { recursive: true, encoding: 'utf8' })) {
    const source = file.replaceAll(path.sep, '/').replace(/\.js$/, '.ts');
    if (file.endsWith('.js') && !reached.has(source))
      problems.push(`dist/${file}: no entry reaches it`);
  }
}
