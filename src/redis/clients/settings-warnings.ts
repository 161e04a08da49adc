import { isBunRedis } from './bun.ts';
import { isUpstash, upstashResends } from './upstash.ts';
import { isGlide } from './valkey-glide.ts';
import { isIoredis, keyPrefixOf, resendCures } from './ioredis.ts';
import { isRedisPort } from '../port.ts';
import type { RedisClient } from './client.ts';
import { warnOnce } from './warn-once.ts';

/** Emits one process warning per harmful setting of a user's client. Changes none of them. */
export function warnOfSettings(client: RedisClient): void {
  if (isRedisPort(client) || isGlide(client) || isBunRedis(client)) {
    return;
  }
  if (isUpstash(client)) {
    if (upstashResends(client)) {
      warnOnce(
        client,
        'DRL_CLIENT_RESENDS',
        'The @upstash/redis client sends a request again when its response is lost, which can charge one call twice. ' +
          'Set `retry: { retries: 0 }` on it to rule that out; `retry: false` still sends it twice.',
      );
    }
    return;
  }
  if (isIoredis(client)) {
    const cures = resendCures(client);
    if (cures.length > 0) {
      warnOnce(
        client,
        'DRL_CLIENT_RESENDS',
        'The ioredis client sends a command again when the connection is lost before its reply, which can charge one call twice. ' +
          `Set ${cures.join(', and ')} on it to rule that out.`,
      );
    }
    if (keyPrefixOf(client) !== '') {
      warnOnce(
        client,
        'DRL_CLIENT_KEY_PREFIX',
        'The ioredis client has a `keyPrefix`, which it puts before every key: a process without it does not share these limits, and on a cluster limits with several keys are refused (CROSSSLOT). ' +
          'Use a client without it, and the option `namespace`.',
      );
    }
  }
  // Our listeners count too, so the application's listeners are looked for before ours are added, and at the first error.
  if (client.listenerCount?.('error') === 0) {
    client.on('error', () => {
      if (client.listenerCount?.('error') === OURS) {
        warnOnce(
          client,
          'DRL_CLIENT_NO_ERROR_LISTENER',
          'The Redis client has reported an error, and nobody but the rate limiter listens to it. ' +
            "Add `client.on('error', …)`, so that you see why Redis is away.",
        );
      }
    });
  }
}

/** The one above and the port's. */
const OURS = 2;
