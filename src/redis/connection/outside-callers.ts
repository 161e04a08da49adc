import { AsyncResource } from 'node:async_hooks';

const outside = new AsyncResource('distributed-rate-limiter');

/** Runs this outside any caller's async context, so that no timer or socket keeps a context alive. */
export function outsideCallers(run: () => void): void {
  outside.runInAsyncScope(run);
}
