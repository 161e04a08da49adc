/**
 * Random choices of tests, all from one seed. There are two ways to use them:
 *
 * - `check` states a property of random inputs. It shrinks a failing case: it removes steps and lowers numbers for as
 *   long as the case still fails, and shows the rest. Use it wherever a case depends on its choices alone.
 * - `new Random(seed)` only chooses. Use it where no run repeats another: several processes, faults while calls are in
 *   flight, load over time. The test prints `seed` when it fails.
 *
 * Scripts outside test/ use `Math.random`, because nothing repeats their runs.
 *
 * `DRL_SEED` is the seed: a whole number, or `random` for a new seed, which is printed. By default each run has the
 * same seed, so that a change never fails for an older fault; the long run looks for those.
 */
import { randomInt } from 'node:crypto';
import process from 'node:process';
import { inspect } from 'node:util';

/**
 * The choices of a case, in order. A choice is a number, 0 the simplest; a loop is a list with the choices of each
 * step.
 *
 * @typedef {(number | Tape[])[]} Tape
 */

/** @typedef {(random: Random, at: number) => void | Promise<void>} Property `at` is the seed of the case */

/**
 * @typedef {object} Run
 * @property {number} [cases] how many; without it, `until` says when there are enough
 * @property {() => boolean} [until]
 * @property {number} [atOnce] cases that run side by side: 1 unless they wait for a server
 * @property {() => Promise<unknown>} [before] clears what earlier cases have left, before the cases that run side by side
 */

/** Shrinking stops after this time, before any test's timeout. */
const SHRINK_MS = 8_000;

/**
 * How many cases a long random test runs: all, or the part that `DRL_SHARE` says. `npm run test:unit` runs a
 * tenth, `npm test` half, `npm run test:all` all.
 *
 * @param {number} all
 */
export function casesOf(all) {
  return Math.ceil(all * share());
}

/**
 * Versions and places of one framework, each of which passes the whole contract. `npm run test:unit` tries the first.
 *
 * @template T
 * @param {readonly T[]} all
 * @returns {readonly T[]}
 */
export function variantsOf(all) {
  return share() < 0.5 ? all.slice(0, 1) : all;
}

function share() {
  return Number(process.env['DRL_SHARE'] ?? 1);
}

/** The seed of this run. @type {number} */
export const seed = seedFrom(process.env['DRL_SEED'] ?? '20260101');

/** @param {string} given */
function seedFrom(given) {
  if (given !== 'random') return Number(given);
  const found = randomInt(2 ** 31);
  console.log(`DRL_SEED=${found}`);
  return found;
}

/**
 * Random choices that a seed repeats exactly. Not for secrets.
 *
 * @example
 * const random = new Random(7);
 * random.int(1, 6); // the same roll in every run
 */
export class Random {
  /** State of sfc32: a small generator that passes the usual batteries of tests. */
  #a = 0x9e3779b9;
  #b = 0x243f6a88;
  /** @type {number} */
  #c;
  #counter = 1;
  /** @type {Recorder | undefined} */
  #recorder;

  /**
   * @param {number} start a whole number; only its lowest 32 bits count
   * @param {Recorder} [recorder] of `check`
   */
  constructor(start, recorder) {
    this.#c = start | 0;
    this.#recorder = recorder;
    for (let i = 0; i < 15; i++) {
      this.#next();
    }
  }

  /**
   * A whole number from `min` to `max`, both included. Their distance is at most 2^53 - 2. The simplest is the nearest
   * to 0.
   *
   * @param {number} min
   * @param {number} max
   */
  int(min, max) {
    const choice = this.#choose(max - min + 1);
    if (min >= 0) return this.#shown(min + choice);
    if (max <= 0) return this.#shown(max - choice);
    return this.#shown(choice <= max ? choice : max - choice);
  }

