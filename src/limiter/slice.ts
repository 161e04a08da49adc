import type { TokenBucketPlan } from '../algorithms/bucket-lines.ts';
import { recovery, unitsWithin } from '../algorithms/recovery.ts';
import type { Micros } from '../algorithms/recovery.ts';
import type { Verdict } from '../algorithms/limit.ts';
import type { Shape } from '../script/call-shape.ts';
import { CLOCK_DRIFT } from '../stores/clock-anchor.ts';
import type { ClockAnchor } from '../stores/clock-anchor.ts';

/** Most pieces of one slice that refunds have brought back. Beyond it they are lost. */
const MAX_RETURNED = 16;

/** What one limit has given of a slice. All times are on the server's clock, in microseconds. */
interface Part {
  /**
   * After how long on the process's clock a cost can be spent, if the server's clock is between `earliest` and `latest`
   * now: 0 for at once, Infinity for never. `take` follows if all parts answer 0.
   */
  wait(cost: number, earliest: number, latest: number): number;
  take(cost: number): void;
  /** Takes back what the last `take` spent, or an earlier one told by its mark: `marks[at]` and `marks[at + 1]`. */
  giveBack(cost: number, marks: readonly number[], at: number): void;
  /** Adds two numbers that say where the cost was spent that `take` has just taken. */
  addMark(marks: number[]): void;
  /** Units that can be spent now, and units that can still be spent at all. */
  spendable(earliest: number, latest: number): number;
  left(latest: number): number;
  /** After `wait`. */
  verdict(earliest: number, latest: number): Verdict;
}

/**
 * A piece of a token bucket's line. Units have intervals of their own on the line, so the plain step decides each: a unit
 * may be spent while its interval has not begun, and ends within the burst. Then at most `burst + rate · Δ` units pass in
 * any time Δ, however many processes hold pieces, of whatever size and age, beside callers that ask.
 */
class BucketPart implements Part {
  readonly #plan: TokenBucketPlan;
  /** Units that the store had left besides. */
  readonly #storeLeft: number;
  /** Where the next unit's interval begins. */
  #at: number;
  #rem: number;
  /** Where the last unit's interval ends. */
  readonly #end: number;
  readonly #endRem: number;
  #cost = 0;
  #price = 0;
  #priceRem = 0;
  /** Where the cost that `wait` has tried begins and ends. */
  #from = 0;
  #fromRem = 0;
  #to = 0;
  #toRem = 0;
  #waitUs = 0;
  /** The returned piece that `wait` has chosen; -1 for the next unit. */
  #chosen = -1;
  readonly #returned: { at: Micros; cost: number }[] = [];

  constructor(plan: TokenBucketPlan, begins: Micros, units: number, now: number) {
    this.#plan = plan;
    this.#at = begins.int;
    this.#rem = begins.rem;
    this.#price = recovery(units, plan).int;
    this.#priceRem = recovery(units, plan).rem;
    this.#try(begins.int, begins.rem);
    this.#end = this.#to;
    this.#endRem = this.#toRem;
    const { burst } = plan;
    this.#storeLeft = unitsWithin(now + burst.int - this.#end, burst.rem - this.#endRem, plan);
  }

