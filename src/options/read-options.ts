import type { Clock } from '../base/clock.ts';
import { durationToMs, looksLikeMs } from '../base/duration.ts';
import { invalidOption, optionError, RateLimiterError, show } from '../base/errors.ts';
import { duration, DURATIONS, timeNamed } from './other-names.ts';
import type { Instead, OtherName, OtherNames, Rewritten } from './other-names.ts';
import { noteMissing, Problems } from './option-problems.ts';

/** Another object of options, where a misplaced option may belong. */
export interface OptionOwner {
  /** The name of the object. */
  readonly of: string;
  readonly names: readonly string[];
  readonly otherNames?: OtherNames;
  /** The code that passes an option there; the option is `burst` or `burst: 5`. */
  readonly code: (option: string) => string;
}

/** The options that an object may hold, and the hints for all others. */
export interface OptionSet {
  /** The name of the object. */
  readonly of: string;
  readonly names: readonly string[];
  readonly otherNames?: OtherNames;
  readonly owners?: readonly OptionOwner[];
  /**
   * Options that belong to other kinds of this object, and must be undefined if they are present. `of` names this
   * kind.
   */
  readonly excluded?: { readonly of: string; readonly names: readonly string[] };
}

/** The most unknown names that get a hint: an object may come from a request. */
const MOST_UNKNOWN = 20;

/**
 * Returns the given options as own properties only, on an object without a prototype, for options that are not read
 * one by one.
 *
 * @throws {RateLimiterError} one error for all unknown names, with the probable meaning of each
 */
export function readOptions(set: OptionSet, options: unknown): Record<string, unknown> {
  const given = new GivenOptions(set, options);
  given.end();
  return given.values;
}

/**
 * Opens the options of a switch, which may be true for all defaults; undefined if it is off. `example` is one that is
 * on.
 */
export function openSwitch(
  set: OptionSet,
  value: unknown,
  example: string,
): GivenOptions | undefined {
  if (value === false) {
    return undefined;
  }
  if (value !== true && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw invalidOption(
      set.of,
      'true, false or an object of options',
      value,
      `Write \`${set.of}: true\`, or \`${set.of}: ${example}\`.`,
    );
  }
  return new GivenOptions(set, value === true ? {} : value, `${set.of}.`);
}

/**
 * Reads an object of options. Problems are collected, and `end` throws them all in one error.
 *
 * @example
 * const given = new GivenOptions(MEMORY_STORE, options);
 * const maxKeys = given.optional('maxKeys', (option, value) => readInteger(option, value, 1, 10_000_000), 100_000);
 * given.end();
 */
export class GivenOptions {
  /** Own properties only, on an object without a prototype. */
  readonly values: Record<string, unknown>;
  readonly #of: string;
  /** Before the name of each option, in messages. */
  readonly #prefix: string;
  #problems: Problems | undefined;
  /** Options that an unknown name probably meant: their absence needs no second complaint. */
  #meant: Set<string> | undefined;

  constructor(set: OptionSet, options: unknown, prefix = '') {
    this.#of = set.of;
    this.#prefix = prefix;
    this.values = readable(`${set.of} options`, () => this.#own(set, options));
  }

  /** Returns the result of `reader`. After a problem it is undefined, whatever its type, until `end` throws. */
  required<T>(name: string, reader: (option: string, value: unknown) => T): T {
    const value = this.values[name];
    try {
      return reader(`${this.#prefix}${name}`, value);
    } catch (error) {
      if (value === undefined && error instanceof RateLimiterError) {
        const told = name in this.values ? ofUndefined(name, error) : error;
        noteMissing(told, name);
        this.#add(told, name);
      } else {
        this.#add(error, name);
      }
      return undefined as T;
    }
  }

  /** Reads an option that may be left out. */
  optional<T, Fallback>(
    name: string,
    reader: (option: string, value: unknown) => T,
    fallback: Fallback,
  ): T | Fallback {
    return this.values[name] === undefined ? fallback : this.required(name, reader);
  }

  /** Records a problem if an option is given that excludes another. */
  refuse(name: string, rule: string, cure: string): void {
    if (this.values[name] !== undefined) {
      this.#add(invalidOption(name, rule, this.values[name], cure), name);
    }
  }

  /** Returns the result of `read`. After a problem it is undefined, whatever its type, until `end` throws. */
  attempt<T>(option: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.#add(error, option);
      return undefined as T;
    }
  }

  /** @throws {RateLimiterError} one error with everything that is wrong */
  end(): void {
    this.#problems?.throwAll();
  }

