import { parseNode } from './address.ts';
import type { Address } from './address.ts';

/**
 * The header in which proxies write their peer's address: `X-Forwarded-For`, the custom of most, or `Forwarded`, the
 * standard (RFC 7239).
 */
export type ForwardedHeader = 'x-forwarded-for' | 'forwarded';

/** The most hops read, from the right: no chain of proxies is that long. */
export const MAX_HOPS = 32;
/** The most characters read, from the right: 32 hops of `Forwarded` with all their parameters fit. */
const MAX_LENGTH = 8_192;

/**
 * Yields the hops of a header's value from the last, which the nearest proxy wrote, to the first. A hop that is no
 * address (`unknown`, `_hidden`, empty, malformed) is undefined. Ends at the start of the header, or after 32 hops or
 * 8 KiB; a hop that begins before that is not read.
 */
export function* hopsFromTheRight(
  value: string,
  header: ForwardedHeader,
): Generator<Address | undefined, void> {
  const clipped = value.length > MAX_LENGTH;
  const text = clipped ? value.slice(-MAX_LENGTH) : value;
  let end = text.length;
  for (let hops = 0; hops < MAX_HOPS; hops++) {
    const comma = header === 'forwarded' ? unquotedComma(text, end) : plainComma(text, end);
    if (comma < 0 && clipped) {
      return;
    }
    const element = trimmed(text.slice(comma + 1, end));
    const node = header === 'forwarded' ? nodeOf(element) : element;
    yield node === undefined ? undefined : parseNode(node);
    if (comma < 0) {
      return;
    }
    end = comma;
  }
}

function plainComma(text: string, end: number): number {
  return end === 0 ? -1 : text.lastIndexOf(',', end - 1);
}

/**
 * The last comma before `end` outside quoted strings. Searches from the right, so that no text of a client further
 * left, such as an open quote, changes what a proxy appended.
 */
function unquotedComma(text: string, end: number): number {
  let quoted = false;
  for (let at = end - 1; at >= 0; at--) {
    const char = text[at];
    if (char === ',' && !quoted) {
      return at;
    }
    if (char === '"') {
      const backslashes = quoted ? backslashesBefore(text, at) : 0;
      if (backslashes % 2 === 0) {
        quoted = !quoted;
      }
      at -= backslashes;
    }
  }
  return -1;
}

function backslashesBefore(text: string, at: number): number {
  let count = 0;
  while (text[at - 1 - count] === '\\') {
    count++;
  }
  return count;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** An address with its port belongs in quotes (RFC 7239 §6), but some proxies write it without. */
const UNQUOTED = /^[!#$%&'*+.^_`|~0-9A-Za-z:[\]-]+$/;

/** The `for` of one element of `Forwarded` (RFC 7239 §4); undefined if it is missing, duplicated, or malformed. */
function nodeOf(element: string): string | undefined {
  let node: string | undefined;
  let at = 0;
  for (;;) {
    // A pair may be empty.
    while (element[at] === ';' || isSpace(element[at])) {
      at++;
    }
    if (at >= element.length) {
      return node;
    }
    const equals = element.indexOf('=', at);
    const name = element.slice(at, Math.max(at, equals));
    if (!TOKEN.test(name)) {
      return undefined;
    }
    let value: string;
    if (element[equals + 1] === '"') {
      const close = closingQuote(element, equals + 2);
      const next = skipSpace(element, close + 1);
      if (close < 0 || (next < element.length && element[next] !== ';')) {
        return undefined;
      }
      value = element.slice(equals + 2, close).replaceAll(/\\(.)/g, '$1');
      at = next;
    } else {
      const semicolon = element.indexOf(';', equals);
      const end = semicolon < 0 ? element.length : semicolon;
      value = trimmed(element.slice(equals + 1, end));
      if (!UNQUOTED.test(value)) {
        return undefined;
      }
      at = end;
    }
    if (name.toLowerCase() === 'for') {
      if (node !== undefined) {
        return undefined;
      }
      node = value;
    }
  }
}

function closingQuote(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') {
      return at;
    }
    if (text[at] === '\\') {
      at++;
    }
  }
  return -1;
}

/** Trims only HTTP's whitespace: `trim()` removes characters that no proxy would. */
function trimmed(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1])) {
    end--;
  }
  return text.slice(skipSpace(text, 0), end);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text[at])) {
    at++;
  }
  return at;
}

function isSpace(char: string | undefined): boolean {
  return char === ' ' || char === '\t';
}
