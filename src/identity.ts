import { createHmac, hash } from 'node:crypto';
import { RateLimiterError, show } from './errors.ts';

/**
 * Who is limited: a user id, an API key, an address; or several together, `[organisation, user]`. Each part is
 * a non-empty well-formed string; all parts together have at most 1,024 bytes in UTF-8. Never stored as it is.
 *
 * @example
 * await limiter.allow('user:12345');
 * await limiter.allow(['acme', 'user:12345']);
 */
export type Identity = string | readonly string[];

const MAX_BYTES = 1_024;
const MAX_BYTES_PER_UTF16_UNIT = 3;

/**
 * The identity as 64 hexadecimal digits: SHA-256, or HMAC-SHA-256 under a secret. Several parts are hashed
 * behind a leading byte 0xFF, which no UTF-8 text contains, each after its length: so neither `['a', 'b']` and
 * `'ab'` nor `['ab', 'c']` and `['a', 'bc']` are ever one identity.
 */
export function digestIdentity(
  identity: Identity,
  secret: string | Uint8Array | undefined,
): string {
  const bytes = typeof identity === 'string' ? readPart(identity) : readReadableParts(identity);
  return secret === undefined
    ? hash('sha256', bytes, 'hex')
    : createHmac('sha256', secret).update(bytes).digest('hex');
}

/** Whether it is one, so that what comes with a request can be told from a fault of the application. */
export function isIdentity(identity: unknown): identity is Identity {
  try {
    if (typeof identity === 'string') {
      readPart(identity);
    } else {
      readReadableParts(identity);
    }
    return true;
  } catch (error) {
    if (error instanceof RateLimiterError) {
      return false;
    }
    throw error;
  }
}

function readPart(part: unknown): string {
  if (typeof part !== 'string' || part === '' || !part.isWellFormed()) {
    throw refused('a non-empty well-formed string, or a non-empty array of them', part);
  }
  if (part.length * MAX_BYTES_PER_UTF16_UNIT > MAX_BYTES && Buffer.byteLength(part) > MAX_BYTES) {
    throw refused(`at most ${MAX_BYTES} bytes in UTF-8`, part);
  }
  return part;
}

/** What throws when it is looked at, such as a proxy, is refused like any other that is no identity. */
function readReadableParts(parts: unknown): Uint8Array {
  try {
    return readParts(parts);
  } catch (error) {
    throw error instanceof RateLimiterError
      ? error
      : new RateLimiterError(
          'ERR_INVALID_IDENTITY',
          '`identity` must be readable, got what throws when it is read. Pass who is limited: a user id, an API key, an address.',
          { cause: error },
        );
  }
}

function readParts(parts: unknown): Uint8Array {
  if (!Array.isArray(parts) || parts.length === 0) {
    throw refused('a non-empty well-formed string, or a non-empty array of them', parts);
  }
  const chunks: Uint8Array[] = [Uint8Array.of(0xff)];
  let total = 0;
  for (const part of parts) {
    const bytes = Buffer.from(readPart(part));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    chunks.push(length, bytes);
    total += bytes.length;
  }
  if (total > MAX_BYTES || parts.length > MAX_BYTES) {
    throw refused(`at most ${MAX_BYTES} bytes in UTF-8, all parts together`, parts);
  }
  return Buffer.concat(chunks);
}

/** Says what is wrong without repeating the identity, which is private. */
function refused(rule: string, value: unknown): RateLimiterError {
  const what =
    typeof value === 'string'
      ? value === ''
        ? 'an empty string'
        : `a string of ${value.length} characters`
      : typeof value === 'object'
        ? show(value)
        : `a value of type ${typeof value}`;
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`identity\` must be ${rule}, got ${what}. Pass who is limited: a user id, an API key, an address.`,
  );
}
