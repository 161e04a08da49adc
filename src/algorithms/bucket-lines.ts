import { FIRST_INEXACT, JITTER, LONGEST_SLICE_US, MAX_UNITS } from './limit.ts';
import type { Plan, State } from './limit.ts';
import { MAX_RECOVERY_US, recovery, respaced } from './recovery.ts';
import type { Micros, Spacing } from './recovery.ts';

/**
 * The numbers that name a line: a spacing, the most units at once, and the units that may be owed beyond.
 *
 * A line is a bucket's arrival time as one plan counts it. Plans on one identity have a line each, and every charge
 * advances every line by the charged units, so no plan forgets what passed under another.
 */
export interface Label extends Spacing {
  readonly units: number;
  readonly debt: number;
}

/** What the limiter's own limit and every plan have in common. */
export interface OwnNumbers extends Label {
  /** Whole microseconds that the arrival time may run ahead of now: the burst and the debt, and 1 s. */
  readonly top: number;
}

export interface TokenBucketPlan extends Plan, OwnNumbers {
  /** The recovery of the whole burst: how far the arrival time may run ahead of now for a call to pass. */
  readonly burst: Micros;
  /** The recovery of the burst and the debt. */
  readonly ceiling: Micros;
  /** This cost's recovery. */
  readonly price: Micros;
  /** The limiter's own limit, if this plan was passed with a call; `null` if the limiter has no such limit. */
  readonly beside: OwnNumbers | null | undefined;
}

/** An arrival time, and the time that was given back on it, in microseconds and n-ths of one. */
interface Counted {
  tat: number;
  rem: number;
  given: number;
  givenRem: number;
}

/** The line of a plan other than the limiter's own limit. */
interface Line extends Counted, Label {
  /** Distinguishes lines of one label, so that a receipt finds the very line that was charged. */
  readonly id: number;
}

export interface TokenBucketState extends State, Counted {
  /**
   * The unlabelled line: its theoretical arrival time `tat`, when the bucket is full again. Every process reads it in
   * its own limit's spacing. The only line of a plain state.
   */
  n: number;
  /** The labelled lines; undefined if the state is plain. What follows is meaningless then. */
  lines: Line[] | undefined;
  /** The instant of the last charge. */
  at: number;
  /** The latest arrival time that any line has ever had, rounded up: until then the state is kept. */
  rests: number;
  /** As far as the unlabelled line may run ahead of now, in whole microseconds. */
  top: number;
  /** The instant since when `given` is counted; 0 if nothing was given back. */
  epoch: number;
  /** The instant by which every charge that was made before the last change of `given` has recovered. */
  until: number;
  /**
   * The latest arrival time of slices of the unlabelled line that processes hold, rounded up, and the instant at which
   * the last of them ends; 0 for none. Until then nothing below is given back: a slice's units have not passed yet.
   */
  sliced: number;
  slicedUntil: number;
  /** Scratch of `judge`: the plan's labelled line, undefined for the unlabelled one. */
  line: Line | undefined;
  /** Scratch of `judge`: that line's arrival time before and after the cost. */
  from: number;
  fromRem: number;
  to: number;
  toRem: number;
}

/** The position of a charge on one line. */
interface LineReceipt {
  readonly id: number;
  readonly tat: number;
  readonly rem: number;
  readonly given: number;
  readonly givenRem: number;
}

/** What a charge did to every line. */
export interface BucketReceipt extends Spacing {
  readonly unlabelled: LineReceipt;
  readonly lines: readonly LineReceipt[];
}

/** Most labelled lines of one state. */
const MAX_LINES = 8;
/** A line that was given back so much gives nothing more back, so that the sum stays exact. */
const MOST_GIVEN = 2 ** 52;

const STATE =
  /^(\d+):v1:(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+)(?::(\d+):(\d+))?((?:,[^]*)?)$/;
const LINE = /^(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+):(\d+)$/;
const RECEIPT = /^(\d+):(\d+):(\d+):(\d+)(?::(\d+):(\d+):(\d+))?((?:,[^]*)?)$/;
const LINE_RECEIPT = /^(\d+):(\d+):(\d+):(\d+):(\d+)$/;