  addMark(marks: number[]): void {
    marks.push(this.#from, this.#fromRem);
  }

  wait(cost: number, earliest: number, latest: number): number {
    if (cost !== this.#cost) {
      const { int, rem } = recovery(cost, this.#plan);
      this.#cost = cost;
      this.#price = int;
      this.#priceRem = rem;
    }
    this.#chosen = this.#returned.length === 0 ? -1 : this.#findReturned(earliest, latest);
    if (this.#chosen < 0) {
      if (this.#at < latest) {
        this.#at = latest;
        this.#rem = 0;
      }
      this.#try(this.#at, this.#rem);
    }
    const isBeyond = this.#to > this.#end || (this.#to === this.#end && this.#toRem > this.#endRem);
    this.#waitUs = this.#chosen < 0 && isBeyond ? Infinity : this.#early(earliest);
    return this.#waitUs;
  }

  #findReturned(earliest: number, latest: number): number {
    return this.#returned.findIndex(({ at, cost }) => {
      this.#try(at.int, at.rem);
      return cost >= this.#cost && at.int >= latest && this.#early(earliest) === 0;
    });
  }

  #try(at: number, rem: number): void {
    this.#from = at;
    this.#fromRem = rem;
    this.#to = at + this.#price;
    this.#toRem = rem + this.#priceRem;
    if (this.#toRem >= this.#plan.n) {
      this.#to += 1;
      this.#toRem -= this.#plan.n;
    }
  }

  /** After how long what was tried ends within the burst. */
  #early(earliest: number): number {
    const { burst } = this.#plan;
    const opens = this.#to - burst.int + (this.#toRem > burst.rem ? 1 : 0);
    // The server's clock may run slower than the process's.
    return opens <= earliest ? 0 : Math.ceil((opens - earliest) / (1 - CLOCK_DRIFT)) + 2;
  }

  take(cost: number): void {
    if (this.#chosen < 0) {
      this.#at = this.#to;
      this.#rem = this.#toRem;
      return;
    }
    const piece = this.#returned[this.#chosen]!;
    if (piece.cost === cost) {
      this.#returned.splice(this.#chosen, 1);
    } else {
      const rest = { at: { int: this.#to, rem: this.#toRem }, cost: piece.cost - cost };
      this.#returned[this.#chosen] = rest;
    }
  }

  giveBack(cost: number, marks: readonly number[], at: number): void {
    const { int, rem } = recovery(cost, this.#plan);
    this.#cost = cost;
    this.#price = int;
    this.#priceRem = rem;
    const from = { int: marks[at]!, rem: marks[at + 1]! };
    this.#try(from.int, from.rem);
    if (this.#to === this.#at && this.#toRem === this.#rem) {
      this.#at = from.int;
      this.#rem = from.rem;
    } else if (this.#returned.length < MAX_RETURNED) {
      this.#returned.push({ at: from, cost });
    }
  }

  spendable(earliest: number, latest: number): number {
    const { burst } = this.#plan;
    const most = earliest + burst.int;
    const isWithin = this.#end < most || (this.#end === most && this.#endRem <= burst.rem);
    return isWithin
      ? this.#unitsTo(this.#end, this.#endRem, latest)
      : this.#unitsTo(most, burst.rem, latest);
  }

  left(latest: number): number {
    return this.#unitsTo(this.#end, this.#endRem, latest);
  }

  #unitsTo(int: number, rem: number, latest: number): number {
    return this.#at < latest
      ? unitsWithin(int - latest, rem, this.#plan)
      : unitsWithin(int - this.#at, rem - this.#rem, this.#plan);
  }

  verdict(earliest: number, latest: number): Verdict {
    const refused = this.#waitUs > 0;
    return {
      refused,
      over: 0,
      remaining: refused ? 0 : this.spendable(earliest, latest) + this.#storeLeft,
      resetUs: Math.max(0, this.#end + (this.#endRem > 0 ? 1 : 0) - earliest),
      retryUs: this.#waitUs,
    };
  }
}

/** A part of a window's count, which is good until the window ends. */
class WindowPart implements Part {
  readonly #verdict: Verdict;
  readonly #now: number;
  #left: number;

  /** `verdict`: what the store said of this limit at `now`. */
  constructor(units: number, verdict: Verdict, now: number) {
    this.#left = units;
    this.#verdict = verdict;
    this.#now = now;
  }

  wait(cost: number): number {
    return cost <= this.#left ? 0 : Infinity;
  }

  take(cost: number): void {
    this.#left -= cost;
  }

  giveBack(cost: number): void {
    this.#left += cost;
  }

  addMark(marks: number[]): void {
    marks.push(0, 0);
  }

  spendable(): number {
    return this.#left;
  }

  left(): number {
    return this.#left;
  }

  verdict(_earliest: number, latest: number): Verdict {
    const { remaining, resetUs } = this.#verdict;
    return {
      refused: false,
      over: 0,
      remaining: remaining + this.#left,
      resetUs: Math.max(0, this.#now + resetUs - latest),
      retryUs: 0,
    };
  }
}

/**
 * Units of all limits of a call that this process was charged for and spends without asking. Where calls ask limits for
 * different units, such as 1 call and 500 tokens, a unit of the slice is all that one of them asks.
 */
export class Slice {
  readonly #parts: readonly Part[];
  /** How many units of each limit a unit of the slice is. */
  readonly #times: readonly number[];
  readonly #shape: Shape;
  readonly #anchor: ClockAnchor;
  /** The server's time at which it ends. */
  readonly #ends: number;
  /** Bounds of the server's time at the last look. */
  #earliest = 0;
  #latest = 0;

  /**
   * @param shape of the `grant` that asked for it
   * @param reply the answer, whose integers begin at `at`
   * @param units one unit of each limit, or where they are asked for different units: such a call
   * @param verdicts what the store said of each limit
   */
  constructor(
    shape: Shape,
    units: number,
    reply: readonly number[],
    at: number,
    verdicts: readonly Verdict[],
    anchor: ClockAnchor,
  ) {
    const now = reply[0]!;
    this.#shape = shape;
    this.#anchor = anchor;
    this.#ends = now + reply[at + 1]!;
    const rules = shape.rules.filter(({ limit }) => limit.twin.slicing !== undefined);
    this.#times = rules.map(({ units: asked }) => asked ?? 1);
    this.#parts = rules.map(({ limit, plan }, i) => {
      const its = units * this.#times[i]!;
      const begins = { int: now + reply[at + 2 + 2 * i]!, rem: reply[at + 3 + 2 * i]! };
      return limit.algorithm === 'token_bucket'
        ? new BucketPart(plan as TokenBucketPlan, begins, its, now)
        : new WindowPart(its, verdicts[i]!, now);
    });
  }

  /**
   * Spends a cost at `own` of the process's clock. Returns 0 if it did, else after how many microseconds it could;
   * Infinity for never.
   */
  spend(cost: number, own: number): number {
    const earliest = (this.#earliest = this.#anchor.earliest(own));
    const latest = (this.#latest = this.#anchor.latest(own));
    if (latest >= this.#ends) {
      return Infinity;
    }
    let waitUs = 0;
    const parts = this.#parts;
    const times = this.#times;
    for (let p = 0; p < parts.length; p++) {
      waitUs = Math.max(waitUs, parts[p]!.wait(cost * times[p]!, earliest, latest));
    }
    if (waitUs > 0) {
      return this.#anchor.latest(own + waitUs) < this.#ends ? waitUs : Infinity;
    }
    for (let p = 0; p < parts.length; p++) {
      parts[p]!.take(cost * times[p]!);
    }
    return 0;
  }

  /** Where each limit's units were spent by the last `spend`. */
  marks(): readonly number[] {
    const marks: number[] = [];
    for (const part of this.#parts) {
      part.addMark(marks);
    }
    return marks;
  }

  /** Takes back what a `spend` of this cost spent. */
  giveBack(cost: number, marks: readonly number[]): void {
    this.#parts.forEach((part, p) => part.giveBack(cost * this.#times[p]!, marks, 2 * p));
  }

  hasEnded(own: number): boolean {
    const latest = this.#anchor.latest(own);
    return latest >= this.#ends || this.left(latest) === 0;
  }

  /** Units that can still be spent, now or later. */
  left(latest: number): number {
    return Math.min(
      ...this.#parts.map((part, p) => Math.floor(part.left(latest) / this.#times[p]!)),
    );
  }

  /** The verdicts of the last `spend`, by rule of the shape. */
  verdicts(): readonly Verdict[] {
    const verdicts: Verdict[] = [];
    let p = 0;
    for (const { limit } of this.#shape.rules) {
      const isSliced = limit.twin.slicing !== undefined;
      verdicts.push(isSliced ? this.#parts[p++]!.verdict(this.#earliest, this.#latest) : PASSED);
    }
    return verdicts;
  }

  /** The server's time at the last `spend`, at the latest. */
  get now(): number {
    return this.#latest;
  }
}

/** A block that was not there. */
const PASSED: Verdict = { refused: false, over: 0, remaining: Infinity, resetUs: 0, retryUs: 0 };
