import type { Clock } from '../base/clock.ts';
import { ClockAnchors } from './clock-anchor.ts';

const wallMs = Date.now;

/** How far this process's wall clock leads `realTime`, which shows `own`, in milliseconds, even under fake timers. */
export function realLead(own: number): number {
  return wallMs() - own / 1_000;
}

/** Sees each call of every limiter on a connection, in the order in which they are made. */
export interface CallWatcher<C> {
  /** May set `ended` of the call, and must then call the one that was set before. */
  submitted(call: C): void;
}

/**
 * What this process can know of one connection's states without asking: the server's clock, and its own calls. Made when
 * the first limiter decides by it, so that no other connection pays for it.
 */
export class LocalView<C> {
  readonly anchors: ClockAnchors;
  /** Whether calls were under way when this view was made, which no watcher has seen. */
  readonly isLate: boolean;
  readonly #watchers: CallWatcher<C>[] = [];

  constructor(own: Clock, lead: (own: number) => number, isLate: boolean) {
    this.anchors = new ClockAnchors(own, lead);
    this.isLate = isLate;
  }

  watch(watcher: CallWatcher<C>): void {
    this.#watchers.push(watcher);
  }

  submitted(call: C): void {
    for (const watcher of this.#watchers) {
      watcher.submitted(call);
    }
  }
}
