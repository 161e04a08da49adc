import { ErrorReply } from 'redis';
import type { RedisPort } from 'distributed-rate-limiter';

interface Sentinel {
  readonly isOpen: boolean;
  on(event: string, listener: (error: unknown) => void): unknown;
  sendCommand(isReadonly: boolean, words: string[]): Promise<unknown>;
}

/** Port of a client made with `createSentinel({ maxCommandRediscovers: 0, … })`. */
export function sentinelPort(client: Sentinel): RedisPort {
  let lastError: unknown;
  client.on('error', (error) => (lastError = error));
  return {
    get state() {
      return client.isOpen ? 'ready' : 'away';
    },
    get lastError() {
      return lastError;
    },
    onStateChange(listener) {
      for (const event of ['connect', 'end']) client.on(event, listener);
    },
    send: (command, args) => client.sendCommand(false, [command, ...args]),
    isReply: (error) => error instanceof ErrorReply,
  };
}