/** The numbers of the limiter's own limit; null if it has none. */
function ownOf(plan: TokenBucketPlan): OwnNumbers | null {
  return plan.beside === undefined ? plan : plan.beside;
}

/** Notes how far slices reach that processes still hold. After a step of the clock none of them is spent any more. */
export function noteSlices(
  state: TokenBucketState,
  sliced: number,
  until: number,
  now: number,
): void {
  if (until > now && until <= now + LONGEST_SLICE_US && sliced > now) {
    state.sliced = sliced;
    state.slicedUntil = until;
  }
}

/** Charges a slice of the unlabelled line, up to this arrival time. Called for a state without labelled lines. */
export function chargeSlice(
  state: TokenBucketState,
  { n }: TokenBucketPlan,
  tat: number,
  rem: number,
  ends: number,
  now: number,
): void {
  bringInto(state, n);
  state.tat = tat;
  state.rem = rem;
  state.sliced = ceiled(tat, rem);
  state.slicedUntil = Math.max(state.slicedUntil, ends);
  if (state.lines !== undefined) {
    state.at = now;
    state.rests = Math.max(state.rests, state.sliced);
  }
  state.changed = true;
}

export function isSame(a: Label, b: Label): boolean {
  return a.p === b.p && a.n === b.n && a.units === b.units && a.debt === b.debt;
}

function isBeyond(int: number, rem: number, top: number): boolean {
  return int > top || (int === top && rem > 0);
}

function ceiled(int: number, rem: number): number {
  return rem > 0 ? int + 1 : int;
}

/** As far as a line of this label may run ahead of now. */
export function topOf(label: Label): number {
  const { int, rem } = recovery(label.units + label.debt, label);
  return ceiled(int, rem) + JITTER;
}

/** A time in n-ths of another size is rounded up to whole microseconds: against the caller, by less than 1 µs. */
function inParts(int: number, rem: number, n: number, wanted: number): Micros {
  return n === wanted ? { int, rem } : { int: ceiled(int, rem), rem: 0 };
}

function give(line: Counted, n: number, int: number, rem: number): void {
  line.given += int;
  line.givenRem += rem;
  if (line.givenRem >= n) {
    line.given += 1;
    line.givenRem -= n;
  }
  if (line.given >= MOST_GIVEN) {
    line.given = MOST_GIVEN;
    line.givenRem = 0;
  }
}

/** Receipts of charges before this count what was given back on the unlabelled line since then. */
function noteGiven(state: TokenBucketState, now: number): void {
  if (state.epoch === 0) {
    state.epoch = now;
  }
  state.until = state.rests;
}

/** Charges a line, at most up to its top. What the top cuts off counts as given back. */
function advance(line: Counted, { p, n }: Spacing, units: number, top: number, now: number): void {
  if (line.tat < now) {
    line.tat = now;
    line.rem = 0;
  }
  let { int, rem } = (units * p) / n > top ? { int: top, rem: 0 } : recovery(units, { p, n });
  if (isBeyond(line.tat - now, line.rem, top)) {
    give(line, n, int, rem);
    return;
  }
  int += line.tat;
  rem += line.rem;
  if (rem >= n) {
    int += 1;
    rem -= n;
  }
  if (isBeyond(int - now, rem, top)) {
    give(line, n, int - now - top, rem);
    line.tat = now + top;
    line.rem = 0;
  } else {
    line.tat = int;
    line.rem = rem;
  }
}

/**
 * Gives a plain state its long form, without a labelled line. An arrival time further ahead than any limit reaches, as a
 * clock in the wrong century leaves it, is brought so near that the arithmetic stays exact.
 */
function lengthen(state: TokenBucketState, own: OwnNumbers | null, now: number): void {
  if (state.lines !== undefined) {
    return;
  }
  if (state.tat - now > 2 * MAX_RECOVERY_US) {
    state.tat = now + 2 * MAX_RECOVERY_US;
  }
  const rests = ceiled(state.tat, state.rem);
  state.n = state.rem > 0 ? state.n : 1;
  state.lines = [];
  state.at = now;
  state.rests = Math.max(now, rests);
  state.top = Math.max(own === null ? 0 : own.top, rests - now);
}

