import { Heap } from '../../base/heap.ts';
import { SeededRandom } from './random.ts';
import type { Arrivals, Traffic } from './traffic.ts';

/** One request of the simulated traffic. */
export interface SimulatedRequest {
  /** Whole milliseconds from the start. */
  readonly atMs: number;
  readonly caller: string;
  /** The index of its traffic. */
  readonly group: number;
  /** The index of the process that gets it. */
  readonly process: number;
}

interface Caller {
  readonly name: string;
  readonly group: number;
  /** Callers of the same instant take turns in the order of their numbers. */
  readonly number: number;
  readonly arrivals: Arrivals;
  at: number;
}

/** What to simulate, and for how long. */
export interface Scenario {
  readonly traffics: readonly Traffic[];
  readonly lengthMs: number;
  readonly processes: number;
  readonly seed: number;
}

/**
 * The requests of all callers in the order of their times. A balancer sends each to a process at random. The same
 * scenario gives the same requests.
 */
export function* requestsOf(scenario: Scenario): Generator<SimulatedRequest> {
  const { traffics, lengthMs, processes, seed } = scenario;
  const random = new SeededRandom(seed);
  const waiting = new Heap<Caller>(isBefore);
  let number = 0;
  for (const [group, { callers, arrivals }] of traffics.entries()) {
    for (let i = 0; i < callers; i++) {
      number += 1;
      // Each caller has random numbers of its own, so that another one beside it changes nothing for it.
      const own = arrivals(new SeededRandom(seed * 1_000_003 + number));
      const name = `caller-${number}`;
      waiting.add({ name, group, number, arrivals: own, at: own.next().value });
    }
  }
  for (let { first } = waiting; first !== undefined && first.at < lengthMs; { first } = waiting) {
    waiting.removeFirst();
    yield {
      atMs: Math.floor(first.at),
      caller: first.name,
      group: first.group,
      process: processes === 1 ? 0 : random.below(processes),
    };
    first.at = first.arrivals.next().value;
    waiting.add(first);
  }
}

function isBefore(a: Caller, b: Caller): boolean {
  return a.at === b.at ? a.number < b.number : a.at < b.at;
}
