import { createHmac, hash } from 'node:crypto';
import { RateLimiterError } from './errors.ts';

/**
 * Identifies the caller that is limited: a user id, an API key, an address, or several together: `[organisation,
 * user]`. A non-empty well-formed string; or a safe integer or a bigint, which stands for its decimal digits, so
 * `42`, `42n` and `'42'` are one identity. All parts together have at most 1,024 bytes in UTF-8. Only its hash is
 * stored.
 *
 * @example
 * await limiter.allow('user:12345');
 * await limiter.allow(12345);
 * await limiter.allow(['acme', 12345]);
 */
export type Identity = string | number | bigint | readonly (string | number | bigint)[];

/**
 * An identity as named parts, for limits that say by which parts they count: `{ org: 'acme', user: 42 }`. A part may
 * be text, a safe integer or a bigint. Under `null`, limits that count by the part are not consulted: a login form
 * without a user name still counts by address. All parts together have at most 1,024 bytes in UTF-8. Only hashes are
 * stored.
 *
 * @example
 * await limiter.allow({ org: 'acme', user: 42 });
 */
export type IdentityParts<By extends string = string> = {
  readonly [Part in By]: string | number | bigint | null;
};

/** What a limiter may be given as an identity. */
export type AnyIdentity = Identity | IdentityParts;

/** The identity under limits that all say `by: []`. */
type NoParts = Readonly<Record<string, never>>;

/** The identity that a limiter takes whose limits count by these parts: a whole one if `By` is `never`. */
export type IdentityOf<By extends string> = [By] extends [never]
  ? Identity | NoParts
  : string extends By
    ? AnyIdentity
    : IdentityParts<By>;

/** The identity of one counter of such a limiter: exactly the parts that it counts by. */
export type CounterOf<By extends string> = [By] extends [never]
  ? Identity | NoParts
  : string extends By
    ? AnyIdentity
    : { readonly [Part in By]?: string | number | bigint };

const MAX_BYTES = 1_024;
const MAX_BYTES_PER_UTF16_UNIT = 3;
/**
 * A bigint from here on has more digits than an identity may have bytes. Comparing it is cheap, converting it is not.
 */
const TOO_MANY_DIGITS = 10n ** BigInt(MAX_BYTES);

const RULE = 'a non-empty well-formed string, a safe integer or a bigint';

/**
 * The identity as 64 hexadecimal digits: SHA-256, or HMAC-SHA-256 under a secret. Several parts are hashed behind a
 * leading byte 0xFF, which no UTF-8 text contains, each after its length. So `['a', 'b']` differs from `'ab'`, and
 * `['ab', 'c']` from `['a', 'bc']`.
 */
export function digestIdentity(
  identity: Identity,
  secret: string | Uint8Array | undefined,
): string {
  return digest(
    typeof identity === 'object' ? readReadableParts(identity) : readPart(identity),
    secret,
  );
}

function digest(bytes: string | Uint8Array, secret: string | Uint8Array | undefined): string {
  return secret === undefined
    ? hash('sha256', bytes, 'hex')
    : createHmac('sha256', secret).update(bytes).digest('hex');
}

/** The error that `digestIdentity` would throw; undefined for a valid identity. */
export function faultOfIdentity(identity: unknown): RateLimiterError | undefined {
  return faultIn(() =>
    typeof identity === 'object' ? readReadableParts(identity) : readPart(identity),
  );
}

function faultIn(read: () => unknown): RateLimiterError | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return error as RateLimiterError;
  }
}

/** Begins the name of several parts. No valid text begins with the second half of a pair. */
const SEVERAL = '\udc00';

/**
 * Tells an identity apart from all others within a process, for a tenth of the time that a digest takes. Two identities
 * of which one is valid have one name only if both are the same. Undefined for some that are invalid.
 */
export function nameOfIdentity(identity: AnyIdentity): string | undefined {
  const one = digitsOf(identity);
  if (typeof one === 'string') {
    return one.startsWith(SEVERAL) ? undefined : one;
  }
  try {
    return Array.isArray(identity) ? nameOfParts(identity.map(digitsOf)) : undefined;
  } catch {
    return undefined; // throws when it is read
  }
}

/** The same for an identity of exactly these parts. Undefined if there is none of one of them. */
export function nameOfNamedParts(
  identity: AnyIdentity,
  names: readonly string[],
): string | undefined {
  return nameOfParts([...readNamedParts(identity, names).values()]);
}