/** A line for a plan that has none: with the most units that any line counted at the last charge. */
function startLine(
  state: TokenBucketState,
  plan: TokenBucketPlan,
  unlabelled: Micros,
  at: number,
): Line {
  const { p, n, units, debt, top } = plan;
  const own = ownOf(plan) ?? plan;
  let { int, rem } = respaced(unlabelled.int - at, unlabelled.rem, own, plan, top);
  for (const line of state.lines ?? []) {
    const other = respaced(line.tat - at, line.rem, line, plan, top);
    if (other.int > int || (other.int === int && other.rem > rem)) {
      ({ int, rem } = other);
    }
  }
  return { id: 0, p, n, units, debt, tat: at + int, rem, given: 0, givenRem: 0 };
}

/**
 * Finds the line that counts for this plan, and sets `line`, `from` and `fromRem`. Changes the state only if the own
 * limit finds a plain state beyond its top, so that time counts from now on.
 */
export function findLine(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {
  const isOwn = plan.beside === undefined;
  const own = ownOf(plan);
  const n = (own ?? plan).n;
  const unlabelled = inParts(state.tat, state.rem, state.n, n);
  if (state.lines === undefined && isOwn) {
    if (!isBeyond(unlabelled.int - now, unlabelled.rem, plan.top)) {
      setFrom(state, undefined, unlabelled.int, unlabelled.rem, now);
      return;
    }
    lengthen(state, own, now);
    state.changed = true;
  }
  const at = state.lines === undefined ? now : state.at;
  let line = state.lines?.find((each) => isSame(each, plan));
  if (line === undefined) {
    if (
      isOwn &&
      state.top >= plan.top &&
      !isBeyond(unlabelled.int - at, unlabelled.rem, plan.top)
    ) {
      setFrom(state, undefined, unlabelled.int, unlabelled.rem, now);
      return;
    }
    line = startLine(state, plan, unlabelled, at);
  }
  setFrom(state, line, line.tat, line.rem, now);
}

function setFrom(
  state: TokenBucketState,
  line: Line | undefined,
  tat: number,
  rem: number,
  now: number,
): void {
  state.line = line;
  state.from = tat < now ? now : tat;
  state.fromRem = tat < now ? 0 : rem;
}

/** Sets the plan's own line to an arrival time, and charges the plan's cost to all others. */
export function chargeLines(
  state: TokenBucketState,
  plan: TokenBucketPlan,
  tat: number,
  rem: number,
  now: number,
): void {
  const own = ownOf(plan);
  const spacing = own ?? plan;
  lengthen(state, own, now);
  bringInto(state, spacing.n);
  const lines = state.lines!;
  const mine = state.line;
  for (const line of lines) {
    if (line !== mine) {
      advance(line, line, plan.cost, topOf(line), now);
    }
  }
  const { given, givenRem } = state;
  if (mine === undefined) {
    state.tat = tat;
    state.rem = rem;
  } else {
    advance(state, spacing, plan.cost, state.top, now);
    mine.tat = tat;
    mine.rem = rem;
    if (!lines.includes(mine)) {
      insert(state, mine, now);
    }
  }
  state.from = tat;
  state.fromRem = rem;
  if (own !== null) {
    mergeOwn(state, own);
  }
  state.at = now;
  state.rests = Math.max(state.rests, ceiled(state.tat, state.rem));
  for (const line of lines) {
    state.rests = Math.max(state.rests, ceiled(line.tat, line.rem));
  }
  if (state.given !== given || state.givenRem !== givenRem) {
    noteGiven(state, now);
  }
  if (own !== null) {
    shorten(state, own, now);
  }
  state.changed = true;
}

/** Counts the unlabelled line in n-ths of this size. */
function bringInto(state: TokenBucketState, n: number): void {
  const { int, rem } = inParts(state.tat, state.rem, state.n, n);
  const given = inParts(state.given, state.givenRem, state.n, n);
  state.tat = int;
  state.rem = rem;
  state.given = given.int;
  state.givenRem = given.rem;
  state.n = n;
}

/** Keeps a new line. A ninth displaces the one that rests first, but never that of the most units nor itself. */
function insert(state: TokenBucketState, mine: Line, now: number): void {
  const lines = state.lines!;
  let id = now;
  let most = mine;
  for (const line of lines) {
    id = Math.max(id, line.id + 1);
    most = line.units + line.debt > most.units + most.debt ? line : most;
  }
  if (lines.length >= MAX_LINES) {
    let first = -1;
    for (const [i, line] of lines.entries()) {
      if (line !== most && (first < 0 || line.tat < lines[first]!.tat)) {
        first = i;
      }
    }
    lines.splice(first, 1);
  }
  const line = { ...mine, id };
  lines.push(line);
  state.line = line;
}

/** The own limit's labelled line becomes the unlabelled one, once it counts no less. */
function mergeOwn(state: TokenBucketState, own: OwnNumbers): void {
  const lines = state.lines!;
  const i = lines.findIndex((line) => isSame(line, own));
  const line = lines[i];
  if (
    line !== undefined &&
    state.top <= own.top &&
    (state.tat < line.tat || (state.tat === line.tat && state.rem <= line.rem))
  ) {
    state.tat = line.tat;
    state.rem = line.rem;
    state.top = own.top;
    lines.splice(i, 1);
  }
}

/** A state with nothing to remember but the unlabelled line is plain again. */
function shorten(state: TokenBucketState, own: OwnNumbers, now: number): void {
  if (
    state.lines!.length === 0 &&
    (state.epoch === 0 || state.until <= now) &&
    !isBeyond(state.tat - now, state.rem, own.top)
  ) {
    state.lines = undefined;
    state.given = 0;
    state.givenRem = 0;
    state.epoch = 0;
    state.until = 0;
  }
}

/** The first refusal under another plan fixes from when on that plan recovers. */
export function noteRefusal(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {
  if (
    state.lines === undefined &&
    plan.beside !== undefined &&
    ceiled(state.tat, state.rem) > now
  ) {
    lengthen(state, plan.beside, now);
    state.changed = true;
  }
}

/** Forgets all charges. Keeps what makes their receipts worthless; returns whether anything has to be kept. */
export function resetLines(state: TokenBucketState, plan: TokenBucketPlan, now: number): boolean {
  if ((state.lines === undefined ? ceiled(state.tat, state.rem) : state.rests) <= now) {
    return false;
  }
  const own = ownOf(plan);
  lengthen(state, own, now);
  if (state.tat >= now) {
    give(state, state.n, state.tat - now, state.rem);
  }
  noteGiven(state, now);
  state.tat = now;
  state.rem = 0;
  state.at = now;
  state.top = Math.max(state.top, own === null ? 0 : own.top);
  state.lines = [];
  state.changed = true;
  return true;
}

/**
 * What a charge still holds back on a line: nothing of it that has recovered or was given back before. `base` is now, or
 * the instant below which nothing is given back.
 */
function heldBack(
  line: Counted,
  charged: LineReceipt,
  price: Micros,
  n: number,
  base: number,
): Micros {
  let int = charged.tat - (line.given - charged.given) - base;
  let rem = charged.rem - (line.givenRem - charged.givenRem);
  if (rem < 0) {
    int -= 1;
    rem += n;
  } else if (rem >= n) {
    int += 1;
    rem -= n;
  }
  const left = line.tat - base;
  const isOther = left < int || (left === int && line.rem < rem);
  if (price.int < int || (price.int === int && price.rem < rem)) {
    ({ int, rem } = price);
  }
  // An arrival time falls by what is given back alone, so one before the charge's belongs to another charge.
  return int < 0 || isOther || line.given >= MOST_GIVEN ? { int: 0, rem: 0 } : { int, rem };
}

function lower(line: Counted, n: number, { int, rem }: Micros): void {
  line.tat -= int;
  line.rem -= rem;
  if (line.rem < 0) {
    line.tat -= 1;
    line.rem += n;
  }
}

/** Gives back `units` of the receipt's charge on every line that was charged; as a gift, of all charges so far. */
export function restoreLines(
  state: TokenBucketState,
  plan: TokenBucketPlan,
  receipt: BucketReceipt,
  units: number,
  now: number,
  isGift = false,
): void {
  const own = ownOf(plan);
  const { n } = own ?? plan;
  const { int: tat, rem } = inParts(state.tat, state.rem, state.n, n);
  const { int: given, rem: givenRem } = inParts(state.given, state.givenRem, state.n, n);
  const same = receipt.n === n;
  const charged = receipt.unlabelled;
  const isOfEpoch = charged.id === state.epoch;
  const price = recovery(units, receipt);
  // n-ths of another size: rounded against the caller, by less than 1 µs
  const end = {
    ...charged,
    rem: same ? charged.rem : 0,
    given: isOfEpoch ? charged.given : 0,
    givenRem: isOfEpoch && same ? charged.givenRem : 0,
  };
  const back = heldBack(
    { tat, rem, given, givenRem },
    end,
    { int: price.int, rem: same ? price.rem : 0 },
    n,
    Math.max(now, state.sliced),
  );
  if (back.int > 0 || back.rem > 0) {
    // After the last charge of a plain state there is no charge whose receipt would have to know of this.
    const isLast =
      !isGift &&
      state.lines === undefined &&
      receipt.lines.length === 0 &&
      same &&
      end.tat === tat &&
      end.rem === rem;
    if (isLast) {
      bringInto(state, n);
    } else {
      lengthen(state, own, now);
      bringInto(state, n);
      give(state, n, back.int, back.rem);
      noteGiven(state, now);
    }
    lower(state, n, back);
    state.changed = true;
  }
  for (const each of receipt.lines) {
    const line = state.lines?.find(({ id }) => id === each.id);
    if (line !== undefined && each.rem < line.n && each.givenRem < line.n) {
      const its = heldBack(line, each, recovery(units, line), line.n, now);
      if (its.int > 0 || its.rem > 0) {
        give(line, line.n, its.int, its.rem);
        lower(line, line.n, its);
        state.changed = true;
      }
    }
  }
}

/**
 * Gives units back on every line, each at most what it counts. The state remembers it until all charges so far would
 * have recovered: their receipts are still there.
 */
export function creditLines(
  state: TokenBucketState,
  plan: TokenBucketPlan,
  units: number,
  now: number,
): void {
  const { p, n } = ownOf(plan) ?? plan;
  const { int: tat, rem } = inParts(state.tat, state.rem, state.n, n);
  const { int: given, rem: givenRem } = inParts(state.given, state.givenRem, state.n, n);
  const unlabelled = { id: state.epoch, tat, rem, given, givenRem };
  // As if all that counts had been one charge just now.
  restoreLines(state, plan, { p, n, unlabelled, lines: state.lines ?? [] }, units, now, true);
}

/** What `restoreLines` must know of the charge just made. */
export function writeReceipt(state: TokenBucketState, plan: TokenBucketPlan): string {
  const { p } = ownOf(plan) ?? plan;
  const { tat, rem, n, lines, epoch, given, givenRem } = state;
  const unlabelled = `${p}:${n}:${tat}:${rem}`;
  if (lines === undefined) {
    return unlabelled;
  }
  const labelled = lines.map(
    (line) => `,${line.id}:${line.tat}:${line.rem}:${line.given}:${line.givenRem}`,
  );
  return `${unlabelled}:${epoch}:${given}:${givenRem}${labelled.join('')}`;
}

/** Reads a receipt; undefined for any other text. */
export function readReceipt(receipt: string): BucketReceipt | undefined {
  const fields = RECEIPT.exec(receipt);
  if (fields === null) {
    return undefined;
  }
  const [p, n, tat, rem, id, given, givenRem] = fields
    .slice(1, 8)
    .map((field) => Number(field ?? 0)) as [number, number, number, number, number, number, number];
  if (!areExact(p, n, tat, id, given) || n < 1 || n > MAX_UNITS || rem >= n || givenRem >= n) {
    return undefined;
  }
  const lines: LineReceipt[] = [];
  for (const part of fields[8]!.split(',').slice(1)) {
    const line = LINE_RECEIPT.exec(part)?.slice(1).map(Number) as
      | [number, number, number, number, number]
      | undefined;
    if (line === undefined || lines.length === MAX_LINES || !areExact(...line)) {
      return undefined;
    }
    lines.push({ id: line[0], tat: line[1], rem: line[2], given: line[3], givenRem: line[4] });
  }
  return { p, n, unlabelled: { id, tat, rem, given, givenRem }, lines };
}

function areExact(...numbers: readonly number[]): boolean {
  return numbers.every((number) => number < FIRST_INEXACT);
}

/**
 * The long form of a state: `rests:v1:at:tat:rem:n:top:epoch:given:givenRem:until`, then for each labelled line
 * `,id:p:n:units:debt:tat:rem:given:givenRem`. Arrival times and `until` are microseconds after `at`.
 * While processes hold slices, `:sliced:slicedUntil` follows `until`, likewise.
 */
export function writeLines(state: TokenBucketState): string {
  const { at, rests, tat, rem, n, top, epoch, given, givenRem, until } = state;
  const ahead = Math.max(0, tat - at);
  const left = Math.max(0, until - at);
  const lines = state.lines!.map(
    (line) =>
      `,${line.id}:${line.p}:${line.n}:${line.units}:${line.debt}:${line.tat - at}:${line.rem}:${line.given}:${line.givenRem}`,
  );
  const slices =
    state.sliced > at ? `:${state.sliced - at}:${Math.max(0, state.slicedUntil - at)}` : '';
  return `${rests}:v1:${at}:${ahead}:${rem}:${n}:${top}:${epoch}:${given}:${givenRem}:${left}${slices}${lines.join('')}`;
}

/** Reads the long form into a fresh plain state; false if this library did not write it. */
export function readLines(state: TokenBucketState, value: string, now: number): boolean {
  const fields = STATE.exec(value);
  if (fields === null) {
    return false;
  }
  const [rested, at, tat, rem, n, top, epoch, given, givenRem, until] = fields
    .slice(1, 11)
    .map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const rests = rested - at;
  if (
    rests < 0 ||
    !areExact(rested, at + top, epoch, given) ||
    n < 1 ||
    n > MAX_UNITS ||
    rem >= n ||
    givenRem >= n ||
    ceiled(tat, rem) > rests ||
    until > rests
  ) {
    return false;
  }
  const lines: Line[] = [];
  for (const part of fields[13]!.split(',').slice(1)) {
    const line = readLine(part, at, rests);
    if (line === undefined || lines.length === MAX_LINES) {
      return false;
    }
    lines.push(line);
  }
  const back = Math.max(0, at - now);
  const start = at - back;
  if (start + rests <= now) {
    return true; // all lines rest
  }
  Object.assign(state, {
    lines,
    at: start,
    rests: start + rests,
    tat: start + tat,
    rem,
    n,
    top,
    epoch,
    given,
    givenRem,
    until: start + until,
  });
  if (back === 0 && fields[11] !== undefined) {
    noteSlices(state, at + Number(fields[11]), at + Number(fields[12]), now);
  }
  if (back > 0) {
    // The clock stepped back: so do all lines, and receipts tell.
    give(state, n, back, 0);
    noteGiven(state, now);
    state.changed = true;
  }
  for (const line of lines) {
    line.tat -= back;
    if (back > 0) {
      give(line, line.n, back, 0);
    }
  }
  return true;
}

function readLine(text: string, at: number, rests: number): Line | undefined {
  const fields = LINE.exec(text)?.slice(1).map(Number);
  if (fields === undefined) {
    return undefined;
  }
  const [id, p, n, units, debt, tat, rem, given, givenRem] = fields as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const isLabel =
    p >= 1 && n >= 1 && n <= MAX_UNITS && ((units + debt + 1) * p) / n <= 2 * MAX_RECOVERY_US;
  return isLabel && areExact(id, given) && rem < n && givenRem < n && ceiled(tat, rem) <= rests
    ? { id, p, n, units, debt, tat: at + tat, rem, given, givenRem }
    : undefined;
}
