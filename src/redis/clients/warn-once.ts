import { sharedByCopies } from '../../base/copies.ts';

/** Client -> codes already warned of. */
const warned = sharedByCopies('warned clients', () => new WeakMap<object, Set<string>>());

/** Makes a client share the codes already warned of with others that the same code made. */
export function warnTogether(client: object, codes: Set<string>): void {
  warned.set(client, codes);
}

/** Emits a process warning, once per client and code. */
export function warnOnce(client: object, code: string, text: string): void {
  const codes = warned.get(client) ?? new Set();
  warned.set(client, codes);
  if (!codes.has(code)) {
    codes.add(code);
    process.emitWarning(text, { type: 'RateLimiterWarning', code });
  }
}