function nameOfParts(parts: readonly unknown[]): string | undefined {
  let name = SEVERAL;
  for (const part of parts) {
    if (typeof part !== 'string') {
      return undefined;
    }
    name += `${part.length}:${part}`;
  }
  return name;
}

/** The text of each part by its name; null for a part that there is none of. */
export type NamedParts = ReadonlyMap<string, string | null>;

/**
 * Reads an identity of exactly these parts. Only its own properties count: a part may be named like a method of all
 * objects.
 *
 * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
 */
export function readNamedParts(identity: unknown, names: readonly string[]): NamedParts {
  return asReadable(() => {
    const given = ownParts(identity, names);
    const parts = new Map<string, string | null>();
    let bytes = 0;
    for (const name of names) {
      const part = Object.hasOwn(given, name) ? given[name] : undefined;
      if (part === undefined) {
        throw invalidPart(
          name,
          'be given',
          'got undefined',
          'Pass it, or `null` if there is none.',
        );
      }
      const text = part === null ? null : readPart(part, name);
      bytes += text === null ? 0 : Buffer.byteLength(text);
      parts.set(name, text);
    }
    if (bytes > MAX_BYTES) {
      throw refused(`at most ${MAX_BYTES} bytes in UTF-8, all parts together`, identity);
    }
    return parts;
  });
}

/**
 * The names of an identity's parts, all of which are given: sorted, to be compared with those of a home.
 *
 * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
 */
export function namesOfParts(identity: unknown, known: readonly string[]): readonly string[] {
  return asReadable(() => {
    const given = ownParts(identity, known);
    return Object.keys(given)
      .filter((name) => given[name] !== undefined)
      .sort();
  });
}

/** Stops at the first property that is no part: an object from a request may be large. Does not repeat its name. */
function ownParts(identity: unknown, names: readonly string[]): Record<string, unknown> {
  if (typeof identity !== 'object' || identity === null || Array.isArray(identity)) {
    throw invalidParts(names, `got ${describe(identity)}`);
  }
  for (const name in identity) {
    if (Object.hasOwn(identity, name) && !names.includes(name)) {
      throw invalidParts(names, 'got a part that no limit counts by');
    }
  }
  return identity as Record<string, unknown>;
}

function invalidParts(names: readonly string[], found: string): RateLimiterError {
  const form = `{ ${names.join(', ')} }`;
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`identity\` must be named parts, since the limits say \`by\`: ${names.length === 0 ? '{}' : form}, ${found}. Pass each part that a limit counts by, and no other.`,
  );
}

function invalidPart(name: string, rule: string, found: string, cure: string): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`identity.${name}\` must ${rule}, ${found}. ${cure}`,
  );
}

/**
 * These parts as 64 hexadecimal digits, like `digestIdentity`. They are hashed behind a leading byte 0xFE, which no UTF-8
 * text contains either: each name and each text after its length. `names` are sorted, and none of the parts is null.
 */
export function digestParts(
  parts: NamedParts,
  names: readonly string[],
  secret: string | Uint8Array | undefined,
): string {
  const chunks: Uint8Array[] = [Uint8Array.of(0xfe)];
  for (const name of names) {
    chunks.push(...withLength(name), ...withLength(parts.get(name)!));
  }
  return digest(Buffer.concat(chunks), secret);
}

/**
 * What shows that a text was made in this namespace and, under a secret, that its holder did not change it: 32
 * hexadecimal digits. Hashed behind a leading byte 0xFD, so that no identity has it for a digest.
 */
export function sealOf(
  namespace: string,
  text: string,
  secret: string | Uint8Array | undefined,
): string {
  const bytes = Buffer.concat([Uint8Array.of(0xfd), ...withLength(namespace), Buffer.from(text)]);
  return digest(bytes, secret).slice(0, 32);
}

function withLength(text: string): readonly [Uint8Array, Uint8Array] {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return [length, bytes];
}

/** `at` is the index of a part in an array, or the name of a part. */
function readPart(given: unknown, at?: number | string): string {
  const part = digitsOf(given);
  if (typeof part !== 'string' || part === '') {
    throw refused(RULE, given, at);
  }
  // Checks the length first: text from a request may be long.
  if (
    part.length > MAX_BYTES ||
    (part.length * MAX_BYTES_PER_UTF16_UNIT > MAX_BYTES && Buffer.byteLength(part) > MAX_BYTES)
  ) {
    throw refused(`at most ${MAX_BYTES} bytes in UTF-8`, given, at);
  }
  if (!part.isWellFormed()) {
    throw refused(RULE, given, at);
  }
  return part;
}

