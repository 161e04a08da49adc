// @ts-check
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * The builds of this library to compare: the folder `dist`, or the folders given by `--dist`. Also parses the command's
 * other options; `--only A,B` chooses the cases whose names contain one of these.
 *
 * @param {string} usage
 * @param {Record<string, number>} numbers options that are whole numbers, with what they usually are
 */
export function readBuilds(usage, numbers) {
  const { values } = parseArgs({
    options: {
      dist: { type: 'string', multiple: true },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
      ...Object.fromEntries(
        Object.keys(numbers).map((name) => [name, /** @type {const} */ ({ type: 'string' })]),
      ),
    },
  });
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const given = /** @type {Record<string, unknown>} */ (values);
  const counts = Object.fromEntries(
    Object.entries(numbers).map(([name, usual]) => {
      const value = Number(given[name] ?? usual);
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new Error(`--${name} must be a whole number from 1 on`);
      }
      return [name, value];
    }),
  );
  const folders = values.dist ?? [fileURLToPath(new URL('../dist', import.meta.url))];
  const builds = folders.map((folder) => ({
    name: path.relative(process.cwd(), folder) || '.',
    url: pathToFileURL(path.resolve(folder)).href,
  }));
  const wanted = values.only?.split(',') ?? [''];
  /** Whether `--only` names a part of this name. @param {string} name */
  const isWanted = (name) => wanted.some((part) => name.includes(part));
  return { builds, counts, isWanted };
}
