// @ts-check
import { fixedWindow, slidingWindow, tokenBucket } from './built.mjs';

/**
 * Describes the calls of a worker process in a form that can be sent to another process.
 *
 * @typedef {import('../../../src/index.ts').TokenBucketOptions & { algorithm?: 'slidingWindow' | 'fixedWindow' }} Numbers
 * @typedef {import('../../../src/script/call-shape.ts').Shape} Shape
 *
 * @typedef {object} Asked a shape, by what it can be made again from
 * @property {Shape['verb']} verb
 * @property {number} units
 * @property {Shape['told']} told
 * @property {Pick<Shape['rules'][number], 'plan' | 'suffix' | 'id' | 'home' | 'units'>[]} rules
 */

/** @param {Numbers} numbers */
export function limitOf({ algorithm, ...numbers }) {
  return algorithm === undefined
    ? tokenBucket(numbers)
    : { slidingWindow, fixedWindow }[algorithm](numbers);
}

/** @param {Shape} shape @returns {Asked} */
function askedBy({ verb, units, told, rules }) {
  return {
    verb,
    units,
    told,
    rules: rules.map(({ plan, suffix, id, home, units: own }) => ({
      plan,
      suffix,
      id,
      ...(home === undefined ? {} : { home }),
      ...(own === undefined ? {} : { units: own }),
    })),
  };
}

/** Numbers the shapes, and reports each new one. */
export class Shapes {
  /** @type {Map<Shape, number>} */
  #places = new Map();
  /** @type {(asked: Asked) => void} */
  #tell;

  /** @param {(asked: Asked) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {Shape} shape */
  placeOf(shape) {
    const known = this.#places.get(shape);
    if (known !== undefined) return known;
    this.#places.set(shape, this.#places.size);
    this.#tell(askedBy(shape));
    return this.#places.size - 1;
  }
}
