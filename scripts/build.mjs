/**
 * src -> dist: one source file is one dist file, as an ES module and, in dist/cjs, as CommonJS for tools that cannot
 * `require` ES modules. tsc compiles, then esbuild takes the comments out.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, root } from './bootstrap.mjs';

const dist = path.join(root, 'dist');
const src = path.join(root, 'src');
const CJS = `cjs${path.sep}`;

/** Ends the process if the sources do not compile. */
export async function build() {
  const codes = await Promise.all(['tsconfig.build.json', 'tsconfig.cjs.json'].map(compile));
  if (codes.some((code) => code !== 0)) {
    console.error('The build failed.');
    process.exit(1);
  }
  removeOrphans();
  writeFileSync(path.join(dist, CJS, 'package.json'), '{ "type": "commonjs" }\n');
  await slim();
}

/**
 * @param {string} config
 * @returns {Promise<number | null>}
 */
function compile(config) {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const child = spawn(process.execPath, [tsc, '-p', config], { cwd: root, stdio: 'inherit' });
  return new Promise((resolve) => child.once('close', resolve));
}

/** A line that holds only a comment. */
const COMMENT = /^\s*(?:\/\*\*|\*|\/\/).*\n/gm;
const INDENT = /^[ \t]+/gm;
/** A comment before a member of a class, which esbuild leaves in place. */
const DOCUMENTATION = /^[ \t]*\/\*\*(?:[^*]|\*(?!\/))*\*\/\n/gm;

/**
 * Removes comments from the JavaScript, because the declarations have them, and comments and indentation from the
 * declarations of the CommonJS copy, because editors show those of the ES modules. The package has no source maps, so it stays small: a stack trace
 * names a line of dist, which reads like the source.
 */
async function slim() {
  // A static import would load it before it is installed.
  const { transform } = await import('esbuild');
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' });
  const slimmed = files.map(async (name) => {
    const file = path.join(dist, name);
    if (name.startsWith(`cli${path.sep}`) && name.endsWith('.d.ts')) {
      rmSync(file); // no entry exports the command line
      return;
    }
    if (name.startsWith(CJS) && name.endsWith('.d.ts')) {
      writeFileSync(file, readFileSync(file, 'utf8').replace(COMMENT, '').replace(INDENT, ''));
    }
    if (!name.endsWith('.js')) return;
    const compiled = readFileSync(file, 'utf8');
    // Bundlers read some comments in `import()`, which esbuild would remove as well.
    if (compiled.includes('webpackIgnore')) return;
    const { code } = await transform(name.startsWith(CJS) ? withoutMeta(compiled) : compiled, {
      loader: 'js',
      target: 'es2022',
      charset: 'utf8',
      legalComments: 'none',
    });
    writeFileSync(file, code.replace(DOCUMENTATION, ''));
  });
  await Promise.all(slimmed);
}

/**
 * CommonJS has no `import.meta`.
 *
 * @param {string} code
 */
function withoutMeta(code) {
  return code.replaceAll('import.meta.url', "require('node:url').pathToFileURL(__filename).href");
}

/**
 * Removes files that no source compiles to. Deleting dist first would leave importing processes without it for a
 * moment.
 */
function removeOrphans() {
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const name = file.startsWith(CJS) ? file.slice(CJS.length) : file;
    const source = name.replace(/(\.d\.ts|\.js)$/, '.ts');
    if (name !== 'cjs' && !existsSync(path.join(src, source))) {
      rmSync(path.join(dist, file), { recursive: true, force: true });
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensurePackages();
  await build();
}
