import { divideUp, isWhole, least, LIMIT_OF_NUMBERS, most } from './oracle-numbers.ts';
import type { Counter, OracleVerdict } from './oracle-numbers.ts';

/**
 * A token bucket on rational numbers that are never rounded: a time is a `bigint` count of n-ths of a microsecond, where
 * `period / rate = p / n` microseconds. Its state has a line for each plan that counts it otherwise than the limiter's own
 * limit does.
 */

/** One bucket's numbers. A unit recovers in `periodUs / rate` microseconds. */
export interface OracleBucket {
  readonly kind: 'bucket';
  readonly rate: bigint;
  readonly periodUs: bigint;
  readonly burst: bigint;
  readonly maxDebt: bigint;
  /** The limiter's own limit, for a plan that was passed with a call; null if the limiter has none like it. */
  readonly beside?: OracleBucket | null | undefined;
}

/** An arrival time in n-ths of a microsecond, and what was given back on it. */
interface Counted {
  ticks: bigint;
  n: bigint;
  given: bigint;
}

interface Line extends Counted {
  id: bigint;
  p: bigint;
  burst: bigint;
  maxDebt: bigint;
}

/** A charge: where it left every line. */
interface Charged extends Counted {
  readonly p: bigint;
  readonly epoch: bigint;
  readonly lines: readonly Line[];
}

export interface BucketState extends Counted {
  /** How far slices reach that processes hold, and when the last of them ends; none if that is over. Microseconds. */
  slices: { readonly top: bigint; readonly until: bigint } | undefined;
  /** The long form; none of a plain state. Whole microseconds. */
  long:
    | {
        at: bigint;
        rests: bigint;
        top: bigint;
        epoch: bigint;
        until: bigint;
        lines: Line[];
      }
    | undefined;
}

const SECOND = 1_000_000n;
const MOST_GIVEN = 2n ** 52n;
const LONGEST_SLICE = 3n * SECOND;
const MOST_LINES = 8;
/** Twenty years: no limit reaches further ahead. */
const FURTHEST = 2n * 316_224_000_000_000n;

/** As far as the limit's arrival time may run ahead: its whole recovery and a second, in microseconds. */
function topOf(
  { burst, maxDebt }: Pick<OracleBucket, 'burst' | 'maxDebt'>,
  p: bigint,
  n: bigint,
): bigint {
  return divideUp((burst + maxDebt) * p, n) + SECOND;
}

/**
 * Redis's clock is behind the last charge: all lines move back, which the first call that is decided by the state stores.
 * A state is forgotten once all of its lines rest.
 */
export function loadBucket(
  text: string | undefined,
  now: bigint,
): { state: BucketState; moved: boolean } | undefined {
  const state = text === undefined ? neverUsed() : parse(text);
  if (state === 'unreadable') {
    return undefined;
  }
  const { long } = state;
  if (!isLiving(state.slices, now)) {
    state.slices = undefined;
  }
  if (long === undefined) {
    return { state, moved: false };
  }
  const back = most(0n, long.at - now);
  if (long.rests - back <= now) {
    return { state: neverUsed(), moved: false };
  }
  if (back > 0n) {
    state.slices = undefined;
    long.at -= back;
    long.rests -= back;
    long.until = long.rests;
    long.epoch = long.epoch === 0n ? now : long.epoch;
    for (const line of [state, ...long.lines]) {
      line.ticks -= back * line.n;
      give(line, back * line.n);
    }
  }
  return { state, moved: back > 0n };
}

/** Slices that end too late were given before a step of the clock. */
function isLiving(slices: BucketState['slices'], now: bigint): boolean {
  return (
    slices !== undefined &&
    slices.top > now &&
    slices.until > now &&
    slices.until <= now + LONGEST_SLICE
  );
}

function topOfLimit(limit: OracleBucket): bigint {
  const { n, p } = spacing(limit);
  return topOf(limit, p, n);
}

function give(line: Counted, ticks: bigint): void {
  line.given += ticks;
  if (line.given >= MOST_GIVEN * line.n) {
    line.given = MOST_GIVEN * line.n;
  }
}

