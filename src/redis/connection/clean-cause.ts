import { betweenRequests, RateLimiterError } from '../../base/errors.ts';

/** Commands that a message may quote. Anything else quoted may be a key, an identity or a password. */
const COMMANDS =
  /^(?:evalsha|eval|get|set|psetex|mget|del|pttl|time|hello|auth|info|client|select|ping|cluster|script|readonly|[a-z]+\|[a-z-]+)$/i;

/** `unknown command 'EVALSHA', with args beginning with: '…' '1' 'key' …`, as all servers word it. */
const ARGUMENTS = /\bwith args beginning with\b.*/s;
/** Quoted text. An apostrophe, as in `don't`, begins no quote. */
const QUOTED = /(?<!\w)(["'`])(.*?)\1(?!\w)/gs;
/** A word with part of a digest in it, such as a key. */
const DIGESTED = /\S*[0-9a-f]{16,}\S*/gi;

/** Removes quoted data from a message, so that no key, identity or password reaches a log through an error. */
function withoutData(text: string): string {
  return text
    .replace(ARGUMENTS, 'with arguments (not repeated)')
    .replace(QUOTED, (quoted, _mark, inner: string) => (COMMANDS.test(inner) ? quoted : "'…'"))
    .replace(DIGESTED, '…');
}

/**
 * Copies a client library's error as the cause of ours: its message without data, its code and stack, and no other
 * property. ioredis attaches the command, which for `AUTH` and `HELLO` holds the password. A refusal by workerd is no
 * outage and becomes an error that says so.
 */
export function causeOf(error: unknown): unknown {
  if (error instanceof RateLimiterError) {
    return error;
  }
  if (!(error instanceof Error)) {
    return typeof error === 'string' ? withoutData(error) : error;
  }
  const { name, stack, cause } = error;
  const { code } = error as NodeJS.ErrnoException;
  const message = withoutData(error.message);
  const copy = new Error(message, cause === undefined ? undefined : { cause: causeOf(cause) });
  // A stack begins with the message.
  const frames = stack?.replace(error.message, () => message);
  for (const [key, value] of Object.entries({ name, stack: frames })) {
    Object.defineProperty(copy, key, { value, configurable: true, writable: true });
  }
  if (message.includes('on behalf of a different request')) {
    return betweenRequests(copy);
  }
  return typeof code === 'string' ? Object.assign(copy, { code }) : copy;
}
