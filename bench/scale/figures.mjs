// @ts-check
import { readFileSync } from 'node:fs';

/**
 * All figures of docs/scale.md, by the command that measures them: `npm run bench -- scale`, `distance` and `newer`.
 *
 * @typedef {import('../scale.mjs').Figures & Others} AllFigures
 * @typedef {object} Others
 * @property {import('../distance.mjs').Figures} distance
 * @property {import('../newer.mjs').Figures} newer
 */

const FILES = {
  scale: new URL('figures.json', import.meta.url),
  distance: new URL('../distance/figures.json', import.meta.url),
  newer: new URL('newer.json', import.meta.url),
};

/** @returns {AllFigures} those that were stored last */
export function storedFigures() {
  const [scale, distance, newer] = Object.values(FILES).map((file) =>
    JSON.parse(readFileSync(file, 'utf8')),
  );
  return { ...scale, distance, newer };
}
