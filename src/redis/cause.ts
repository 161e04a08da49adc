import { RateLimiterError } from '../errors.ts';

/**
 * A client library's error as the cause of ours: its words, code and stack, and nothing else that hangs on it.
 * ioredis hangs the command there, and with `AUTH` and `HELLO` the password.
 */
export function causeOf(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof RateLimiterError) {
    return error;
  }
  const { name, message, stack, cause } = error;
  const { code } = error as NodeJS.ErrnoException;
  const copy = new Error(message, cause === undefined ? undefined : { cause: causeOf(cause) });
  for (const [key, value] of Object.entries({ name, stack })) {
    Object.defineProperty(copy, key, { value, configurable: true, writable: true });
  }
  return typeof code === 'string' ? Object.assign(copy, { code }) : copy;
}
