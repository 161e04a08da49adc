/**
 * Reads structured field values (RFC 9651 §4.2) as far as the RateLimit fields need them: lists and dictionaries of
 * items with parameters. Values of all types are checked, so that an unknown parameter can be skipped and a malformed
 * field is recognized. Inner lists are checked and not kept.
 */

/** A value and its type. Byte sequences stay in base64, dates are seconds, display strings are not decoded. */
export type BareItem =
  | { readonly type: 'integer' | 'decimal' | 'date'; readonly value: number }
  | { readonly type: 'string' | 'token' | 'bytes' | 'display'; readonly value: string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'inner-list'; readonly value: undefined };

export type Parameters = ReadonlyMap<string, BareItem>;

export interface Item {
  readonly bare: BareItem;
  readonly parameters: Parameters;
}

/** No useful field is longer: longer fields are treated as malformed. */
export const MAX_FIELD_CHARACTERS = 8_192;
const MAX_MEMBERS = 64;

/** The members of a list; undefined if malformed. */
export function parseList(field: string): readonly Item[] | undefined {
  const reader = new Reader(field);
  const items: Item[] = [];
  const wellFormed = readMembers(reader, () => {
    const item = readItem(reader);
    return item !== undefined && items.push(item) <= MAX_MEMBERS;
  });
  return wellFormed ? items : undefined;
}

/** The members of a dictionary without their parameters; undefined if malformed. */
export function parseDictionary(field: string): ReadonlyMap<string, BareItem> | undefined {
  const reader = new Reader(field);
  const members = new Map<string, BareItem>();
  let count = 0;
  const wellFormed = readMembers(reader, () => {
    const key = reader.take(KEY);
    if (key === undefined) return false;
    const item = reader.skip('=') ? readItem(reader) : withParameters(reader, TRUE);
    if (item === undefined) return false;
    members.set(key, item.bare);
    return ++count <= MAX_MEMBERS;
  });
  return wellFormed ? members : undefined;
}

const KEY = /[a-z*][a-z0-9_\-.*]*/y;
const SPACES = / */y;
const OPTIONAL_WHITESPACE = /[ \t]*/y;
const NUMBER = /-?(?:\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])/y;
const DATE = /@-?\d{1,15}(?![\d.])/y;
const STRING = /"(?:[ !#-[\]-~]|\\["\\])*"/y;
const TOKEN = /[A-Za-z*][!#$%&'*+\-.^_`|~A-Za-z0-9:/]*/y;
/** Padding may be left out; a lone character of a group encodes nothing. */
const BYTES = /:(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?:/y;
const BOOLEAN = /\?[01]/y;
const DISPLAY_STRING = /%"(?:[ !#$&-~]|%[0-9a-f]{2})*"/y;

const TRUE: BareItem = { type: 'boolean', value: true };
const INNER_LIST: BareItem = { type: 'inner-list', value: undefined };

/** A text and the position in it. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get ended(): boolean {
    return this.#at === this.#text.length;
  }

  /** The next character, without consuming it. */
  get next(): string {
    return this.#text.charAt(this.#at);
  }

  /** Consumes and returns the match of a sticky pattern. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  skip(character: string): boolean {
    const found = this.next === character;
    this.#at += found ? 1 : 0;
    return found;
  }
}

function readMembers(reader: Reader, readMember: () => boolean): boolean {
  reader.take(SPACES);
  if (reader.ended) return true;
  for (;;) {
    if (!readMember()) return false;
    reader.take(OPTIONAL_WHITESPACE);
    if (reader.ended) return true;
    if (!reader.skip(',')) return false;
    reader.take(OPTIONAL_WHITESPACE);
  }
}

function readItem(reader: Reader): Item | undefined {
  const bare = reader.skip('(') ? readInnerList(reader) : readBareItem(reader);
  return bare === undefined ? undefined : withParameters(reader, bare);
}

function withParameters(reader: Reader, bare: BareItem): Item | undefined {
  const parameters = new Map<string, BareItem>();
  while (reader.skip(';')) {
    reader.take(SPACES);
    const key = reader.take(KEY);
    const value = reader.skip('=') ? readBareItem(reader) : TRUE;
    if (key === undefined || value === undefined) return undefined;
    parameters.set(key, value);
  }
  return { bare, parameters };
}

function readInnerList(reader: Reader): BareItem | undefined {
  for (;;) {
    reader.take(SPACES);
    if (reader.skip(')')) return INNER_LIST;
    const bare = readBareItem(reader);
    if (bare === undefined || withParameters(reader, bare) === undefined) return undefined;
    if (reader.next !== ' ' && reader.next !== ')') return undefined;
  }
}

function readBareItem(reader: Reader): BareItem | undefined {
  switch (reader.next) {
    case '"': {
      const text = reader.take(STRING);
      return text === undefined
        ? undefined
        : { type: 'string', value: text.slice(1, -1).replaceAll(/\\(.)/g, '$1') };
    }
    case ':': {
      const text = reader.take(BYTES);
      return text === undefined ? undefined : { type: 'bytes', value: text.slice(1, -1) };
    }
    case '?': {
      const text = reader.take(BOOLEAN);
      return text === undefined ? undefined : { type: 'boolean', value: text === '?1' };
    }
    case '@': {
      const text = reader.take(DATE);
      return text === undefined ? undefined : { type: 'date', value: Number(text.slice(1)) };
    }
    case '%': {
      const text = reader.take(DISPLAY_STRING);
      return text !== undefined && isUtf8(text.slice(2, -1))
        ? { type: 'display', value: text.slice(2, -1) }
        : undefined;
    }
    default: {
      const number = reader.take(NUMBER);
      if (number !== undefined) {
        // -0 is 0 here.
        return { type: number.includes('.') ? 'decimal' : 'integer', value: Number(number) + 0 };
      }
      const token = reader.take(TOKEN);
      return token === undefined ? undefined : { type: 'token', value: token };
    }
  }
}

function isUtf8(escaped: string): boolean {
  try {
    decodeURIComponent(escaped);
    return true;
  } catch {
    return false;
  }
}
