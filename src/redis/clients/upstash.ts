import type { PortState, RedisPort } from '../port.ts';

/** A client of `@upstash/redis`, which sends commands over HTTP, known by its shape. */
export interface UpstashClient {
  evalsha(sha1: string, keys: string[], args: string[]): Promise<unknown>;
  eval(script: string, keys: string[], args: string[]): Promise<unknown>;
  scriptLoad(script: string): Promise<string>;
}

/** What the client's types hide. */
interface Requester {
  readonly request?: unknown;
  readonly baseUrl?: unknown;
  readonly retry?: { readonly attempts?: unknown };
}

function requesterOf(client: object): Requester | undefined {
  const { client: requester } = client as { client?: Requester | null };
  return typeof requester === 'object' && requester !== null ? requester : undefined;
}

export function isUpstash(client: object): client is UpstashClient {
  const { evalsha, eval: evaluate, scriptLoad } = client as Partial<UpstashClient>;
  return (
    typeof evalsha === 'function' &&
    typeof evaluate === 'function' &&
    typeof scriptLoad === 'function' &&
    typeof requesterOf(client)?.request === 'function'
  );
}

/** Whether the client sends a request again whose response was lost. `retry: false` still sends it twice. */
export function upstashResends(client: UpstashClient): boolean {
  return requesterOf(client)?.retry?.attempts !== 0;
}

/** The server's error, in the server's own words. */
class UpstashReplyError extends Error {
  override readonly name = 'ReplyError';
}

/**
 * `NOSCRIPT No matching script.`, after the words of a pipeline, and before the command that the client quotes. The
 * service's own errors, as of a gateway, begin in another way.
 */
const REPLY = /^(?:Command failed: )?([A-Z][A-Z0-9_]+ .*)$/s;

/**
 * The error behind one of the client's, without the command that it quotes. The client sets the name, so it is the same
 * in a minified bundle.
 */
function failureOf(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'UpstashError') {
    return error;
  }
  const said = error.message.split(', command was: ', 1)[0]!;
  const [, reply] = REPLY.exec(said) ?? [];
  return reply === undefined ? new Error(said) : new UpstashReplyError(reply);
}

/** The client has no connection. An outage shows in requests that fail or time out, which lanes notice and bound. */
class UpstashPort implements RedisPort {
  readonly state: PortState = 'ready';
  readonly address: string | undefined;
  lastError: unknown;
  readonly #client: UpstashClient;

  constructor(client: UpstashClient) {
    this.#client = client;
    this.address = addressOf(requesterOf(client)?.baseUrl);
  }

  onStateChange(): void {
    // It never changes.
  }

  async send(command: string, [script = '', count, ...rest]: readonly string[]): Promise<unknown> {
    const keys = rest.slice(0, Number(count));
    const args = rest.slice(Number(count));
    try {
      return await (command === 'EVAL'
        ? this.#client.eval(script, keys, args)
        : this.#client.evalsha(script, keys, args));
    } catch (error) {
      const failure = failureOf(error);
      if (!this.isReply(failure)) {
        this.lastError = failure;
      }
      throw failure;
    }
  }

  isReply(error: unknown): boolean {
    return error instanceof UpstashReplyError;
  }
}

function addressOf(baseUrl: unknown): string | undefined {
  return typeof baseUrl === 'string' && URL.canParse(baseUrl) ? new URL(baseUrl).host : undefined;
}

export function upstashPort(client: UpstashClient): RedisPort {
  return new UpstashPort(client);
}
