import { RateLimiterError } from '../../base/errors.ts';

type Exports = Readonly<Record<string, unknown>>;

/** The client library that opens a connection from a URL. */
export interface ClientLibrary {
  readonly name: 'ioredis' | 'redis';
  readonly exports: Exports;
}

/**
 * Loads ioredis, or node-redis if ioredis is not installed. Both names are literals, so that bundlers find them. Each
 * import has its own `try`, so that bundlers accept a missing one. A bundle without them may still have them beside it,
 * so both are then looked up at run time.
 *
 * @throws (rejects) `ERR_CLIENT_MISSING`: a library that cannot be loaded is a mistake of the program, not an outage.
 */
export async function loadClientLibrary(): Promise<ClientLibrary> {
  const failures: unknown[] = [];
  let library: ClientLibrary | undefined;
  try {
    library = ioredisOf(await import('ioredis'));
  } catch (error) {
    failures.push(error);
  }
  try {
    library ??= nodeRedisOf(await import('redis'));
  } catch (error) {
    failures.push(error);
  }
  library ??= await loadAtRunTime();
  if (library === undefined) {
    throw missing(failures);
  }
  return library;
}

/** Looks up both as Node does. Drops its own errors: those of the imports above say more. */
async function loadAtRunTime(): Promise<ClientLibrary | undefined> {
  return (
    ioredisOf(await importUnseen('ioredis').catch(() => ({}))) ??
    nodeRedisOf(await importUnseen('redis').catch(() => ({})))
  );
}

/**
 * Imports a name that no bundler follows: it is a variable, because esbuild follows a literal in spite of the comments.
 * The comments keep webpack, Turbopack and Vite from warning about it.
 */
async function importUnseen(name: string): Promise<object> {
  return (await import(
    /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ name
  )) as object;
}

/** Undefined for the empty module that some bundlers put in place of a library that is not installed. */
function ioredisOf(module: object): ClientLibrary | undefined {
  const exports = exporting(module, 'Redis');
  return exports && { name: 'ioredis', exports };
}

function nodeRedisOf(module: object): ClientLibrary | undefined {
  const exports = exporting(module, 'createClient');
  return exports && { name: 'redis', exports };
}

/** Some bundlers give a CommonJS module only its `default`. */
function exporting(module: object, name: string): Exports | undefined {
  const { default: inner } = module as { default?: unknown };
  return [module, inner].find(
    (exports): exports is Exports => typeof (exports as Exports | undefined)?.[name] === 'function',
  );
}

function missing(failures: readonly unknown[]): RateLimiterError {
  const unexpected = failures.find((failure) => !isNotFound(failure));
  if (unexpected === undefined) {
    return new RateLimiterError(
      'ERR_CLIENT_MISSING',
      '`redis` is a URL, and neither of the client libraries ioredis and redis can be found. Run `npm install ioredis`, or pass a client as `redis`.',
      { cause: failures[0] },
    );
  }
  return new RateLimiterError(
    'ERR_CLIENT_MISSING',
    '`redis` is a URL, and neither of the client libraries ioredis and redis can be loaded: `cause` says why. Pass a client as `redis`; or, in a bundle, leave the library out of it: Next.js has `serverExternalPackages` for that.',
    { cause: unexpected },
  );
}

/** The error for a library that was loaded but cannot make a client. */
export function unusable({ name }: ClientLibrary, cause: unknown): RateLimiterError {
  return new RateLimiterError(
    'ERR_CLIENT_MISSING',
    `\`redis\` is a URL, and the client library ${name} that was found makes no client for it: \`cause\` says why. Pass a client as \`redis\`.`,
    { cause },
  );
}

/** Whether the library itself is missing, not one of its dependencies. */
function isNotFound(failure: unknown): boolean {
  const { code, message } = failure as { code?: unknown; message?: unknown };
  const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
  return isMissing && /(?:package|module) '(?:ioredis|redis)'/i.test(String(message));
}
