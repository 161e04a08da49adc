import { carries } from './errors.ts';

/** Of package.json. Copies of one version understand each other's objects. */
export const VERSION = '0.1.0';

const STATE: unique symbol = Symbol.for(`distributed-rate-limiter@${VERSION}`);

/**
 * Returns the state of that name that all copies of this version share in one process. A tool may load the package
 * twice: its ES modules and its CommonJS, or before and after a reload.
 */
export function sharedByCopies<T extends object>(name: string, make: () => T): T {
  const all = ((globalThis as { [STATE]?: Record<string, object> })[STATE] ??= {});
  return (all[name] ??= make()) as T;
}

/** Marks a class's instances, so that every copy of this version knows them by `isMarked`. */
export function mark(prototype: object, brand: symbol): void {
  Object.defineProperty(prototype, brand, { value: VERSION });
}

/** Whether a copy of this version made it. */
export function isMarked(value: unknown, brand: symbol): boolean {
  return carries(value, brand) && (value as Record<symbol, unknown>)[brand] === VERSION;
}
