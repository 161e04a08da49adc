import { shapeOf } from './algorithms/decide.ts';
import type { Ask, Shape } from './algorithms/decide.ts';
import { Limit, UNNAMED } from './algorithms/limit.ts';
import { invalidOption, RateLimiterError, show } from './errors.ts';

const MAX_LIMITS = 16;
/** Costs beyond this many are planned anew at each call, so that costs taken from requests hold no memory. */
const MAX_PLANNED_COSTS = 64;

/** What is asked of the limits: to charge, to look, or to forget. */
export type Operation = 'allow' | 'peek' | 'reset';

/** The limits that govern one call, all or nothing, and the keys of their states. */
export class LimitSet {
  readonly limits: readonly Limit[];
  /** The greatest cost that can pass all that are enforced; Infinity where none is. */
  readonly maxCost: number;
  /** What stands before the identity's digest in the key of the unnamed limit, or in what stands for that key. */
  readonly keyPrefix: string;
  readonly #planned: Record<Operation, Map<number, Shape>> = {
    allow: new Map(),
    peek: new Map(),
    reset: new Map(),
  };
  /** Unix ms until which what is planned holds. */
  #until = Number.POSITIVE_INFINITY;

  constructor(namespace: string, limits: unknown) {
    this.limits = readLimits(limits);
    this.maxCost = Math.min(
      ...this.limits.filter(({ shadow }) => !shadow).map(({ capacity }) => capacity),
    );
    const unnamed = this.limits.find(({ name }) => name === UNNAMED);
    this.keyPrefix = `${namespace}:${unnamed === undefined ? 'limits' : unnamed.algorithm}:`;
  }

  shape(operation: Operation, cost: number): Shape {
    if (this.#until !== Number.POSITIVE_INFINITY && Date.now() >= this.#until) {
      this.#forgetPlans();
    }
    const planned = this.#planned[operation];
    let shape = planned.get(cost);
    if (shape === undefined) {
      shape = this.#plan(operation, cost);
      if (planned.size < MAX_PLANNED_COSTS) {
        planned.set(cost, shape);
      }
    }
    return shape;
  }

  #plan(operation: Operation, cost: number): Shape {
    const nowMs = Date.now();
    return shapeOf(
      this.limits.map((limit) => {
        const plan = limit.plan(cost, nowMs);
        this.#until = Math.min(this.#until, plan.until ?? this.#until);
        return { limit, plan, ask: ASKS[operation][limit.shadow ? 1 : 0], suffix: suffixOf(limit) };
      }),
    );
  }

  #forgetPlans(): void {
    this.#until = Number.POSITIVE_INFINITY;
    for (const planned of Object.values(this.#planned)) {
      planned.clear();
    }
  }
}

/** What an operation asks of a limit that is enforced, and of one that is not. */
const ASKS: Readonly<Record<Operation, readonly [Ask, Ask]>> = {
  allow: ['charge', 'shadow'],
  peek: ['peek', 'shadow_peek'],
  reset: ['reset', 'reset'],
};

/** What follows the identity's key, in braces, in this limit's key: so both are in one slot of a cluster. */
export function suffixOf({ name, algorithm }: Limit): string {
  return name === UNNAMED ? '' : `/${name}:${algorithm}`;
}

function readLimits(limits: unknown): readonly Limit[] {
  if (!Array.isArray(limits) || limits.length < 1 || limits.length > MAX_LIMITS) {
    throw invalidOption(
      'limits',
      `an array of 1 to ${MAX_LIMITS} limits`,
      limits,
      'Pass limits made by tokenBucket({ rate, period }).',
    );
  }
  const names = new Set<string>();
  for (const limit of limits) {
    if (!(limit instanceof Limit)) {
      throw invalidOption(
        'limits',
        'made of limits',
        limit,
        'Make each with tokenBucket({ rate, period }).',
      );
    }
    if (names.has(limit.name)) {
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        limit.name === UNNAMED
          ? '`limits` must have at most one limit without a name, got two. Give each a `name`.'
          : `\`limits\` must have different names, got ${show(limit.name)} twice. Rename one.`,
      );
    }
    names.add(limit.name);
  }
  return [...(limits as Limit[])];
}
