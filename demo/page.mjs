/** The live page: files of the folder `page`, and a content security policy that allows nothing else. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {object} Page
 * @property {(response: Response) => void} send
 * @property {Readonly<Record<string, (request: unknown, response: Response) => void>>} parts its style and scripts, by
 *   path
 */

const FOLDER = new URL('page/', import.meta.url);

const TYPES = /** @type {const} */ ({ css: 'text/css', js: 'text/javascript' });

const POLICY = [
  "default-src 'none'",
  "connect-src 'self'",
  'img-src data:',
  "script-src 'self'",
  "style-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** @returns {Page} */
export function readPage() {
  const html = read('page.html');
  /** Read once: no path of a request ever reaches the disk. @type {Record<string, Page['parts'][string]>} */
  const parts = Object.create(null);
  for (const name of readdirSync(FOLDER)) {
    const type = Object.entries(TYPES).find(([ending]) => name.endsWith(`.${ending}`))?.[1];
    if (type === undefined) continue;
    const text = read(name);
    parts[`/page/${name}`] = (_request, response) => answer(response, type, text);
  }
  return { send: (response) => answer(response, 'text/html', html), parts };
}

/** @param {string} name */
function read(name) {
  return readFileSync(new URL(name, FOLDER), 'utf8');
}

/** @param {Response} response @param {string} type @param {string} text */
function answer(response, type, text) {
  response.writeHead(200, {
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
  });
  response.end(text);
}
