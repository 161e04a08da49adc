import { RateLimiterError } from '../errors.ts';

/** Where a server is and how to greet it, as both client libraries want it said. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  /** Of a unix socket; host and port then mean nothing. */
  readonly path?: string;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly database: number;
}

const CURE =
  "Write 'redis://[user:password@]host[:port][/database]', 'rediss://…' for TLS, or 'unix:///path/to.sock[?db=N]'.";

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
    const database = readDatabase(parsed.searchParams.get('db') ?? '');
    return {
      host: '',
      port: 0,
      path: decode(parsed.pathname),
      tls: false,
      database,
      ...credentials,
    };
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw refused("a URL that begins with 'redis://', 'rediss://' or 'unix://'");
  }
  if (parsed.search !== '' || parsed.hash !== '') {
    throw refused('a URL without query or fragment');
  }
  return {
    host: parsed.hostname === '' ? '127.0.0.1' : parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    tls: parsed.protocol === 'rediss:',
    database: readDatabase(parsed.pathname.slice(1)),
    ...credentials,
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

function refused(rule: string): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_OPTION',
    `\`redis\` must be ${rule}, and is not (the value is not repeated, it may hold a password). ${CURE}`,
  );
}
