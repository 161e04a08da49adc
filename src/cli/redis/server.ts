import { loadClientLibrary } from '../../redis/clients/client-library.ts';
import { readRedisUrl } from '../../redis/clients/url.ts';
import { CommandError } from '../kit/io.ts';

/** A connection that sends any command. */
export interface Server {
  command(name: string, ...args: readonly string[]): Promise<unknown>;
  /** Hears the texts on a channel. The connection then takes no commands any more. */
  subscribe(channel: string, listener: (text: string) => void): Promise<void>;
  /** Calls the listener when the connection ends without `close`. */
  onLost(listener: () => void): void;
  close(): Promise<void>;
}

interface Ioredis {
  connect(): Promise<void>;
  call(name: string, ...args: readonly string[]): Promise<unknown>;
  disconnect(): void;
  subscribe(channel: string): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'end', listener: () => void): void;
  on(event: 'message', listener: (channel: string, text: string) => void): void;
}

interface NodeRedis {
  connect(): Promise<unknown>;
  sendCommand(args: readonly string[]): Promise<unknown>;
  subscribe(channel: string, listener: (text: string) => void): Promise<unknown>;
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
        subscribe: async (channel, listener) => {
          client.on('message', (_channel, text) => listener(text));
          await client.subscribe(channel);
        },
        onLost: (listener) => client.on('end', listener),
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
      subscribe: async (channel, listener) => {
        await client.subscribe(channel, listener);
      },
      onLost: (listener) => client.on('error', listener),
      close: () =>
        client.destroy === undefined ? client.disconnect() : Promise.resolve(client.destroy()),
    };
  } catch (error) {
    throw new CommandError(`cannot connect to Redis: ${(failure ?? (error as Error)).message}`);
  }
}
