/** How many hash tags the keys of a limiter share on a cluster. */
export type TagCount = 16 | 64 | 256;

/**
 * A tag is six octal digits. Each of these sets of digits, instead of zeros, moves the slot of a key by exactly one bit:
 * 8,192, 4,096 … 64 slots, whatever stands before them. For CRC-16 is linear: the checksums of two texts of one length
 * differ by the checksum of their difference, and a digit differs from `0` by its own bits alone. So all tags, each the
 * exclusive or of some of these, are equally far apart in slots.
 */
const STEPS = [0o240571, 0o041764, 0o061010, 0o240717, 0o041657, 0o001104, 0o041320, 0o221743];
const DIGITS = 6;

function tagOf(number: number): string {
  return STEPS.reduce((tag, step, bit) => (((number >> bit) & 1) === 1 ? tag ^ step : tag), 0)
    .toString(8)
    .padStart(DIGITS, '0');
}

/** The hash tags of one limiter's keys, evenly spread over the slots of a cluster. */
export class ClusterTags {
  /** What keys begin with, for any tag: equal for two limiters if their identities share keys. */
  readonly form: string;
  readonly #heads: readonly string[];

  constructor(namespace: string, count: TagCount) {
    const prefix = `{${namespace}:${count}:`;
    this.form = `${prefix}}:`;
    this.#heads = Array.from({ length: count }, (_, number) => `${prefix}${tagOf(number)}}:`);
  }

  /** What the keys of an identity with this digest begin with: its tag, in the only pair of braces. */
  headOf(digest: string): string {
    return this.#heads[Number.parseInt(digest.slice(0, 2), 16) % this.#heads.length]!;
  }
}