  /**
   * A whole number from `min` (at least 1) to `max`, each order of magnitude as likely as any other.
   *
   * @param {number} min
   * @param {number} max
   */
  magnitude(min, max) {
    const exact = min * (max / min) ** (this.#choose(1_000_001) / 1_000_000);
    return this.#shown(Math.min(max, Math.max(min, Math.round(exact))));
  }

  /** From 0 to less than 1, in millionths. */
  fraction() {
    return this.#shown(this.#choose(1_000_000) / 1_000_000);
  }

  /** True in `percent` of 100 cases. False is the simplest. @param {number} percent */
  chance(percent) {
    return this.#shown(this.#choose(100) >= 100 - percent);
  }

  /**
   * Picks one of several values. The first is the simplest.
   *
   * @template T
   * @param {readonly T[]} choices
   * @returns {T}
   */
  pick(choices) {
    return this.#shown(/** @type {T} */ (choices[this.#choose(choices.length)]));
  }

  /**
   * Shuffles the values. The given order is the simplest.
   *
   * @template T
   * @param {readonly T[]} values
   * @returns {T[]}
   */
  shuffle(values) {
    const rest = [...values];
    return values.map(() => {
      const [next] = rest.splice(this.#choose(rest.length), 1);
      return this.#shown(/** @type {T} */ (next));
    });
  }

  /**
   * Makes `min` to `max` items. Shrinking removes items, each with all choices made for it.
   *
   * @template T
   * @param {number} min
   * @param {number} max
   * @param {(i: number) => T} item
   * @returns {T[]}
   */
  list(min, max, item) {
    const count = min + this.#draw(max - min + 1);
    const items = [];
    for (const i of this.#rounds('list', min, count, max)) items.push(item(i));
    return items;
  }

  /**
   * Yields the numbers 0, 1, … for a loop that chooses in each round: `least` to `most` rounds, or exactly `least`.
   * Shrinking removes rounds, each with all choices made in it. The rounds must follow one another.
   *
   * @param {number} least
   * @param {number} [most]
   */
  steps(least, most) {
    if (most === undefined) return this.#rounds('step', 0, least, least);
    return this.#rounds('step', least, least + this.#draw(most - least + 1), most);
  }

  /**
   * Shows a value in a counterexample, in place of the choices that led to it.
   *
   * @param {string} name
   * @param {unknown} value
   */
  note(name, value) {
    this.#recorder?.note(name, value);
  }

  /** @param {'list' | 'step'} kind @param {number} min @param {number} count @param {number} max */
  *#rounds(kind, min, count, max) {
    if (this.#recorder !== undefined) {
      yield* this.#recorder.rounds(kind, min, count, max);
      return;
    }
    for (let i = 0; i < count; i++) yield i;
  }

  /** @param {number} count of the choices */
  #choose(count) {
    const drawn = this.#draw(count);
    return this.#recorder === undefined ? drawn : this.#recorder.choose(drawn, count);
  }

  /** @template T @param {T} value @returns {T} */
  #shown(value) {
    this.#recorder?.show(value);
    return value;
  }

  /** @param {number} count */
  #draw(count) {
    const bits53 = (this.#next() >>> 5) * 2 ** 26 + (this.#next() >>> 6);
    return bits53 % count;
  }

  #next() {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum;
  }
}

/**
 * Records the choices of a case. With a tape, the case repeats the tape's choices, and makes the simplest ones after
 * its end.
 */
class Recorder {
  /** @type {Tape} */
  tape = [];
  /** @type {Line[]} */
  lines = [];
  /** @type {Tape | undefined} */
  #replayed;
  #at = 0;
  #shows;

  /** @param {Tape} [replayed] @param {boolean} [shows] */
  constructor(replayed, shows = false) {
    this.#replayed = replayed;
    this.#shows = shows;
  }

  /** @param {number} drawn @param {number} count */
  choose(drawn, count) {
    const next = this.#replayed?.[this.#at++];
    const simplest = this.#replayed === undefined ? drawn : 0;
    const choice = typeof next === 'number' ? Math.min(next, count - 1) : simplest;
    this.tape.push(choice);
    return choice;
  }

