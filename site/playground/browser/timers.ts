/**
 * Stands for src/base/timers.ts in a browser, as far as a memory store needs it: a turn of the event loop, and the time.
 * A timer would be delayed by 4 ms each time, a message is not.
 */
const { port1, port2 } = new MessageChannel();
const waiting: (() => void)[] = [];

port1.addEventListener('message', () => {
  waiting.shift()?.();
});
port1.start();

export function setImmediate<T extends unknown[]>(run: (...given: T) => void, ...given: T): void {
  waiting.push(() => run(...given));
  port2.postMessage(undefined);
}

export const monotonicMs: () => number = performance.now.bind(performance);
