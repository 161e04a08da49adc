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
  const bytes = typeof identity === 'object' ? readReadableParts(identity) : readPart(identity);
  return secret === undefined
    ? hash('sha256', bytes, 'hex')
    : createHmac('sha256', secret).update(bytes).digest('hex');
}

/** The error that `digestIdentity` would throw; undefined for a valid identity. */
export function faultOfIdentity(identity: unknown): RateLimiterError | undefined {
  try {
    if (typeof identity === 'object') {
      readReadableParts(identity);
    } else {
      readPart(identity);
    }
    return undefined;
  } catch (error) {
    return error as RateLimiterError;
  }
}

function readPart(given: unknown, index?: number): string {
  const part = digitsOf(given);
  if (typeof part !== 'string' || part === '') {
    throw refused(RULE, given, index);
  }
  // Checks the length first: text from a request may be long.
  if (
    part.length > MAX_BYTES ||
    (part.length * MAX_BYTES_PER_UTF16_UNIT > MAX_BYTES && Buffer.byteLength(part) > MAX_BYTES)
  ) {
    throw refused(`at most ${MAX_BYTES} bytes in UTF-8`, given, index);
  }
  if (!part.isWellFormed()) {
    throw refused(RULE, given, index);
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

/** Refuses a value that throws when it is read, such as a proxy, like any other invalid identity. */
function readReadableParts(parts: unknown): Uint8Array {
  try {
    return readParts(parts);
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
    const bytes = Buffer.from(readPart(parts[i], i));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
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
function refused(rule: string, value: unknown, index?: number): RateLimiterError {
  const option = index === undefined ? 'identity' : `identity[${index}]`;
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
