import { decide } from '../../../src/script/decide.ts';
import { makeShape, UNNAMED_BUCKET } from '../../../src/script/call-shape.ts';
import type { Rule, Shape, Verb } from '../../../src/script/call-shape.ts';
import type { Limit } from '../../../src/algorithms/limit.ts';
import { topOf } from '../../../src/algorithms/bucket-lines.ts';
import { unitsWithin } from '../../../src/algorithms/recovery.ts';
import { tokenBucketTwin } from '../../../src/algorithms/token-bucket.ts';
import type { OwnNumbers, TokenBucketPlan } from '../../../src/algorithms/bucket-lines.ts';
import { FakeClient } from './fake-client.ts';
import type { Send } from './fake-client.ts';

/**
 * A server and its client in one object, without a network. It reads the decision script's arguments and answers with
 * the TypeScript twin. It keeps every send, in order.
 */
export class FakeRedis extends FakeClient {
  readonly sends: Send[] = [];
  readonly values = new Map<string, string>();
  nowMicros = 1_767_225_600_000_000;
  /**
   * Replaces the answer to a send: its result is the reply, an error that it throws is the rejection. Default: the
   * decision.
   */
  respond: (send: Send) => unknown = (send) => this.run(send);

  protected receive(send: Send): Promise<unknown> {
    this.sends.push(send);
    return new Promise((resolve) => {
      resolve(this.respond(send));
    });
  }

  /** What the script would answer. */
  run({ keys, args }: Send): (number | string)[] {
    const { shapes, runs } = readArguments(args, keys.length);
    let at = 0;
    const entries = runs.flatMap(({ shape, groups, times }) =>
      Array.from({ length: groups }, () => {
        const mine = keys.slice(at, (at += shape.rules.length));
        return Array.from({ length: times }, () => ({ key: mine.join(), shape }));
      }).flat(),
    );
    if (at !== keys.length || shapes.length === 0) {
      throw new Error(`the arguments do not account for ${keys.length} keys`);
    }
    return decide(entries, this.nowMicros, {
      read: (key) => this.values.get(key),
      write: (key, saved) => {
        if (saved === undefined) this.values.delete(key);
        else this.values.set(key, saved.value as string);
      },
    });
  }
}

/** A promise that never settles, for `respond`. */
export const silence = (): Promise<never> => new Promise<never>(() => {});

/** Counts the entries of a send: in each run, groups times entries per group. */
export function entriesOf({ args, keys }: Send): number {
  return readArguments(args, keys.length).runs.reduce(
    (sum, { groups, times }) => sum + groups * times,
    0,
  );
}

interface Run {
  readonly shape: Shape;
  readonly groups: number;
  readonly times: number;
}

/** Reads arguments as lone-path.lua, home-path.lua and decide.lua do. Supports shapes of one limit only. */
function readArguments(args: readonly string[], keys: number): { shapes: Shape[]; runs: Run[] } {
  if (args.length === 1) {
    const numbers = args[0]!.split(' ');
    const times = Number(numbers.pop());
    const shape = makeShape('allow', 1, [ruleOf(numbers.map(Number))]);
    return { shapes: [shape], runs: [{ shape, groups: keys, times }] };
  }
  if (args[0]!.startsWith('home')) {
    const [, times, ...shape] = args;
    return readArguments(['1', ...shape, '1', String(keys), times!], keys);
  }
  let at = 0;
  const next = (): string => args[at++] ?? 'missing';
  const shapes = Array.from({ length: Number(next()) }, () => {
    const verb = next() as Verb;
    const units = Number(next());
    const read = Array.from({ length: 7 }, next).join(' ');
    if (read !== `0 1 1 0 1 ${UNNAMED_BUCKET} token_bucket`) {
      throw new Error('this server decides one token bucket per call');
    }
    let beside: OwnNumbers | undefined;
    if (args[at] === 'beside') {
      const [, own, ownP, ownUnits, ownDebt] = Array.from({ length: 5 }, () => Number(next()));
      const label = { n: own!, p: ownP!, units: ownUnits!, debt: ownDebt! };
      beside = { ...label, top: topOf(label) };
    }
    const numbers = Array.from({ length: 8 }, () => Number(next()));
    return makeShape(verb, units, [ruleOf(numbers, beside)]);
  });
  const runs: Run[] = [];
  while (at < args.length) {
    const shape = shapes[Number(next()) - 1]!;
    runs.push({ shape, groups: Number(next()), times: Number(next()) });
  }
  return { shapes, runs };
}

/** The driver reads only the twin of a limit. */
function ruleOf(numbers: readonly number[], beside?: OwnNumbers): Rule {
  const [n, p, burst, burstRem, ceiling, ceilingRem, price, priceRem] = numbers as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const spacing = { p, n };
  const units = unitsWithin(burst, burstRem, spacing);
  const label = { p, n, units, debt: unitsWithin(ceiling, ceilingRem, spacing) - units };
  const plan: TokenBucketPlan = {
    ...label,
    cost: unitsWithin(price, priceRem, spacing),
    width: n > 1 ? 2 : 1,
    args: [],
    top: topOf(label),
    burst: { int: burst, rem: burstRem },
    ceiling: { int: ceiling, rem: ceilingRem },
    price: { int: price, rem: priceRem },
    beside,
  };
  const limit = { twin: tokenBucketTwin, shadow: false } as unknown as Limit;
  return { limit, plan, suffix: '', id: UNNAMED_BUCKET };
}