function lengthen(state: BucketState, own: OracleBucket | null, now: bigint): void {
  if (state.long !== undefined) {
    return;
  }
  if (state.ticks / state.n - now > FURTHEST) {
    state.ticks = (now + FURTHEST) * state.n + (state.ticks % state.n);
  }
  const rests = divideUp(state.ticks, state.n);
  if (state.ticks % state.n === 0n) {
    state.ticks /= state.n;
    state.n = 1n;
  }
  state.long = {
    at: now,
    rests: most(now, rests),
    top: most(own === null ? 0n : topOfLimit(own), rests - now),
    epoch: 0n,
    until: 0n,
    lines: [],
  };
}

/** The limiter's own limit; null where a plan has none beside it. */
function ownOf(limit: OracleBucket): OracleBucket | null {
  return limit.beside === undefined ? limit : limit.beside;
}

/** The labelled line that counts for the limit; none where the unlabelled one does. */
function lineOf(
  state: BucketState,
  limit: OracleBucket,
  now: bigint,
  change: () => void,
): Line | undefined {
  const isOwn = limit.beside === undefined;
  const own = ownOf(limit);
  const from = spacing(own ?? limit);
  const top = topOfLimit(limit);
  const ticks = inTicks(state, from.n);
  if (state.long === undefined && isOwn) {
    if (ticks - now * from.n <= top * from.n) {
      return undefined;
    }
    lengthen(state, own, now);
    change();
  }
  const { at, lines, top: stored } = state.long ?? { at: now, lines: [], top: 0n };
  const known = lines.find((line) => isOf(line, limit));
  if (known !== undefined) {
    return known;
  }
  if (isOwn && stored >= top && ticks - at * from.n <= top * from.n) {
    return undefined;
  }
  // Begins with the most units that any line counts.
  const { n, p } = spacing(limit);
  let used = divideUp(most(0n, ticks - at * from.n) * p, from.p);
  for (const line of lines) {
    used = most(used, divideUp(most(0n, line.ticks - at * line.n) * p, line.p));
  }
  const { burst, maxDebt } = limit;
  return { id: 0n, p, n, burst, maxDebt, ticks: at * n + least(used, top * n), given: 0n };
}

function isOf(line: Line, limit: OracleBucket): boolean {
  const { n, p } = spacing(limit);
  const { burst, maxDebt } = limit;
  return line.n === n && line.p === p && line.burst === burst && line.maxDebt === maxDebt;
}

function advance(line: Counted, price: bigint, top: bigint, now: bigint): void {
  const from = most(line.ticks, now * line.n);
  const added = price > top * line.n ? top * line.n : price;
  const end = (now + top) * line.n;
  const to = most(from, from + added < end ? from + added : end);
  give(line, from + added - to);
  line.ticks = to;
}

/** Sets the limit's line to its new arrival time, and charges the cost to all others. */
function charge(
  state: BucketState,
  limit: OracleBucket,
  mine: Line | undefined,
  ticks: bigint,
  cost: bigint,
  now: bigint,
): void {
  const own = ownOf(limit);
  const { n, p } = spacing(own ?? limit);
  if (limit.beside !== undefined) {
    lengthen(state, own, now);
  }
  bringInto(state, n);
  const { long } = state;
  if (long === undefined) {
    state.ticks = ticks;
    return;
  }
  const { lines } = long;
  for (const line of lines) {
    if (line !== mine) {
      advance(line, cost * line.p, topOf(line, line.p, line.n), now);
    }
  }
  const { given } = state;
  if (mine === undefined) {
    state.ticks = ticks;
  } else {
    advance(state, cost * p, long.top, now);
    mine.ticks = ticks;
    if (!lines.includes(mine)) {
      mine.id = lines.reduce((id, line) => most(id, line.id + 1n), now);
      keep(lines, mine);
    }
  }
  const labelled = own === null ? undefined : lines.find((line) => isOf(line, own));
  if (labelled !== undefined && long.top <= topOfLimit(own!) && state.ticks <= labelled.ticks) {
    state.ticks = labelled.ticks;
    long.top = topOfLimit(own!);
    lines.splice(lines.indexOf(labelled), 1);
  }
  long.at = now;
  for (const line of [state, ...lines]) {
    long.rests = most(long.rests, divideUp(line.ticks, line.n));
  }
  if (state.given !== given) {
    noteGiven(state, now);
  }
  const knowsNothing = lines.length === 0 && (long.epoch === 0n || long.until <= now);
  if (own !== null && knowsNothing && state.ticks - now * n <= topOfLimit(own) * n) {
    state.long = undefined;
    state.given = 0n;
  }
}

