/** Names each module of the API reference by its entry in the package, not by its file. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Converter, ReflectionKind } from 'typedoc';
import { root } from './.vitepress/pages.mjs';

const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** Where scripts/site.mjs writes what the package declares to its users. */
export const declarations = path.join(root, 'site/.vitepress/cache/declarations');

/** The declarations of the package's entries, and the entries' names. @type {ReadonlyMap<string, string>} */
export const entries = new Map(
  Object.entries(manifest.exports)
    .filter(([, target]) => typeof target !== 'string')
    .map(([entry, { default: target }]) => [
      path.join(declarations, target.replace('./dist/', '').replace(/\.js$/, '.d.ts')),
      entry === '.' ? manifest.name : entry.slice(2),
    ]),
);

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.kindOf(ReflectionKind.Module)) return;
    const source = context
      .getSymbolFromReflection(reflection)
      ?.declarations?.[0]?.getSourceFile().fileName;
    const name = entries.get(source ?? '');
    if (name === undefined) throw new Error(`${source} is no entry of the package`);
    reflection.name = name;
  });
}
