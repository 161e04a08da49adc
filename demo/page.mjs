/** The live page: one file with its own style and script, and a content security policy that allows nothing else. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** @typedef {{ send: (response: import('node:http').ServerResponse) => void }} Page */

/** @returns {Page} */
export function readPage() {
  const html = readFileSync(new URL('page.html', import.meta.url), 'utf8');
  const policy = [
    "default-src 'none'",
    "connect-src 'self'",
    'img-src data:',
    `script-src ${hashesOf(html, 'script')}`,
    `style-src ${hashesOf(html, 'style')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return {
    send: (response) => {
      response.writeHead(200, {
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Security-Policy': policy,
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
        'Cache-Control': 'no-store',
      });
      response.end(html);
    },
  };
}

/** @param {string} html @param {'script' | 'style'} element */
function hashesOf(html, element) {
  const contents = html.matchAll(new RegExp(`<${element}>([^]*?)</${element}>`, 'g'));
  return Array.from(
    contents,
    ([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`,
  ).join(' ');
}