/** Counts the unlabelled line in n-ths of this size. */
function bringInto(state: BucketState, n: bigint): void {
  state.ticks = inTicks(state, n);
  state.given = state.n === n ? state.given : divideUp(state.given, state.n) * n;
  state.n = n;
}

function noteGiven({ long }: BucketState, now: bigint): void {
  long!.epoch = long!.epoch === 0n ? now : long!.epoch;
  long!.until = long!.rests;
}

/** A ninth line displaces the one that rests first, but not that of the most units. */
function keep(lines: Line[], mine: Line): void {
  const units = (line: Line): bigint => line.burst + line.maxDebt;
  const whole = (line: Line): bigint => line.ticks / line.n;
  if (lines.length >= MOST_LINES) {
    const greatest = [mine, ...lines].reduce((a, b) => (units(b) > units(a) ? b : a));
    const others = lines.filter((line) => line !== greatest);
    const first = others.reduce((a, b) => (whole(b) < whole(a) ? b : a));
    lines.splice(lines.indexOf(first), 1);
  }
  lines.push(mine);
}

/** Forgets all charges, and whether anything has to be remembered: that no charge before may be refunded. */
export function resetBucket(state: BucketState, limit: OracleBucket, now: bigint): boolean {
  const rests = state.long?.rests ?? divideUp(state.ticks, state.n);
  if (rests <= now) {
    return false;
  }
  const own = ownOf(limit);
  lengthen(state, own, now);
  const long = state.long!;
  give(state, most(0n, state.ticks - now * state.n));
  state.ticks = now * state.n;
  state.long = {
    ...long,
    at: now,
    top: most(long.top, own === null ? 0n : topOfLimit(own)),
    epoch: long.epoch === 0n ? now : long.epoch,
    until: long.rests,
    lines: [],
  };
  return true;
}

/** What a charge still holds back on a line: nothing of it that has recovered or was given back before. */
function heldBack(line: Counted, charged: Counted, price: bigint, now: bigint): bigint {
  const left = charged.ticks - (line.given - charged.given) - now * line.n;
  // An arrival time falls by what is given back alone, so one before the charge's belongs to another charge.
  const isOther = line.ticks - now * line.n < left;
  return isOther || left < 0n || line.given >= MOST_GIVEN * line.n ? 0n : least(price, left);
}

/** Gives back the units of a charge on every line that it charged. */
function restore(
  state: BucketState,
  limit: OracleBucket,
  charged: Charged,
  units: bigint,
  now: bigint,
): boolean {
  const own = ownOf(limit);
  const { n } = spacing(own ?? limit);
  const isSame = charged.n === n;
  const isOfEpoch = charged.epoch === (state.long?.epoch ?? 0n);
  // N-ths of another size are dropped: against the caller.
  const inParts = (ticks: bigint): bigint => (isSame ? ticks : (ticks / charged.n) * n);
  const view = {
    n,
    ticks: inTicks(state, n),
    given: state.n === n ? state.given : divideUp(state.given, state.n) * n,
  };
  const end = {
    n,
    ticks: inParts(charged.ticks),
    given: isOfEpoch ? inParts(charged.given) : 0n,
  };
  // Slices have not passed yet, so nothing below them is given back.
  const back = heldBack(view, end, inParts(units * charged.p), state.slices?.top ?? now);
  let changed = back > 0n;
  if (back > 0n) {
    // After the last charge of a plain state there is no charge whose receipt would have to know of this.
    const isLast =
      state.long === undefined && charged.lines.length === 0 && isSame && end.ticks === view.ticks;
    if (!isLast) {
      lengthen(state, own, now);
    }
    bringInto(state, n);
    if (!isLast) {
      give(state, back);
      noteGiven(state, now);
    }
    state.ticks -= back;
  }
  for (const each of charged.lines) {
    const line = state.long?.lines.find(({ id }) => id === each.id);
    const its = line === undefined ? 0n : heldBack(line, each, units * line.p, now);
    if (line !== undefined && its > 0n) {
      give(line, its);
      line.ticks -= its;
      changed = true;
    }
  }
  return changed;
}

