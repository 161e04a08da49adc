// @ts-check
import { createRequire } from 'node:module';
import path from 'node:path';

/**
 * The client libraries of this folder. They have the types of their newest versions where versions agree, so that the
 * type check does not need them installed. `types.mts` checks their own types.
 *
 * @typedef {{
 *   'ioredis-5': typeof import('ioredis'),
 *   iovalkey: typeof import('ioredis'),
 *   'redis-4': typeof import('redis'),
 *   'redis-5': typeof import('redis'),
 *   '@valkey/valkey-glide': ValkeyGlide,
 *   '@upstash/redis': { Redis: new (options: UpstashOptions) => Upstash },
 * }} Libraries
 *
 * @typedef {{ host: string, port: number }} Address
 *
 * @typedef {object} GlideOptions what the tests set
 * @property {readonly Address[]} addresses
 * @property {number} [requestTimeout]
 * @property {boolean} [lazyConnect]
 * @property {0 | 1} [defaultDecoder]
 * @property {(host: string, port: number) => [string, number]} [addressResolver]
 * @property {{ connectionTimeout?: number }} [advancedConfiguration]
 * @property {{ numberOfRetries: number, factor: number, exponentBase: number, jitterPercent?: number }} [connectionBackoff]
 *
 * @typedef {object} UpstashOptions what the tests set
 * @property {string} url
 * @property {string} token
 * @property {{ retries: number, backoff?: (attempt: number) => number } | false} [retry]
 * @property {boolean} [enableAutoPipelining]
 * @property {boolean} [automaticDeserialization]
 * @property {boolean} [enableTelemetry]
 * @property {false | 'base64'} [responseEncoding]
 * @property {() => AbortSignal} [signal]
 *
 * @typedef {object} Upstash
 * @property {(sha1: string, keys: string[], args: string[]) => Promise<unknown>} evalsha
 * @property {(script: string, keys: string[], args: string[]) => Promise<unknown>} eval
 * @property {(script: string) => Promise<string>} scriptLoad
 * @property {(key: string) => Promise<unknown>} get
 *
 * @typedef {{ close(): void, customCommand(args: string[]): Promise<unknown> }} Glide
 *
 * @typedef {object} ValkeyGlide
 * @property {{ createClient(options: GlideOptions): Promise<Glide> }} GlideClient
 * @property {{ createClient(options: GlideOptions): Promise<Glide> }} GlideClusterClient
 * @property {{ setLoggerConfig(level: 'off' | 'error' | 'warn'): void }} Logger
 */

const require = createRequire(import.meta.url);

/**
 * @template {keyof Libraries} Name
 * @param {Name} name
 * @returns {Libraries[Name]}
 */
export function loadClient(name) {
  try {
    return require(name);
  } catch (error) {
    throw new Error('Run `node test/installs/clients/install.mjs` first.', { cause: error });
  }
}

/**
 * @param {keyof Libraries} name
 * @returns {string} the folder in which the library is
 */
export function folderOfClient(name) {
  return path.join(import.meta.dirname, 'node_modules', name);
}