  /** @param {'list' | 'step'} kind @param {number} min @param {number} drawn @param {number} max */
  *rounds(kind, min, drawn, max) {
    const [outer, lines, replayed] = [this.tape, this.lines, this.#replayed];
    const next = replayed?.[this.#at++];
    const from = Array.isArray(next) ? next : [];
    const at = this.#at;
    const count = replayed === undefined ? drawn : Math.min(max, Math.max(min, from.length));
    /** @type {Tape[]} */
    const tapes = [];
    /** @type {Line[][]} */
    const shown = [];
    outer.push(tapes);
    lines.push({ kind, rounds: shown });
    try {
      for (let i = 0; i < count; i++) {
        tapes.push((this.tape = []));
        shown.push((this.lines = []));
        this.#replayed = replayed && (from[i] ?? []);
        this.#at = 0;
        yield i;
      }
    } finally {
      [this.tape, this.lines, this.#replayed, this.#at] = [outer, lines, replayed, at];
    }
  }

  /** @param {unknown} value */
  show(value) {
    if (this.#shows) this.lines.push({ kind: 'choice', text: inspected(value) });
  }

  /** @param {string} name @param {unknown} value */
  note(name, value) {
    if (this.#shows) this.lines.push({ kind: 'note', text: `${name}: ${inspected(value)}` });
  }
}

/**
 * @typedef {{ kind: 'choice', text: string }
 *   | { kind: 'note', text: string }
 *   | { kind: 'list', rounds: Line[][] }
 *   | { kind: 'step', rounds: Line[][] }} Line
 */

/** @param {unknown} value */
function inspected(value) {
  return inspect(value, { depth: 5, breakLength: 100, maxStringLength: 1_000 });
}

/** @param {readonly Line[]} lines @param {string} indent @returns {string} */
function rendered(lines, indent) {
  const noted = lines.some(({ kind }) => kind === 'note');
  /** @type {string[]} */
  const rows = [];
  /** @type {string[]} */
  let choices = [];
  const endRow = () => {
    if (choices.length > 0 && !noted) rows.push(choices.join(', '));
    choices = [];
  };
  for (const line of lines) {
    if (line.kind === 'choice') {
      choices.push(line.text);
    } else if (line.kind === 'note') {
      endRow();
      rows.push(line.text.replaceAll('\n', `\n${indent}`));
    } else if (line.kind === 'list') {
      choices.push(`[${line.rounds.map((round) => rendered(round, indent)).join('; ')}]`);
    } else {
      endRow();
      rows.push(...line.rounds.map((round, i) => `step ${i}: ${rendered(round, `${indent}  `)}`));
    }
  }
  endRow();
  return rows.join(`\n${indent}`);
}

/**
 * Runs a property on random cases: the first with the seed itself, each other with the next seed. Throws the error of
 * the first case that fails, shrunk, with its choices and the seed that repeats it.
 *
 * @param {number | Run} run the number of cases, or more about them
 * @param {Property} property throws where it does not hold
 *
 * @example
 * await check(1_000, (random) => {
 *   const limit = random.int(1, 20);
 *   for (const _ of random.steps(1, 40)) expect(used(random.int(1, 5))).toBeLessThanOrEqual(limit);
 * });
 */
export async function check(run, property) {
  const given = typeof run === 'number' ? { cases: run } : run;
  const { cases = Number.POSITIVE_INFINITY, atOnce = 1, before } = given;
  /** @param {number} done */
  const goesOn = (done) => done < cases && given.until?.() !== true;
  for (let i = 0; goesOn(i); i += atOnce) {
    await before?.();
    const errors = await Promise.all(
      Array.from({ length: Math.min(atOnce, cases - i) }, (_, k) =>
        failureOf(property, new Random(seed + i + k), seed + i + k),
      ),
    );
    const failed = errors.findIndex((error) => error !== undefined);
    if (failed >= 0) {
      throw await explained(property, i + failed, /** @type {Error} */ (errors[failed]), before);
    }
  }
}

/** @param {Property} property @param {Random} random @param {number} at @returns {Promise<Error | undefined>} */
async function failureOf(property, random, at) {
  try {
    await property(random, at);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(inspected(error), { cause: error });
  }
}

/** @param {Property} property @param {number} i @param {Error} first @param {Run['before']} before */
async function explained(property, i, first, before) {
  const at = seed + i;
  /** @param {Recorder} recorder */
  const failure = async (recorder) => {
    await before?.();
    const error = await failureOf(property, new Random(at, recorder), at);
    // Another kind of error is a different fault, or an input that the test cannot make.
    return error?.name === first.name ? error : undefined;
  };
  const whole = new Recorder();
  const where = `Case ${i} failed. DRL_SEED=${at} repeats it first.`;
  if ((await failure(whole)) === undefined) {
    first.message = `${where} It passed when run again: not its choices alone decide.\n${first.message}`;
    return first;
  }
  let tries = 0;
  const least = await shrunk(whole.tape, async (tape) => {
    tries += 1;
    const recorder = new Recorder(tape);
    return (await failure(recorder)) === undefined ? undefined : recorder.tape;
  });
  const shown = new Recorder(least, true);
  const error = (await failure(shown)) ?? first;
  const sizes = `${choicesOf(whole.tape).length} choices to ${choicesOf(least).length}`;
  error.message = `${where} Shrunk from ${sizes} in ${tries} tries:\n  ${rendered(shown.lines, '  ')}\n${error.message}`;
  return error;
}

/**
 * Finds the simplest tape that still fails.
 *
 * @param {Tape} tape
 * @param {(tape: Tape) => Promise<Tape | undefined>} stillFails says what was chosen of it, if it does
 */
async function shrunk(tape, stillFails) {
  let least = tape;
  const until = performance.now() + SHRINK_MS;
  /** @param {(copy: Tape) => void} change @returns {Promise<boolean>} */
  const isSimpler = async (change) => {
    if (performance.now() > until) return false;
    const copy = structuredClone(least);
    change(copy);
    const found = await stillFails(copy);
    if (found === undefined || !simpler(found, least)) return false;
    least = found;
    return true;
  };
  for (let before; before !== least;) {
    before = least;
    await removeSteps(() => least, isSimpler);
    await lowerChoices(() => least, isSimpler);
  }
  return least;
}

/** @typedef {(change: (copy: Tape) => void) => Promise<boolean>} IsSimpler */

/**
 * Removes rounds from each loop: half of them, a quarter, finally each alone.
 *
 * @param {() => Tape} least @param {IsSimpler} isSimpler
 */
async function removeSteps(least, isSimpler) {
  for (let k = 0; k < loopsOf(least()).length; k++) {
    const length = () => loopsOf(least())[k]?.length ?? 0;
    for (let size = length(); size >= 1; size = Math.floor(size / 2)) {
      for (let from = length() - size; from >= 0; from = Math.min(from, length()) - size) {
        await isSimpler((copy) => loopsOf(copy)[k]?.splice(from, size));
      }
    }
  }
}

/**
 * Lowers each choice to the least that still fails, and pairs of neighbours by the same amount.
 *
 * @param {() => Tape} least @param {IsSimpler} isSimpler
 */
async function lowerChoices(least, isSimpler) {
  for (let k = 0; k < choicesOf(least()).length; k++) {
    const value = () => choicesOf(least())[k]?.value ?? 0;
    /** @param {number} to */
    const lower = (to) => isSimpler((copy) => choicesOf(copy)[k]?.set(to));
    if (value() === 0 || (await lower(0))) continue;
    for (let low = 0; low + 1 < value();) {
      const middle = Math.floor((low + value()) / 2);
      if (!(await lower(middle)) || value() > middle) low = middle;
    }
  }
}

/** All loops of a tape, the outer ones first. @param {Tape} tape @returns {Tape[][]} */
function loopsOf(tape) {
  return tape.flatMap((each) =>
    typeof each === 'number' ? [] : [each, ...each.flatMap((step) => loopsOf(step))],
  );
}

/** @param {Tape} tape @returns {{ value: number, set: (to: number) => void }[]} */
function choicesOf(tape) {
  return tape.flatMap((each, i) =>
    typeof each === 'number'
      ? [{ value: each, set: (/** @type {number} */ to) => void (tape[i] = to) }]
      : each.flatMap(choicesOf),
  );
}

/**
 * Fewer rounds and choices are simpler. Among equal counts, the first lower choice decides.
 *
 * @param {Tape} one @param {Tape} other
 */
function simpler(one, other) {
  const [a, b] = [one, other].map((tape) => [
    loopsOf(tape).reduce((sum, loop) => sum + loop.length, 0) + choicesOf(tape).length,
    ...choicesOf(tape).map(({ value }) => value),
  ]);
  const i = /** @type {number[]} */ (a).findIndex((value, k) => value !== b?.[k]);
  return i >= 0 && /** @type {number} */ (a?.[i]) < /** @type {number} */ (b?.[i]);
}
