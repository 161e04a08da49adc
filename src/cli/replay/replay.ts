import { Callers, NumberColumn } from '../logs/callers.ts';
import type { LogEntry } from '../logs/entry.ts';
import type { Policy } from './policy.ts';
import { Timeline } from '../kit/timeline.ts';

const MINUTE = 60_000_000;

/** A caller that a policy refused. */
interface RefusedCaller {
  refused: number;
  /** Minutes of the clock in which it was refused. */
  minutes: number;
  lastMinute: number;
  readonly number: number;
}

/** What one policy did. */
export interface PolicyTally {
  readonly policy: Policy;
  refused: number;
  /** Minutes of the clock in which any caller was refused. */
  minutes: number;
  lastMinute: number;
  /** Refusals by limit, those of shadow limits included. */
  readonly byLimit: Map<string, number>;
  /** At most as many as the callers that are counted. */
  readonly callers: Map<string, RefusedCaller>;
}

/** Replays requests, in the order of their times, under several policies side by side. */
export class Replay {
  requests = 0;
  units = 0;
  firstAt = 0;
  lastAt = 0;
  readonly callers: Callers;
  readonly timeline: Timeline;
  readonly tallies: readonly PolicyTally[];
  readonly #requestsOf = new NumberColumn();

  constructor(policies: readonly Policy[], mostCallers: number) {
    this.callers = new Callers(mostCallers);
    this.timeline = new Timeline(policies.length);
    this.tallies = policies.map((policy) => ({
      policy,
      refused: 0,
      minutes: 0,
      lastMinute: -1,
      byLimit: new Map(policy.limits.map(({ name }) => [name, 0])),
      callers: new Map(),
    }));
  }

  async take(batch: readonly LogEntry[]): Promise<void> {
    for (const entry of batch) {
      const { at } = entry;
      this.firstAt = this.requests === 0 ? at : this.firstAt;
      this.lastAt = at;
      this.requests += 1;
      this.units += entry.cost;
      const number = this.callers.number(entry.caller);
      const caller = number < 0 ? entry.caller : this.callers.name(number);
      if (number >= 0) {
        this.#requestsOf.add(number, 1);
      }
      const bucket = this.timeline.at(at);
      bucket.requests += 1;
      for (let i = 0; i < this.tallies.length; i++) {
        const tally = this.tallies[i]!;
        const verdict = tally.policy.decide(entry, caller) ?? (await tally.policy.later());
        for (const name of verdict.by) {
          tally.byLimit.set(name, (tally.byLimit.get(name) ?? 0) + 1);
        }
        if (verdict.refused) {
          bucket.refused[i]! += 1;
          count(tally, caller, number, Math.floor(at / MINUTE));
        }
      }
    }
  }

  /** The callers that a policy refused most, the worst first. */
  worst(tally: PolicyTally, most: number): readonly WorstCaller[] {
    return [...tally.callers]
      .toSorted(([a, one], [b, other]) => other.refused - one.refused || (a < b ? -1 : 1))
      .slice(0, most)
      .map(([caller, { refused, minutes, number }]) => ({
        caller,
        refused,
        minutes,
        requests: this.#requestsOf.get(number),
      }));
  }
}

export interface WorstCaller {
  readonly caller: string;
  readonly requests: number;
  readonly refused: number;
  readonly minutes: number;
}

function count(tally: PolicyTally, caller: string, number: number, minute: number): void {
  tally.refused += 1;
  if (minute !== tally.lastMinute) {
    tally.lastMinute = minute;
    tally.minutes += 1;
  }
  if (number < 0) {
    return;
  }
  let known = tally.callers.get(caller);
  if (known === undefined) {
    known = { refused: 0, minutes: 0, lastMinute: -1, number };
    tally.callers.set(caller, known);
  }
  known.refused += 1;
  if (minute !== known.lastMinute) {
    known.lastMinute = minute;
    known.minutes += 1;
  }
}
