import { hash } from 'node:crypto';
import { optionError } from '../../base/errors.ts';
import type { RateLimiterError } from '../../base/errors.ts';

/** A server's address and login, in the form that both client libraries take. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  /** Path of a unix socket; host and port are then ignored. */
  readonly path?: string;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly database: number;
  /** The IP version by which the host's name is looked up; 0 is either. Undefined leaves it to the client library. */
  readonly family?: 0 | 4 | 6;
}

const CURE =
  "Write 'redis://[user:password@]host[:port][/database]', 'rediss://…' for TLS, or 'unix:///path/to.sock[?db=N]'. `?family=0`, 4 or 6 names the IP version, `?db=N` the database.";

/**
 * Query parameters of other libraries' URLs, in lower case without `-` and `_`, and what to do instead. An error repeats
 * no other name: it may be the end of a password that contains a `?`.
 */
const CURES: ReadonlyMap<string, string> = new Map([
  ...cures("Write 'rediss://' for TLS.", ['tls', 'ssl', 'usetls', 'usessl']),
  ...cures(
    'Name a private authority by NODE_EXTRA_CA_CERTS, or pass a client that has the TLS options.',
    ['sslcertreqs', 'sslverify', 'sslcacerts', 'rejectunauthorized', 'tlsinsecure', 'skipverify'],
  ),
  ...cures("Write them before the host: 'redis://user:password@host'.", [
    'password',
    'pass',
    'auth',
    'username',
    'user',
  ]),
  ...cures('Set `namespace`.', ['prefix', 'keyprefix']),
  ...cures('Set `cluster: true`.', ['cluster']),
  ...cures('Pass a client that knows the Sentinels.', [
    'sentinel',
    'sentinels',
    'sentinelmaster',
    'mastername',
    'mymaster',
    'name',
    'role',
  ]),
  ...cures('Leave it out and set `timeoutMs`: the library keeps its own deadlines.', [
    'timeout',
    'connecttimeout',
    'connectiontimeout',
    'sockettimeout',
    'socketconnecttimeout',
    'commandtimeout',
    'readtimeout',
    'writetimeout',
    'dialtimeout',
    'retryonerror',
    'maxretries',
    'maxretriesperrequest',
  ]),
  ...cures('Leave it out: one connection carries all calls.', [
    'poolsize',
    'poolmaxconnections',
    'connectionlimit',
    'maxconnections',
    'minidleconns',
  ]),
  ...cures('Leave it out, or pass a client that has it.', [
    'protocol',
    'resp',
    'clientname',
    'connectionname',
    'lazyconnect',
    'enablereadycheck',
    'enableofflinequeue',
    'keepalive',
    'nodelay',
    'tlsservername',
    'servername',
  ]),
]);

function cures(cure: string, names: readonly string[]): readonly (readonly [string, string])[] {
  return names.map((name) => [name, cure] as const);
}

/** A digest to remember a URL by: the URL may hold a password. */
export function digestOfUrl(url: string): string {
  return hash('sha256', url, 'hex');
}

/** Reads `redis://`, `rediss://` and `unix://` URLs. No error repeats a URL: it may hold a password. */
export function readRedisUrl(url: string): RedisAddress {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw refused('a URL');
  }
  const credentials = {
    ...(parsed.username === '' ? {} : { username: decode(parsed.username) }),
    ...(parsed.password === '' ? {} : { password: decode(parsed.password) }),
  };
  if (parsed.protocol === 'unix:') {
    if (parsed.pathname.length < 2) {
      throw refused('a URL with the path of a socket');
    }
    const path = decode(parsed.pathname);
    const { database = 0 } = readQuery(parsed, ['db']);
    return {
      host: '',
      port: 0,
      path,
      tls: false,
      database,
      ...credentials,
    };
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw refused("a URL that begins with 'redis://', 'rediss://' or 'unix://'");
  }
  if (parsed.hash !== '') {
    throw refused('a URL without a fragment');
  }
  const path = parsed.pathname.slice(1);
  const query = readQuery(parsed, ['db', 'family']);
  const database = path === '' ? (query.database ?? 0) : readDatabase(path);
  if (query.database !== undefined && query.database !== database) {
    throw refused('a URL with one database');
  }
  return {
    host: parsed.hostname === '' ? '127.0.0.1' : parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    tls: parsed.protocol === 'rediss:',
    database,
    ...(query.family === undefined ? {} : { family: query.family }),
    ...credentials,
  };
}

type Query = 'db' | 'family';

function readQuery(
  { searchParams }: URL,
  known: readonly Query[],
): { database?: number; family?: 0 | 4 | 6 } {
  const names = [...searchParams.keys()];
  for (const [i, name] of names.entries()) {
    if (!known.includes(name as Query)) {
      const cure = CURES.get(name.toLowerCase().replaceAll(/[_-]/g, ''));
      throw cure === undefined
        ? refused(`a URL without a query other than ${known.join(' and ')}`)
        : refused(`a URL without the query ${name}`, cure);
    }
    if (names.indexOf(name) < i) {
      throw refused(`a URL with at most one ${name}`);
    }
  }
  const [db, family] = [searchParams.get('db'), searchParams.get('family')];
  if (db === '') {
    throw refused('a URL whose database is a number');
  }
  if (family !== null && !['0', '4', '6'].includes(family)) {
    throw refused('a URL whose family is 0, 4 or 6');
  }
  return {
    ...(db === null ? {} : { database: readDatabase(db) }),
    ...(family === null ? {} : { family: Number(family) as 0 | 4 | 6 }),
  };
}

function readDatabase(text: string): number {
  if (!/^\d{0,5}$/.test(text)) {
    throw refused('a URL whose database is a number');
  }
  return Number(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused('a URL whose percent signs are escapes');
  }
}

function refused(rule: string, cure = CURE): RateLimiterError {
  return optionError(
    'redis',
    `be ${rule}`,
    'and is not (the value is not repeated, it may hold a password)',
    cure,
  );
}
