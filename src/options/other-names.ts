import { durationToMs, looksLikeMs, msToDuration } from '../base/duration.ts';

/** Maps another library's option to ours. */
export type OtherName =
  /** An option of the same meaning and unit. */
  | string
  /** An option whose values are written differently here. */
  | Rewritten
  | Instead;

/** No option has this meaning. */
export interface Instead {
  /** Returns the cure, in whole sentences. */
  readonly instead: (value: unknown) => string;
}

export interface Rewritten {
  readonly to: string;
  /** Returns the value in our option's form: several if the meaning is ambiguous, none if it has no such form. */
  readonly write: (value: unknown) => readonly Written[];
  /** The form that our option takes, for a value that `write` cannot convert. */
  readonly form: string;
}

export interface Written {
  readonly code: string;
  /** The condition on the given value under which this code is right. */
  readonly provided?: string;
}

export type OtherNames = Readonly<Record<string, OtherName>>;

/** Maps several names of the same meaning, separated by spaces. */
export function allOf(theirs: string, ours: OtherName): OtherNames {
  return Object.fromEntries(theirs.split(' ').map((name) => [name, ours]));
}

type Unit = 'ms' | 's' | 'm' | 'h';

const MS_PER: Readonly<Record<Unit, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

const IN_WORDS: Readonly<Record<Unit, string>> = {
  ms: 'in milliseconds',
  s: 'in seconds',
  m: 'in minutes',
  h: 'in hours',
};

/**
 * A time that is a duration string here. `unit` is the unit of the other library's bare number; left out if libraries
 * differ.
 */
export function duration(to: string, unit?: Unit): Rewritten {
  return { to, write: (value) => writeDurations(value, unit), form: "a duration such as '15m'" };
}

/** A time that is a number of milliseconds here. */
function milliseconds(to: string, unit: Unit): Rewritten {
  return {
    to,
    write: (value) => {
      const ms = typeof value === 'number' ? value * MS_PER[unit] : durationToMs(value);
      return Number.isSafeInteger(ms) && ms! >= 0 ? [{ code: String(ms) }] : [];
    },
    form: 'a number of milliseconds',
  };
}

/** An option that has other values here. */
export function choice(
  to: string,
  form: string,
  values: readonly (readonly [theirs: unknown, ours: string])[],
): Rewritten {
  const ours = new Map(values);
  return {
    to,
    form,
    write: (value) => {
      const code = ours.get(value);
      return code === undefined ? [] : [{ code }];
    },
  };
}

export function writeDurations(value: unknown, unit?: Unit): readonly Written[] {
  if (typeof value === 'number') {
    const either: readonly Unit[] = looksLikeMs(value) ? ['ms', 's'] : ['s', 'ms'];
    return (unit === undefined ? either : [unit]).flatMap((each) => {
      const ms = value * MS_PER[each];
      const provided = unit === undefined ? { provided: IN_WORDS[each] } : {};
      return Number.isSafeInteger(ms) && ms > 0
        ? [{ code: `'${msToDuration(ms)}'`, ...provided }]
        : [];
    });
  }
  if (typeof value !== 'string') {
    return [];
  }
  // Some libraries take 'minute' for one minute.
  const ms = durationToMs(value) ?? durationToMs(`1${value}`);
  return ms === undefined || ms === 0 ? [] : [{ code: `'${msToDuration(ms)}'` }];
}

const UNIT_OF: Readonly<Record<string, Unit>> = {
  ms: 'ms',
  millis: 'ms',
  milliseconds: 'ms',
  s: 's',
  sec: 's',
  secs: 's',
  seconds: 's',
  min: 'm',
  mins: 'm',
  minutes: 'm',
  hour: 'h',
  hours: 'h',
};

/** Longer names can only come from a request, and are not searched for a unit. */
const LONGEST_NAME = 80;

/** Matches a name that ends in its unit, such as `windowMs`, `ttlInSeconds` or `duration_s`: the stem, and the unit. */
const NAME_AND_UNIT = /^(.{1,60}?)(?:In|_in)?(?:_([a-z]+)|(MS|[A-Z][a-z]*))$/;

/**
 * Maps an option by the unit in its name: ours with a unit added, `periodMs`; another library's, `windowSeconds`; or
 * ours in milliseconds with another unit, `timeoutSeconds`.
 */
export function timeNamed(
  name: string,
  known: readonly string[],
  otherNames: OtherNames,
): Rewritten | undefined {
  const match = name.length > LONGEST_NAME ? null : NAME_AND_UNIT.exec(name);
  const unit = UNIT_OF[(match?.[2] ?? match?.[3] ?? '').toLowerCase()];
  if (unit === undefined) {
    return undefined;
  }
  const base = match![1]!;
  const other = Object.hasOwn(otherNames, base) ? otherNames[base]! : base;
  const to = typeof other === 'string' ? other : 'to' in other ? other.to : base;
  if (known.includes(to) && DURATIONS.includes(to)) {
    return duration(to, unit);
  }
  const inMs = to.endsWith('Ms') ? to : `${to}Ms`;
  return known.includes(inMs) ? milliseconds(inMs, unit) : undefined;
}

/** Our options that are durations. */
export const DURATIONS: readonly string[] = ['period', 'ttl', 'maxHold', 'within', 'for'];
