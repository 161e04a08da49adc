import { fixedWindow, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { makeShape } from '../../../src/script/call-shape.ts';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import type { Asked } from './asked.mjs';
import type { ToldCall } from './history.recorder.mjs';

/** The driver asks a limit only for its twin and whether it is a shadow. Its numbers are in the plan. */
const limitsByAlgorithm: Record<string, Limit> = {
  token_bucket: tokenBucket({ rate: 1, period: '1s' }),
  sliding_window: slidingWindow({ rate: 1, period: '1s' }),
  fixed_window: fixedWindow({ rate: 1, period: '1s' }),
};

const shapes = new Map<string, Shape>();

/** The shape that a process reported: one object for all equal calls. */
export function shapeAsked(asked: Asked): Shape {
  const name = JSON.stringify(asked);
  let shape = shapes.get(name);
  if (shape === undefined) {
    const { verb, units, told, rules } = asked;
    shape = makeShape(
      verb,
      units,
      rules.map((rule) => ({ ...rule, limit: limitsByAlgorithm[rule.plan.args[0]!]! })),
      units,
      told,
    );
    shapes.set(name, shape);
  }
  return shape;
}

/** The calls of a script call that a process told of; `told` are its shapes, in order. */
export function entriesTold(calls: readonly ToldCall[], told: readonly Shape[]): Entry[] {
  return calls.map(([key, place, own]) => ({ key, shape: told[place]!, ...own }));
}
