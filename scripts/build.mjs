/** src -> dist: one source file is one dist file. tsc compiles, then esbuild takes the comments out. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, root } from './bootstrap.mjs';

const dist = path.join(root, 'dist');
const src = path.join(root, 'src');

/** Ends the process if the sources do not compile. */
export async function build() {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) {
    console.error('The build failed.');
    process.exit(1);
  }
  removeOrphans();
  await slim();
}

/** A line that holds only a comment. */
const COMMENT = /^\s*(?:\/\*\*|\*|\/\/).*$/gm;

/**
 * Removes comments from the JavaScript and from the sources in its maps, because the declarations have them. Keeps one
 * mapping per line. The package stays small, and debuggers and stack traces still show each source line.
 */
async function slim() {
  // A static import would load them before they are installed.
  const { transform } = await import('esbuild');
  const { decode, encode } = await import('@jridgewell/sourcemap-codec');
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' });
  const slimmed = files.map(async (name) => {
    if (!name.endsWith('.js')) return;
    const file = path.join(dist, name);
    const compiled = readFileSync(file, 'utf8');
    // Bundlers read some comments in `import()`, which esbuild would remove as well.
    if (compiled.includes('webpackIgnore')) return;
    const map = readFileSync(`${file}.map`).toString('base64');
    const code = compiled.replace(
      /\/\/# sourceMappingURL=.*\n?$/,
      `//# sourceMappingURL=data:application/json;base64,${map}\n`,
    );
    const result = await transform(code, {
      loader: 'js',
      target: 'es2022',
      charset: 'utf8',
      legalComments: 'none',
      sourcemap: 'external',
      sourcefile: path.basename(name),
    });
    // A map shows a debugger nothing of generated text, or of a file that held only types.
    if (name.endsWith('.gen.js') || result.code.trim() === 'export {};') {
      writeFileSync(file, result.code);
      rmSync(`${file}.map`);
      return;
    }
    const { sources, sourcesContent, mappings } = JSON.parse(result.map);
    const slimMap = {
      version: 3,
      sources,
      sourcesContent: sourcesContent.map((/** @type {string} */ text) => text.replace(COMMENT, '')),
      names: [],
      mappings: encode(decode(mappings).map((segments) => segments.slice(0, 1))),
    };
    writeFileSync(`${file}.map`, JSON.stringify(slimMap));
    writeFileSync(file, `${result.code}//# sourceMappingURL=${path.basename(name)}.map\n`);
  });
  await Promise.all(slimmed);
}

/**
 * Removes files that no source compiles to. Deleting dist first would leave importing processes without it for a
 * moment.
 */
function removeOrphans() {
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const source = file.replace(/(\.d\.ts|\.js(\.map)?)$/, '.ts');
    if (!existsSync(path.join(src, source))) {
      rmSync(path.join(dist, file), { recursive: true, force: true });
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensurePackages();
  await build();
}
