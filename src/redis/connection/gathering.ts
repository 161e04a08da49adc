import { monotonicMs, nextTick, setImmediate } from '../../base/timers.ts';
import { makeBatch } from './batch.ts';
import type { Starter } from './batch.ts';
import type { Lane } from './lane.ts';
import { outsideCallers } from './outside-callers.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Script } from './script.ts';

/** Average calls per flush up to which the next call is sent at once, without waiting for others. */
const LONE_CALL_THRESHOLD = 1.5;
/** Weight of the last flush in that average. */
const LAST_FLUSH_WEIGHT = 1 / 8;

/** Gathers the calls of one turn of the event loop into batches: of one lane, one slot, one deadline and one kind each. */
export class Gathering<C extends QueuedCall> {
  readonly #script: Script<C>;
  readonly #starter: Starter<C>;
  /** Lanes with queued calls. */
  readonly #dirty = new Set<Lane<C>>();
  #flushScheduled = false;
  /** Moving average of calls per flush. */
  #averageFlush = 1;

  /** The starter is handed each batch, outside any caller's async context. */
  constructor(script: Script<C>, starter: Starter<C>) {
    this.#script = script;
    this.#starter = starter;
  }

  /** Queues a call until the flush. `isLone`: no other call is in flight. */
  add(lane: Lane<C>, slot: number, call: C, isLone: boolean): void {
    lane.enqueue(slot, call);
    this.#dirty.add(lane);
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      // A lone call does not wait for others that the sockets of this poll may bring. Under load it must wait: the first
      // call of a poll would leave the others behind and cost a script call of its own.
      if (isLone && this.#averageFlush <= LONE_CALL_THRESHOLD) {
        nextTick(this.#flush);
      } else {
        setImmediate(this.#flush);
      }
    }
  }

  readonly #flush = (): void => {
    outsideCallers(() => this.#startQueued());
  };

  #startQueued(): void {
    this.#flushScheduled = false;
    // A copy, because a hook that is called for a failure may make a call meanwhile.
    const lanes = [...this.#dirty];
    this.#dirty.clear();
    let flushed = 0;
    for (const lane of lanes) {
      for (const [slot, calls] of lane.takeQueue()) {
        flushed += calls.length;
        this.#startBatches(lane, slot, calls);
      }
    }
    this.#averageFlush += LAST_FLUSH_WEIGHT * (flushed - this.#averageFlush);
  }

  #startBatches(lane: Lane<C>, slot: number, calls: readonly C[]): void {
    // Deadlines start here, not when the call was made. This process spent the time between, and a blocked event loop
    // must not look like an outage.
    const now = monotonicMs();
    for (const mine of alike(calls, lane.keepsApart(slot))) {
      for (let from = 0; from < mine.length;) {
        const encoded = this.#script.encode(mine, from);
        const taken = mine.slice(from, from + encoded.taken);
        this.#starter.start(makeBatch(lane, slot, taken, encoded, now));
        from += encoded.taken;
      }
    }
  }
}

/**
 * Groups calls by deadline and kind, in their order: all calls of a batch have one deadline and are of one kind.
 * `byKey`: and are of one identity.
 */
function alike<C extends QueuedCall>(calls: readonly C[], byKey: boolean): Iterable<readonly C[]> {
  const first = calls[0];
  if (
    !byKey &&
    calls.every(
      ({ timeoutMs, isApart }) => timeoutMs === first?.timeoutMs && isApart === first.isApart,
    )
  ) {
    return [calls];
  }
  const groups = new Map<number | string, C[]>();
  for (const call of calls) {
    // Deadlines are positive.
    const deadline = call.isApart === true ? -call.timeoutMs : call.timeoutMs;
    const kind = byKey ? `${deadline} ${call.key}` : deadline;
    const group = groups.get(kind);
    if (group === undefined) {
      groups.set(kind, [call]);
    } else {
      group.push(call);
    }
  }
  return groups.values();
}