/** What `restore` must know of the charge just made. */
function chargedNow(state: BucketState, limit: OracleBucket): Charged {
  const { p } = spacing(ownOf(limit) ?? limit);
  const { n, ticks, given, long } = state;
  return {
    p,
    n,
    ticks,
    given: long === undefined ? 0n : given,
    epoch: long?.epoch ?? 0n,
    lines: (long?.lines ?? []).map((line) => ({ ...line })),
  };
}

/** A token bucket while one call is decided. */
export class BucketCounter implements Counter {
  readonly #state: BucketState;
  readonly #limit: OracleBucket;
  readonly #now: bigint;
  readonly #change: () => void;
  readonly #line: Line | undefined;
  readonly #n: bigint;
  readonly #p: bigint;
  #ticks: bigint;

  constructor(state: BucketState, limit: OracleBucket, now: bigint, change: () => void) {
    this.#state = state;
    this.#limit = limit;
    this.#now = now;
    this.#change = change;
    const { n, p } = spacing(limit);
    [this.#n, this.#p] = [n, p];
    this.#line = lineOf(state, limit, now, change);
    this.#ticks = most(this.#line === undefined ? inTicks(state, n) : this.#line.ticks, now * n);
  }

  get #top(): bigint {
    return this.#now * this.#n + this.#limit.burst * this.#p;
  }

  passes(cost: bigint): boolean {
    return this.#ticks + cost * this.#p <= this.#top;
  }

