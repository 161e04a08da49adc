/** The callbacks of one signal, and our only listener on it. */
interface Shared {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** Weak, so that a signal can be garbage-collected with its callbacks. */
const bySignal = new WeakMap<AbortSignal, Shared>();

/**
 * Calls `onAbort` when the signal is aborted, and returns a function that cancels this. All callers of a signal share
 * one listener: with one each, Node would warn of a leak from the eleventh on.
 */
export function listenForAbort(signal: AbortSignal, onAbort: () => void): () => void {
  let shared = bySignal.get(signal);
  if (shared === undefined) {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      for (const call of callbacks) {
        call();
      }
    };
    shared = { callbacks, listener };
    bySignal.set(signal, shared);
  }
  const { callbacks, listener } = shared;
  if (callbacks.size === 0) {
    signal.addEventListener('abort', listener);
  }
  // A new function for each call, because two callers may pass the same one.
  const call = (): void => onAbort();
  callbacks.add(call);
  return () => {
    if (callbacks.delete(call) && callbacks.size === 0) {
      signal.removeEventListener('abort', listener);
    }
  };
}
