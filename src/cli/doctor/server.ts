import { loadClientLibrary } from '../../redis/clients/client-library.ts';
import { readRedisUrl } from '../../redis/clients/url.ts';
import { CommandError } from '../kit/io.ts';

/** A connection that sends any command. */
export interface Server {
  command(name: string, ...args: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
}

interface Ioredis {
  connect(): Promise<void>;
  call(name: string, ...args: readonly string[]): Promise<unknown>;
  disconnect(): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

interface NodeRedis {
  connect(): Promise<unknown>;
  sendCommand(args: readonly string[]): Promise<unknown>;
  destroy?(): void;
  disconnect(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): void;
}

/** Connects once, by the library that limiters use. */
export async function openServer(url: string, timeoutMs: number): Promise<Server> {
  const { tls, host, port, path, username, password, database, family } = readRedisUrl(url);
  const login = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  const place = path === undefined ? { host, port } : { path };
  const lookup = family === undefined ? {} : { family };
  const library = await loadClientLibrary();
  let failure: Error | undefined;
  const noted = (error: Error): void => {
    failure = error;
  };
  try {
    if (library.name === 'ioredis') {
      const Redis = library.exports['Redis'] as new (options: object) => Ioredis;
      const client = new Redis({
        ...place,
        ...login,
        ...lookup,
        ...(tls ? { tls: {} } : {}),
        db: database,
        lazyConnect: true,
        connectTimeout: timeoutMs,
        commandTimeout: timeoutMs,
        retryStrategy: null,
      });
      client.on('error', noted);
      await client.connect();
      return {
        command: (name, ...args) => client.call(name, ...args),
        close: () => Promise.resolve(client.disconnect()),
      };
    }
    const createClient = library.exports['createClient'] as (options: object) => NodeRedis;
    const client = createClient({
      ...login,
      database,
      socket: {
        ...place,
        ...lookup,
        ...(tls ? { tls: true } : {}),
        connectTimeout: timeoutMs,
        reconnectStrategy: false,
      },
    });
    client.on('error', noted);
    await client.connect();
    return {
      command: (name, ...args) => client.sendCommand([name, ...args]),
      close: () =>
        client.destroy === undefined ? client.disconnect() : Promise.resolve(client.destroy()),
    };
  } catch (error) {
    throw new CommandError(`cannot connect to Redis: ${(failure ?? (error as Error)).message}`);
  }
}