  #add(error: unknown, option: string): void {
    this.#problems ??= new Problems(this.#of);
    this.#problems.add(
      error instanceof RateLimiterError ? error : unreadable(option, error),
      this.#meant,
    );
  }

  #own(set: OptionSet, options: unknown): Record<string, unknown> {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw invalidOption(
        `${set.of} options`,
        'an object',
        options,
        `Known options: ${set.names.join(', ')}.`,
      );
    }
    const given: Record<string, unknown> = Object.create(null);
    let unknown: string[] | undefined;
    for (const name of Object.keys(options)) {
      if (!set.names.includes(name)) {
        if (!isUndefined(set, options, name)) {
          (unknown ??= []).push(name);
        }
        continue;
      }
      try {
        given[name] = (options as Record<string, unknown>)[name];
      } catch (cause) {
        this.#add(unreadable(name, cause), name);
      }
    }
    if (unknown !== undefined) {
      this.#refuse(set, options as Record<string, unknown>, unknown);
    }
    return given;
  }

  #refuse(set: OptionSet, options: Record<string, unknown>, unknown: readonly string[]): void {
    const looked = unknown.slice(0, MOST_UNKNOWN).map((name) => {
      const value = options[name];
      const hint = hintFor(set, name, value);
      if (hint?.means !== undefined) {
        (this.#meant ??= new Set()).add(hint.means);
      }
      const what = `\`${name.slice(0, 80)}\` is not an option of ${isExcluded(set, name) ? set.excluded!.of : set.of}, got ${shownUnread(value)}.`;
      return { what, hint: hint?.text };
    });
    // The valid names are listed once, after the last unknown name without a hint.
    const last = looked.findLastIndex(({ hint }) => hint === undefined);
    for (const [
      i,
      { what, hint = i === last ? `Known options: ${set.names.join(', ')}.` : '' },
    ] of looked.entries()) {
      this.#add(new RateLimiterError('ERR_INVALID_OPTION', `${what} ${hint}`.trimEnd()), set.of);
    }
    this.#problems!.omit(unknown.length - looked.length);
  }
}

function isExcluded({ excluded }: OptionSet, name: string): boolean {
  return excluded?.names.includes(name) === true;
}

/** Whether it is an undefined option of another kind, which was spread in. */
function isUndefined(set: OptionSet, options: object, name: string): boolean {
  return isExcluded(set, name) && (options as Record<string, unknown>)[name] === undefined;
}

interface Hint {
  readonly text: string;
  /** The option of the same object that was probably meant. */
  readonly means?: string;
}

/** Finds the probable meaning of an unknown name. */
function hintFor(set: OptionSet, name: string, value: unknown): Hint | undefined {
  const { names, otherNames = {}, owners = [] } = set;
  const own = otherNameOf(otherNames, name);
  if (own !== undefined && (isInstead(own) || names.includes(targetOf(own)))) {
    return meant(own, value);
  }
  const owner = owners.find((each) => each.names.includes(name));
  if (owner !== undefined) {
    return { text: misplaced(owner, name, name, value) };
  }
  const near = timeNamed(name, names, otherNames) ?? withUnit(nearest(name, names), value);
  if (near !== undefined) {
    return meant(near, value);
  }
  for (const each of owners) {
    const other =
      otherNameOf(each.otherNames ?? {}, name) ??
      timeNamed(name, each.names, each.otherNames ?? {});
    if (other !== undefined) {
      return { text: misplaced(each, name, other, value) };
    }
  }
  return undefined;
}

/** A misspelt duration whose number looks like milliseconds is as ambiguous as one of another library. */
function withUnit(near: string | undefined, value: unknown): OtherName | undefined {
  return near !== undefined &&
    DURATIONS.includes(near) &&
    typeof value === 'number' &&
    looksLikeMs(value)
    ? duration(near)
    : near;
}

function otherNameOf(otherNames: OtherNames, name: string): OtherName | undefined {
  return Object.hasOwn(otherNames, name) ? otherNames[name] : undefined;
}

function isInstead(other: OtherName): other is Instead {
  return typeof other !== 'string' && 'instead' in other;
}

function targetOf(other: Exclude<OtherName, Instead>): string {
  return typeof other === 'string' ? other : other.to;
}

function meant(other: OtherName, value: unknown): Hint {
  if (isInstead(other)) {
    return { text: other.instead(value) };
  }
  const to = targetOf(other);
  const text = `Did you mean \`${to}\`?`;
  if (typeof other === 'string') {
    return { text, means: to };
  }
  const written = writtenBy(other, value, (option) => option) ?? `Write ${other.form}.`;
  return { text: `${text} ${written}`, means: to };
}

function misplaced(owner: OptionOwner, name: string, other: OtherName, value: unknown): string {
  if (isInstead(other)) {
    return other.instead(value);
  }
  const to = targetOf(other);
  const is = to === name ? 'It is an option' : `It is \`${to}\``;
  const written = typeof other === 'string' ? undefined : writtenBy(other, value, owner.code);
  return `${is} of ${owner.of}. ${written ?? `Write \`${owner.code(to)}\`.`}`;
}

/** "Write `period: '15m'`." */
function writtenBy(
  { to, write }: Rewritten,
  value: unknown,
  code: (option: string) => string,
): string | undefined {
  const forms = write(value).map(
    ({ code: ours, provided }) =>
      `\`${code(`${to}: ${ours}`)}\`${provided === undefined ? '' : ` if it is ${provided}`}`,
  );
  return forms.length === 0 ? undefined : `Write ${forms.join(', or ')}.`;
}