/** The decimal digits of a whole number; any other value unchanged. */
function digitsOf(part: unknown): unknown {
  if (typeof part === 'number') {
    return Number.isSafeInteger(part) && !Object.is(part, -0) ? String(part) : part;
  }
  if (typeof part === 'bigint') {
    return part < TOO_MANY_DIGITS && part > -TOO_MANY_DIGITS ? String(part) : part;
  }
  return part;
}

function readReadableParts(parts: unknown): Uint8Array {
  return asReadable(() => readParts(parts));
}

/** Refuses a value that throws when it is read, such as a proxy, like any other invalid identity. */
function asReadable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof RateLimiterError
      ? error
      : new RateLimiterError(
          'ERR_INVALID_IDENTITY',
          `\`identity\` must be readable, got an object that throws when it is read. ${CURE}`,
          { cause: error },
        );
  }
}

function readParts(parts: unknown): Uint8Array {
  if (!Array.isArray(parts) || parts.length === 0) {
    throw refused(`${RULE}, or a non-empty array of these`, parts);
  }
  // Checks the length first: an array from a request may be long.
  if (parts.length > MAX_BYTES) {
    throw refused(`at most ${MAX_BYTES} bytes in UTF-8, all parts together`, parts);
  }
  const chunks: Uint8Array[] = [Uint8Array.of(0xff)];
  let total = 0;
  for (let i = 0; i < parts.length; i++) {
    const [length, bytes] = withLength(readPart(parts[i], i));
    chunks.push(length, bytes);
    total += bytes.length;
    if (total > MAX_BYTES) {
      throw refused(`at most ${MAX_BYTES} bytes in UTF-8, all parts together`, parts);
    }
  }
  return Buffer.concat(chunks);
}

const CURE = 'Pass the identity to limit: a user id, an API key, an address.';

/** Describes the fault without repeating the identity, which is private. */
function refused(rule: string, value: unknown, at?: number | string): RateLimiterError {
  const option =
    at === undefined ? 'identity' : typeof at === 'number' ? `identity[${at}]` : `identity.${at}`;
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`${option}\` must be ${rule}, got ${describe(value)}. ${cureFor(value)}`,
  );
}

/** The type of a value, and its size; never the value itself. */
function describe(value: unknown): string {
  if (typeof value === 'string') {
    return describeText(value);
  }
  if (typeof value === 'number') {
    return describeNumber(value);
  }
  if (typeof value === 'bigint') {
    return 'a bigint of too many digits';
  }
  if (typeof value !== 'object' || value === null) {
    return value === undefined || value === null
      ? String(value)
      : `a value of type ${typeof value}`;
  }
  return Array.isArray(value) ? `an array of ${value.length}` : `an object (${classOf(value)})`;
}

function describeText(text: string): string {
  if (text === '') {
    return 'an empty string';
  }
  const flaw =
    text.length <= MAX_BYTES && !text.isWellFormed() ? ' with half of a surrogate pair' : '';
  return `a string of ${text.length} characters${flaw}`;
}

function describeNumber(number: number): string {
  if (!Number.isFinite(number)) {
    return String(number);
  }
  if (!Number.isInteger(number)) {
    return 'a number with a fraction';
  }
  return number === 0 ? '-0' : 'a number beyond the safe integers';
}

/** Reads the prototype's constructor: an own `constructor` may come from a request. */
function classOf(value: object): string {
  const prototype = Object.getPrototypeOf(value) as { constructor?: unknown } | null;
  const made = prototype?.constructor;
  const name: unknown = typeof made === 'function' ? made.name : undefined;
  return typeof name === 'string' && /^[\w$]{1,40}$/.test(name) ? name : 'no class';
}

function cureFor(value: unknown): string {
  if (typeof value === 'number') {
    return 'Pass the id as a string or a bigint.';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return CURE;
  }
  const name = classOf(value);
  return name === 'Object' || name === 'no class'
    ? 'Pass the field that identifies it, such as `user.id`.'
    : 'Pass its text, such as `id.toString()`.';
}
