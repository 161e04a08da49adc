/** Reads code from the documents. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../bootstrap.mjs';

const DOCUMENTED_URL = 'redis://localhost:6379';

/**
 * Returns the first code block of a document that contains all the given texts, with the server's URL in place of the
 * documented one. Changes nothing else.
 *
 * @param {string} document path from the repository's folder
 * @param {string} url of the Redis server
 * @param {readonly string[]} containing
 */
export function blockOf(document, url, ...containing) {
  const text = readFileSync(path.join(root, document), 'utf8');
  const blocks = Array.from(text.matchAll(/^```(?:ts|js)\n(.*?)^```$/gms), ([, code = '']) => code);
  const block = blocks.find((code) => containing.every((part) => code.includes(part)));
  if (block === undefined) {
    throw new Error(`${document} has no block of code that contains ${containing.join(' and ')}`);
  }
  return block.replaceAll(DOCUMENTED_URL, url);
}
