import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import type { Decision, DecisionSource, FailStrategy } from '../base/decision.ts';
import type { StoreError } from '../base/errors.ts';
import { LimitCounts } from './limit-counts.ts';
import { HeldLeases } from './held-leases.ts';
import { labelOf } from './stats.ts';
import type { LimiterStats, LimitStats, Outcome, ReasonCounts } from './stats.ts';

/** A limit of a call, with the object that counts its decisions. */
interface Counted {
  readonly counts?: LimitCounts;
}

/** Counts a limiter's decisions, always. A decision only increments integers, and allocates nothing. */
export class LimiterCounts {
  readonly heldLeases: HeldLeases;
  readonly #namespace: string;
  readonly #failStrategy: FailStrategy;
  impossible = 0;
  unlimited = 0;
  /** Decisions by slices and by remembered refusals; each is counted by `decided` too. */
  slice = 0;
  denyCache = 0;
  /** Set by a limiter that prepays. */
  prepaid: { charged: number; spent: number } | undefined;
  #unlimitedByStore = 0;
  #withinLimit = 0;
  #limited = 0;
  #blocked = 0;
  #timeout = 0;
  #away = 0;
  #error = 0;
  #overloaded = 0;
  readonly #limits = new Map<string, LimitCounts>();

  /** `time` is the store's clock, by which leases expire. */
  constructor(namespace: string, failStrategy: FailStrategy, time: Clock = systemClock) {
    this.heldLeases = new HeldLeases(time);
    this.#namespace = namespace;
    this.#failStrategy = failStrategy;
  }

  /** `unit`: what the limit counts, in a limiter with units. */
  limit(name: string, lends: boolean, mayBan: boolean, unit?: string): LimitCounts {
    const known = labelOf(this.#limits, name); // limits at call time may have any names
    let counts = this.#limits.get(known);
    if (counts === undefined) {
      counts = new LimitCounts();
      this.#limits.set(known, counts);
    }
    counts.lends ||= lends;
    counts.mayBan ||= mayBan;
    counts.unit = unit;
    return counts;
  }

  /** Counts a decision of the store, or by what it said, under these rules; a block's rule comes after those of its limits. */
  decided({ allowed, reason, limits }: Decision, rules: readonly Counted[]): void {
    if (reason === 'unlimited') {
      this.#unlimitedByStore += 1;
    } else if (allowed) {
      this.#withinLimit += 1;
    } else if (reason === 'limited') {
      this.#limited += 1;
    } else {
      this.#blocked += 1;
    }
    for (let i = 0; i < limits.length; i++) {
      const counts = rules[i]!.counts;
      if (counts === undefined) {
        continue;
      }
      const state = limits[i]!;
      const { refused, shadow, remaining = 0, limit } = state;
      if (!refused) {
        counts.allowed += 1;
        if (allowed && remaining * 5 <= limit) {
          counts.nearLimit += 1;
        }
      } else if (shadow) {
        counts.shadowRefused += 1;
        counts.shadowBans += isBan(state) ? 1 : 0;
      } else {
        counts.refused += 1;
        counts.bans += isBan(state) ? 1 : 0;
      }
    }
  }

  /** Counts a decision for which the store was not asked: because of an earlier error, or under no limit. */
  alone(error: StoreError | undefined): void {
    if (error === undefined) {
      this.unlimited += 1;
    } else {
      this.degraded(error);
    }
  }

  /** Counts a decision made without the store. */
  degraded({ reason }: StoreError): void {
    switch (reason) {
      case 'store_timeout':
        this.#timeout += 1;
        break;
      case 'store_away':
        this.#away += 1;
        break;
      case 'store_error':
        this.#error += 1;
        break;
      case 'overloaded':
        this.#overloaded += 1;
        break;
    }
  }

  stats(): LimiterStats {
    const degraded: ReasonCounts = {
      store_timeout: this.#timeout,
      store_away: this.#away,
      store_error: this.#error,
      overloaded: this.#overloaded,
    };
    const decisions: Record<Outcome, ReasonCounts> = {
      allowed: {
        within_limit: this.#withinLimit,
        unlimited: this.unlimited + this.#unlimitedByStore,
      },
      refused: { limited: this.#limited, blocked: this.#blocked, impossible: this.impossible },
      rejected: {},
    };
    const outcome = ({ open: 'allowed', closed: 'refused', throw: 'rejected' } as const)[
      this.#failStrategy
    ];
    decisions[outcome] = { ...decisions[outcome], ...degraded };
    for (const counts of Object.values(decisions)) {
      Object.freeze(counts);
    }
    const decided = this.#withinLimit + this.#limited + this.#blocked + this.#unlimitedByStore;
    const undecided = this.#timeout + this.#away + this.#error + this.#overloaded;
    const sources: Record<DecisionSource, number> = {
      store: decided - this.slice - this.denyCache,
      slice: this.slice,
      deny_cache: this.denyCache,
      none: this.unlimited + this.impossible + undecided,
    };
    this.heldLeases.sweep();
    const limits = [...this.#limits].map(([name, counts]) => [name, limitStats(counts)] as const);
    return Object.freeze({
      namespace: this.#namespace,
      decisions: Object.freeze(decisions),
      sources: Object.freeze(sources),
      ...(this.prepaid === undefined ? {} : { prepaid: Object.freeze({ ...this.prepaid }) }),
      limits: Object.freeze(Object.fromEntries(limits)),
    });
  }
}

function isBan(state: Decision['limits'][number]): boolean {
  return 'bannedForMs' in state;
}

function limitStats({
  lends,
  leasesHeld,
  mayBan,
  bans,
  shadowBans,
  unit,
  ...counts
}: LimitCounts): LimitStats {
  return Object.freeze({
    ...(unit === undefined ? {} : { unit }),
    ...counts,
    ...(mayBan ? { bans, shadowBans } : {}),
    ...(lends ? { leasesHeld } : {}),
  });
}
