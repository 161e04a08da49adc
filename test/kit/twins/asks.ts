import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import type { Limit } from '../../../src/algorithms/limit.ts';
import { tokenBucket } from '../../../src/algorithms/token-bucket.ts';
import type { OracleCall } from './oracle.ts';

/** The numbers of one limit, from which the twins' plan and the oracle's limit are both made. */
export interface Spec {
  readonly rate: number;
  readonly periodMs: number;
  readonly burst: number;
  /** Units that may be owed beyond an empty bucket. */
  readonly maxDebt: number;
}

/** What names a limit's state in the identity's home, and the limit. */
export interface Governed {
  readonly id: string;
  readonly spec: Spec;
}

/** One call in the words of a test. */
export interface Ask {
  readonly verb: 'allow' | 'peek' | 'reset';
  readonly key: string;
  readonly cost: number;
  readonly by: readonly Governed[];
}

/** An ask as the twins take it and as the oracle takes it. */
export interface Asked {
  readonly ask: Ask;
  readonly entry: Entry;
  readonly call: OracleCall;
}

const limits = new WeakMap<Spec, Limit>();

/** The limit that the library's users would make of these numbers. */
function limitOf(spec: Spec): Limit {
  let limit = limits.get(spec);
  if (limit === undefined) {
    const { rate, periodMs, burst, maxDebt } = spec;
    limit = tokenBucket({ rate, period: `${periodMs}ms`, burst, maxDebt });
    limits.set(spec, limit);
  }
  return limit;
}

/** Builds calls from asks; those that differ by their identity alone share a shape, as they do in production. */
export class CallBuilder {
  readonly #shapes = new Map<string, Shape>();

  build(ask: Ask): Asked {
    const { verb, key, cost, by } = ask;
    const rules = by.map(({ id, spec }) => ({
      limit: {
        kind: 'bucket' as const,
        rate: BigInt(spec.rate),
        periodUs: BigInt(spec.periodMs) * 1_000n,
        burst: BigInt(spec.burst),
        maxDebt: BigInt(spec.maxDebt),
      },
      home: key,
      id,
      cost: BigInt(cost),
    }));
    const call = { verb, rules };
    return { ask, entry: { key, shape: this.#shapeOf(ask) }, call };
  }

  #shapeOf({ verb, cost, by }: Ask): Shape {
    const numbers = by.map(({ id, spec }) => [id, ...Object.values(spec)].join(','));
    const name = `${verb} ${cost} ${numbers.join(' ')}`;
    let shape = this.#shapes.get(name);
    if (shape === undefined) {
      shape = makeShape(
        verb,
        cost,
        by.map(({ id, spec }) => {
          const limit = limitOf(spec);
          return { limit, plan: limit.plan(cost, 0), suffix: '', id };
        }),
      );
      this.#shapes.set(name, shape);
    }
    return shape;
  }
}
