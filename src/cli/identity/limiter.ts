import type { AnyIdentity } from '../../base/identity.ts';
import { RateLimiterError, StoreError } from '../../base/errors.ts';
import { RateLimiter } from '../../limiter/rate-limiter.ts';
import type { Given } from '../kit/command.ts';
import { CommandError, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import { readRedisOption, readTimeout } from '../kit/redis-options.ts';
import { readIdentity } from '../limits/identity.ts';
import { asUsage, readPolicy } from '../limits/policies.ts';
import { readSecret } from '../limits/hash-secret.ts';

/** A limiter of whatever parts and units. */
export type AnyRateLimiter = RateLimiter<string, string>;

/** Makes the limiter that a command line describes, lets `work` use it, and closes it. */
export async function withLimiter(
  given: Given,
  io: Io,
  work: (limiter: AnyRateLimiter, identity: AnyIdentity) => Promise<number>,
): Promise<number> {
  if (given.words.length === 0) {
    throw new UsageError('name the identity: user:12345, or its parts org=acme user=42.');
  }
  const policy = await readPolicy(given, io);
  const namespace = given.text('namespace');
  const secret = readSecret(given, io);
  const { cluster } = policy.options;
  const enabled = given.flag('cluster');
  const limiter = asUsage(policy, () => {
    const options = {
      ...policy.options,
      ...(namespace === undefined ? {} : { namespace }),
      ...(secret === undefined ? {} : { hashSecret: secret }),
      redis: readRedisOption(given, io),
      cluster: cluster === undefined ? enabled : { ...cluster, enabled },
      timeoutMs: readTimeout(given),
      blocks: true,
      failStrategy: 'throw',
    };
    return new RateLimiter(options as never) as unknown as AnyRateLimiter;
  });
  try {
    const isByParts = limiter.limits.some(({ by }) => by !== undefined);
    return await work(limiter, readIdentity(given.words, isByParts));
  } catch (error) {
    throw asCommandError(error);
  } finally {
    await limiter.close();
  }
}

function asCommandError(error: unknown): unknown {
  if (error instanceof StoreError) {
    const { cause } = error;
    const why = cause instanceof Error ? ` (${cause.message})` : '';
    return new CommandError(`${error.message}${why}`);
  }
  if (error instanceof RateLimiterError) {
    return error.code === 'ERR_CLIENT_MISSING' || error.code === 'ERR_TOO_MANY_LIMITS'
      ? new CommandError(error.message)
      : new UsageError(error.message);
  }
  return error;
}
