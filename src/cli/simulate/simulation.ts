import type { Decision } from '../../base/decision.ts';
import type { AnyIdentity } from '../../base/identity.ts';
import { RateLimiter } from '../../limiter/rate-limiter.ts';
import { MemoryStore } from '../../stores/memory.ts';
import { ManualClock } from '../../testing/manual-clock.ts';
import { CommandError, UsageError } from '../kit/io.ts';
import { Timeline } from '../kit/timeline.ts';
import { asUsage } from '../limits/policies.ts';
import type { PolicyText } from '../limits/policies.ts';
import { ProcessStore } from './process-store.ts';
import type { SimulatedRequest } from './requests.ts';
import type { Traffic } from './traffic.ts';
import type { Variant } from './variants.ts';

/** More states than this need a machine of their own. */
const MOST_STATES = 10_000_000;

type AnyRateLimiter = RateLimiter<string, string>;

/** The requests of one traffic, and what became of them. */
export interface GroupTally {
  requests: number;
  refused: number;
  readonly refusedCallers: Set<string>;
}

/** The limits of one policy, decided by several processes that share a store. */
export class Contender {
  readonly policy: string;
  readonly variant: string | undefined;
  refused = 0;
  /** The longest wait that a refusal named, in milliseconds. */
  longestWaitMs = 0;
  readonly groups: readonly GroupTally[];
  readonly limiters: readonly AnyRateLimiter[];
  readonly #stores: readonly ProcessStore[];
  /** The parts of an identity that the limits count by; undefined where they count by the whole identity. */
  readonly #parts: readonly string[] | undefined;

  constructor(
    policy: PolicyText,
    variant: Variant,
    traffics: readonly Traffic[],
    processes: number,
    clock: ManualClock,
  ) {
    this.policy = policy.name;
    this.variant = variant.name;
    const shared = new MemoryStore({ clock, maxKeys: MOST_STATES });
    this.#stores = Array.from({ length: processes }, () => new ProcessStore(shared));
    this.limiters = this.#stores.map((store) =>
      asUsage(policy, () => {
        // A refusal of the store must not pass for a decision of the limits.
        const options = { ...policy.options, ...variant.options, store, failStrategy: 'throw' };
        return new RateLimiter(options as never) as unknown as AnyRateLimiter;
      }),
    );
    const { limits } = this.limiters[0]!;
    if (limits.some(({ algorithm }) => algorithm === 'concurrency')) {
      throw new UsageError(
        `the limits '${policy.name}' have a concurrency limit: simulated requests take no time. Leave it out.`,
      );
    }
    this.#parts = limits.some(({ by }) => by !== undefined)
      ? [...new Set(limits.flatMap(({ by = [] }) => by))]
      : undefined;
    this.groups = traffics.map(() => ({ requests: 0, refused: 0, refusedCallers: new Set() }));
  }

  get name(): string {
    return this.variant === undefined ? this.policy : `${this.policy}, ${this.variant}`;
  }

  /** Calls that reached the store; the others were decided by a process alone. */
  get storeCalls(): number {
    return this.#stores.reduce((sum, { calls }) => sum + calls, 0);
  }

  /** Lets the request's process decide, as `allow` does. */
  async decide(request: SimulatedRequest, cost: unknown): Promise<Decision> {
    const { caller, group, process } = request;
    const limiter = this.limiters[process]!;
    // Where limits count by parts, each caller is alone in each part.
    const identity: AnyIdentity =
      this.#parts === undefined
        ? caller
        : Object.fromEntries(this.#parts.map((part) => [part, caller]));
    const decision = await limiter.allow(identity, (cost === undefined ? {} : { cost }) as never);
    const tally = this.groups[group]!;
    tally.requests += 1;
    if (!decision.allowed) {
      this.refused += 1;
      tally.refused += 1;
      tally.refusedCallers.add(caller);
      const wait = 'retryAfterMs' in decision ? decision.retryAfterMs : undefined;
      if (wait !== undefined && Number.isFinite(wait)) {
        this.longestWaitMs = Math.max(this.longestWaitMs, wait);
      }
    }
    return decision;
  }
}

/** Decides the same requests under several policies, each with states of its own, on one clock. */
export class Simulation {
  requests = 0;
  readonly contenders: readonly Contender[];
  readonly timeline: Timeline;
  readonly startMs: number;
  readonly #clock = new ManualClock();

  constructor(
    policies: readonly PolicyText[],
    variants: readonly Variant[],
    traffics: readonly Traffic[],
    processes: number,
  ) {
    this.startMs = this.#clock.now();
    this.contenders = policies.flatMap((policy) =>
      variants.map((variant) => new Contender(policy, variant, traffics, processes, this.#clock)),
    );
    this.timeline = new Timeline(this.contenders.length);
  }

  async take(request: SimulatedRequest, costs: readonly unknown[]): Promise<readonly Decision[]> {
    const at = this.startMs + request.atMs;
    if (at !== this.#clock.now()) {
      this.#clock.set(at);
    }
    this.requests += 1;
    const bucket = this.timeline.at(at * 1_000);
    bucket.requests += 1;
    const decisions: Decision[] = [];
    for (const [i, contender] of this.contenders.entries()) {
      const decision = await contender.decide(request, costs[i]).catch((error: unknown) => {
        throw new CommandError(`${contender.name}: ${(error as Error).message}`);
      });
      bucket.refused[i]! += decision.allowed ? 0 : 1;
      decisions.push(decision);
    }
    return decisions;
  }
}
