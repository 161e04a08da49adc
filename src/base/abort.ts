/** What is to be called when one signal is aborted, and our one listener on it. */
interface Shared {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** Weak, so that a signal can be garbage-collected with its callbacks. */
const bySignal = new WeakMap<AbortSignal, Shared>();

/**
 * Calls `onAbort` when the signal is aborted, and returns a function that takes it back. A signal has one listener of
 * ours, however many callers share it: with one for each Node would warn of a leak from the eleventh on.
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
  // A function of its own for each call: two callers may pass the same one.
  const call = (): void => onAbort();
  callbacks.add(call);
  return () => {
    if (callbacks.delete(call) && callbacks.size === 0) {
      signal.removeEventListener('abort', listener);
    }
  };
}
