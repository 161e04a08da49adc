import { timingSafeEqual } from 'node:crypto';
import { optionError, RateLimiterError } from '../base/errors.ts';
import { sealOf } from '../base/identity.ts';

/** Where the record of a reservation is, and the states that it charged. */
export interface ReservationPlace {
  /** What follows the first home's key in the key of the record. */
  readonly record: string;
  /** The keys of its homes; none under the plan without a limit. */
  readonly homes: readonly string[];
}

/** What seals a token. */
interface Seal {
  readonly namespace: string;
  readonly hashSecret: string | Uint8Array | undefined;
}

const VERSION = '1';
const RECORD = '#r:';
/** Says that all homes are behind one hash tag, whose digest is the first. */
const TAGGED = 'tag';
/** The tag of a key that all identities share: their number, and which of them it is. */
const SHARED_TAG = /^\{[^{}:]+:(\d{1,3}):([0-7]{6})\}:/;
/** Says that there is no home. */
const UNLIMITED = 'none';
/** Enough for a tag and 32 homes. */
const MAX_LENGTH = 2_400;
const TOKEN =
  /^1\.([0-9a-f]{32})\.((?:\d{1,3}-[0-7]{6}-)?[a-z_]{1,24})((?:\.[0-9a-f]{64})*)\.([0-9a-f]{32})$/;

/**
 * Writes where a reservation is: `1.<record>.<kind of key>.<digest of each home>.<seal>`. The seal is the digest of all
 * that and of the namespace, under the limiter's secret: without the secret no holder of a token can make another.
 */
export function writeToken({ record, homes }: ReservationPlace, seal: Seal): string {
  const digests = homes.flatMap((key, i) => digestsOf(key, i === 0));
  const kind = homes.length === 0 ? UNLIMITED : kindOf(homes[0]!, seal.namespace);
  const text = [VERSION, record.slice(RECORD.length), kind, ...digests].join('.');
  return `${text}.${sealOf(seal.namespace, text, seal.hashSecret)}`;
}

function kindOf(key: string, namespace: string): string {
  const [, count, tag] = SHARED_TAG.exec(key) ?? [];
  if (tag !== undefined) {
    return `${count}-${tag}-${key.slice(key.indexOf('}') + 2, key.lastIndexOf(':'))}`;
  }
  const prefix = key.slice(namespace.length + 1, key.lastIndexOf(':'));
  return key.startsWith('{') ? TAGGED : prefix;
}

/** The digest of a home, after that of its tag if it has one and is the first. */
function digestsOf(key: string, isFirst: boolean): readonly string[] {
  const own = key.slice(key.lastIndexOf(':') + 1);
  const tagEnd = key.indexOf('}');
  return tagEnd === -1 || !isFirst || SHARED_TAG.test(key)
    ? [own]
    : [key.slice(tagEnd - own.length, tagEnd), own];
}

/**
 * Reads a token that `writeToken` wrote with the same seal.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for a value of another form, `ERR_UNKNOWN_TOKEN` for another seal;
 * neither repeats the token
 */
export function readToken(token: unknown, { namespace, hashSecret }: Seal): ReservationPlace {
  const [, record, kind, digests, seal] = TOKEN.exec(checkedText(token)) ?? [];
  if (record === undefined) {
    throw invalidToken(faultOf(token as string));
  }
  const text = (token as string).slice(0, -1 - seal!.length);
  const expected = sealOf(namespace, text, hashSecret);
  if (!timingSafeEqual(Buffer.from(seal!), Buffer.from(expected))) {
    throw new RateLimiterError(
      'ERR_UNKNOWN_TOKEN',
      '`token` was made under another `namespace` or `hashSecret`, or was changed. Resume it with those of the limiter that reserved, and pass it as it was read.',
    );
  }
  return { record: RECORD + record, homes: keysOf(namespace, kind!, digests!.split('.').slice(1)) };
}

function keysOf(namespace: string, kind: string, digests: readonly string[]): readonly string[] {
  if (kind === UNLIMITED) {
    return [];
  }
  const [first, ...others] = digests;
  if (first === undefined || (kind === TAGGED && others.length === 0)) {
    throw invalidToken('got one without a home');
  }
  const [count, tag, algorithm] = kind.split('-');
  if (algorithm !== undefined) {
    return digests.map((digest) => `{${namespace}:${count}:${tag}}:${algorithm}:${digest}`);
  }
  return kind === TAGGED
    ? others.map((digest) => `{${namespace}:limits:${first}}:${digest}`)
    : digests.map((digest) => `${namespace}:${kind}:${digest}`);
}

/** Checks the length first: the text may come from a request. */
function checkedText(token: unknown): string {
  if (typeof token !== 'string') {
    throw invalidToken(`got ${token === null ? 'null' : `a value of type ${typeof token}`}`);
  }
  if (token.length > MAX_LENGTH) {
    throw invalidToken(`got a string of ${token.length} characters`);
  }
  return token;
}

function faultOf(token: string): string {
  const version = /^(\d{1,9})\./.exec(token)?.[1];
  return version !== undefined && version !== VERSION
    ? `got one of version ${version}`
    : `got a string of ${token.length} characters of another form`;
}

/** Does not repeat the token, which is secret. */
function invalidToken(found: string): RateLimiterError {
  return optionError(
    'token',
    'be what `reservation.token` gave, of version 1',
    found,
    'Pass all of its characters, as they were read.',
  );
}