/** A required option that is present but undefined usually comes from a variable that is not set. */
function ofUndefined(name: string, { code, message, cause }: RateLimiterError): RateLimiterError {
  return new RateLimiterError(
    code,
    `${message} \`${name}\` was given, and its value is undefined: is the environment variable or setting that it comes from set?`,
    { cause },
  );
}

/**
 * Returns the result of `read`. Refuses a value that throws when it is read, such as a proxy, like any other bad
 * value.
 */
export function readable<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof RateLimiterError ? error : unreadable(option, error);
  }
}

/** Makes the error for a value that throws when it is read: a getter, a proxy. */
function unreadable(option: string, cause: unknown): RateLimiterError {
  return optionError(option, 'be readable', 'and throws when it is read', 'Pass plain values.', {
    cause,
  });
}

/** Hides the value of an unknown option, which may be a secret under a misspelt name. */
function shownUnread(value: unknown): string {
  return typeof value === 'string' ? 'a string' : show(value);
}

/** Reads whole numbers within these bounds. */
export function integer(min: number, max: number): (option: string, value: unknown) => number {
  return (option, value) => readInteger(option, value, min, max);
}

export function readInteger(option: string, value: unknown, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalidOption(
      option,
      `a whole number from ${min} to ${max}`,
      value,
      cureOfNumber(option, value),
    );
  }
  return value as number;
}

function cureOfNumber(option: string, value: unknown): string {
  if (typeof value === 'string') {
    const ms = option.endsWith('Ms') ? durationToMs(value) : undefined;
    if (ms !== undefined) {
      return `It is a number of milliseconds: write ${ms}.`;
    }
    if (value.trim() !== '' && Number.isFinite(Number(value))) {
      return `Convert it first: Number(${show(value)}).`;
    }
  }
  return 'Choose a whole number in that range.';
}

const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const UNIT = /^[a-z0-9_]{1,32}$/;
const NAMESPACE = /^[A-Za-z0-9._/-]{1,64}$/;

/** Names hold no braces, slashes or colons, so no name can forge another limit's key. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(value);
}

/** Reads a limit's name. */
export function readName(option: string, value: unknown): string {
  if (!isName(value)) {
    throw invalidOption(
      option,
      '1 to 64 of the characters A-Z a-z 0-9 . _ -',
      value,
      'Rename the limit.',
    );
  }
  if (value === 'default') {
    throw invalidOption(
      option,
      "other than 'default', which is what a limit without a name is called",
      value,
      'Leave the name out.',
    );
  }
  return value;
}

export function readUnit(option: string, value: unknown): string {
  if (typeof value !== 'string' || !UNIT.test(value)) {
    throw invalidOption(
      option,
      '1 to 32 of the characters a-z 0-9 _',
      value,
      "Name what the limit counts, such as 'tokens'.",
    );
  }
  return value;
}

export function readNamespace(option: string, value: unknown): string {
  if (typeof value !== 'string' || !NAMESPACE.test(value)) {
    throw invalidOption(
      option,
      '1 to 64 of the characters A-Z a-z 0-9 . _ / -',
      value,
      'Rename the namespace.',
    );
  }
  return value;
}

export function readOneOf<T extends string>(
  option: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    throw invalidOption(
      option,
      `one of ${choices.map((choice) => `'${choice}'`).join(', ')}`,
      value,
      'Choose one of them.',
    );
  }
  return value as T;
}

export function readBoolean(option: string, value: unknown): boolean {
  if (typeof value !== 'boolean') {
    throw invalidOption(option, 'true or false', value, 'Pass a boolean.');
  }
  return value;
}

export function readFunction(option: string, value: unknown): unknown {
  if (typeof value !== 'function') {
    throw invalidOption(option, 'a function', value, 'Pass a function, or leave it out.');
  }
  return value;
}

export function readClock(option: string, value: unknown): Clock {
  const isClock = readable(
    option,
    () => typeof (value as Partial<Clock> | null)?.nowMicros === 'function',
  );
  if (!isClock) {
    throw invalidOption(
      option,
      'an object with nowMicros()',
      value,
      'Pass a ManualClock, or leave it out.',
    );
  }
  return value as Clock;
}

const MIN_SECRET_BYTES = 32;

/** The error does not show the value. */
export function readSecret(option: string, value: unknown): string | Uint8Array {
  const bytes =
    typeof value === 'string'
      ? Buffer.byteLength(value)
      : value instanceof Uint8Array
        ? value.length
        : 0;
  if (bytes < MIN_SECRET_BYTES) {
    throw optionError(
      option,
      `be a string or bytes of at least ${MIN_SECRET_BYTES} bytes`,
      'and is not (the value is not repeated, it is a secret)',
      'Make one with `openssl rand -hex 32`.',
    );
  }
  return typeof value === 'string' ? value : Uint8Array.from(value as Uint8Array);
}

/** The known name that is at most two edits away, if any. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const short = name.slice(0, 40).toLowerCase();
  return known
    .map((candidate) => ({ candidate, distance: edits(short, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)[0]?.candidate;
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length]!;
}