  charge(cost: bigint): Charged {
    this.#ticks += cost * this.#p;
    charge(this.#state, this.#limit, this.#line, this.#ticks, cost, this.#now);
    this.#change();
    return chargedNow(this.#state, this.#limit);
  }

  /** The first refusal under another plan fixes from when on that plan recovers. */
  refuse(): void {
    const { long, ticks, n } = this.#state;
    const { beside } = this.#limit;
    if (long === undefined && beside !== undefined && divideUp(ticks, n) > this.#now) {
      lengthen(this.#state, beside, this.#now);
      this.#change();
    }
  }

  restore(charged: Charged, cost: bigint): void {
    if (restore(this.#state, this.#limit, charged, cost, this.#now)) {
      this.#change();
    }
  }

  verdict(cost: bigint, refused: boolean): OracleVerdict {
    const top = this.#top;
    const ticks = this.#ticks;
    return {
      refused,
      remaining: ticks < top ? (top - ticks) / this.#p : 0n,
      over: ticks > top ? divideUp(ticks - top, this.#p) : 0n,
      retryUs: refused ? divideUp(ticks + cost * this.#p - top, this.#n) : 0n,
      resetUs: divideUp(ticks - this.#now * this.#n, this.#n),
    };
  }
}

function neverUsed(): BucketState {
  return { ticks: 0n, n: 1n, given: 0n, slices: undefined, long: undefined };
}

/** A unit recovers in `p` n-ths of a microsecond. */
function spacing({ rate, periodUs }: OracleBucket): { n: bigint; p: bigint } {
  let [a, b] = [rate, periodUs];
  while (b > 0n) {
    [a, b] = [b, a % b];
  }
  return { n: rate / a, p: periodUs / a };
}

/** In another limit's n-ths, a time is rounded up to whole microseconds: against the caller. */
function inTicks(state: BucketState, n: bigint): bigint {
  return state.n === n ? state.ticks : divideUp(state.ticks, state.n) * n;
}

/** `'tat'`, `'tat:rem:n'`, that with `':sliced:until'`, or the long form, whole decimal numbers in [0, 2^53), `rem < n`. */
function parse(value: string): BucketState | 'unreadable' {
  if (/^[0-9]+:v1:/.test(value)) {
    return parseLong(value);
  }
  const fields = value.split(':');
  if (![1, 3, 5].includes(fields.length) || !fields.every(isWhole)) {
    return 'unreadable';
  }
  const [tat, rem, n, sliced, until] = [
    ...fields,
    ...['0', '1', '0', '0'].slice(fields.length - 1),
  ].map(BigInt) as [bigint, bigint, bigint, bigint, bigint];
  return tat >= LIMIT_OF_NUMBERS || rem >= n || n > 1_000_000_000n
    ? 'unreadable'
    : { ticks: tat * n + rem, n, given: 0n, slices: { top: sliced, until }, long: undefined };
}

function parseLong(value: string): BucketState | 'unreadable' {
  const [[rested = '', , ...rest] = [], ...parts] = value.split(',').map((part) => part.split(':'));
  const head = [rested, ...rest];
  if (
    ![10, 12].includes(head.length) ||
    parts.some(({ length }) => length !== 9) ||
    parts.length > MOST_LINES
  ) {
    return 'unreadable';
  }
  if (![head, ...parts].flat().every(isWhole)) {
    return 'unreadable';
  }
  const [rests, at, tat, rem, n, top, epoch, given, givenRem, until, sliced, slicedUntil] = [
    ...head,
    ...(head.length === 12 ? [] : ['0', '0']),
  ].map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const left = rests - at;
  const lines = parts
    .map((part) => part.map(BigInt))
    .map((part) => {
      const [id, p, of, burst, maxDebt, its, itsRem, itsGiven, itsGivenRem] = part as [
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
      ];
      const isBad =
        p < 1n ||
        of < 1n ||
        of > 1_000_000_000n ||
        itsRem >= of ||
        itsGivenRem >= of ||
        [id, itsGiven].some((number) => number >= LIMIT_OF_NUMBERS) ||
        its + (itsRem > 0n ? 1n : 0n) > left;
      const line = {
        id,
        p,
        n: of,
        burst,
        maxDebt,
        ticks: (at + its) * of + itsRem,
        given: itsGiven * of + itsGivenRem,
      };
      return isBad ? undefined : line;
    });
  const tooGreat = [rests, at + top, epoch, given].some((number) => number >= LIMIT_OF_NUMBERS);
  const isBad =
    left < 0n || n < 1n || n > 1_000_000_000n || rem >= n || givenRem >= n || until > left;
  if (tooGreat || isBad || tat + (rem > 0n ? 1n : 0n) > left || lines.includes(undefined)) {
    return 'unreadable';
  }
  return {
    ticks: (at + tat) * n + rem,
    n,
    given: given * n + givenRem,
    slices: { top: at + sliced, until: at + slicedUntil },
    long: { at, rests, top, epoch, until: at + until, lines: lines as Line[] },
  };
}

export function saveBucket({ ticks, n, given, slices, long }: BucketState): {
  value: string;
  rests: bigint;
} {
  const [tat, rem] = [ticks / n, ticks % n];
  if (long === undefined) {
    const whole =
      slices === undefined ? undefined : `${tat}:${rem}:${n}:${slices.top}:${slices.until}`;
    return {
      value: whole ?? (rem > 0n ? `${tat}:${rem}:${n}` : `${tat}`),
      rests: divideUp(ticks, n),
    };
  }
  const { at, rests, top, epoch, until, lines } = long;
  const head = [
    at,
    most(0n, tat - at),
    rem,
    n,
    top,
    epoch,
    given / n,
    given % n,
    most(0n, until - at),
    ...(slices === undefined || slices.top <= at
      ? []
      : [slices.top - at, most(0n, slices.until - at)]),
  ];
  const parts = lines.map((line) => [
    line.id,
    line.p,
    line.n,
    line.burst,
    line.maxDebt,
    line.ticks / line.n - at,
    line.ticks % line.n,
    line.given / line.n,
    line.given % line.n,
  ]);
  return {
    value: `${rests}:v1:${[head, ...parts].map((part) => part.join(':')).join(',')}`,
    rests,
  };
}
