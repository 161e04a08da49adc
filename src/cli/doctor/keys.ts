import { RateLimiterError } from '../../base/errors.ts';
import { readLimiterOptions } from '../../limiter/limiter-options.ts';
import { MemoryStore } from '../../stores/memory.ts';
import type { Given } from '../kit/command.ts';
import { UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import { readSecret } from '../limits/hash-secret.ts';
import { readIdentity } from '../limits/identity.ts';
import { asUsage, readPolicy } from '../limits/policies.ts';

/** The keys of the identity that a command line names, as a limiter makes them; none if it names none. */
export async function readKeys(
  given: Given,
  io: Io,
  namespace: string,
): Promise<readonly string[]> {
  const { words } = given;
  if (words.length === 0) {
    return [];
  }
  const policy = await readPolicy(given, io);
  const secret = readSecret(given, io);
  const { limits } = asUsage(policy, () =>
    readLimiterOptions({ ...policy.options, namespace, store: new MemoryStore() }),
  );
  const identity = readIdentity(words, limits.space !== undefined);
  try {
    const { key, homes } = limits.locate(identity, secret);
    return homes ?? [key];
  } catch (error) {
    throw error instanceof RateLimiterError ? new UsageError(error.message) : error;
  }
}
