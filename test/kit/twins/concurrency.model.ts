import { keysOf } from '../../../src/script/call-shape.ts';
import type { Entry, Rule } from '../../../src/script/call-shape.ts';
import type { ConcurrencyPlan } from '../../../src/algorithms/concurrency.ts';

const SECOND = 1_000_000;

/** What is lent under one key, in a list. A change forgets what has ended, and with the last one everything. */
class Places {
  lent: { lease: string; until: number }[] = [];
  lastWrite = 0;

  live(now: number): { lease: string; until: number }[] {
    return this.lent.filter(({ until }) => until > now).sort((a, b) => a.until - b.until);
  }

  has(lease: string, now: number): boolean {
    return this.live(now).some((each) => each.lease === lease);
  }

  lend(lease: string, until: number, now: number): void {
    this.forgetEnded(now);
    const mine = this.lent.find((each) => each.lease === lease);
    if (mine === undefined) this.lent.push({ lease, until });
    else mine.until = Math.max(mine.until, until);
    this.lastWrite = Math.max(this.lastWrite, now);
  }

  end(lease: string, now: number): void {
    if (!this.has(lease, now)) return;
    this.lent = this.lent.filter((each) => each.lease !== lease);
    this.forgetEnded(now);
  }

  /** The clock stepped back: what was left at the last write is left now. */
  shift(now: number): void {
    for (const each of this.lent) each.until -= this.lastWrite - now;
    this.lastWrite = now;
    this.forgetEnded(now);
  }

  forgetEnded(now: number): void {
    this.lent = this.live(now);
    if (this.lent.length === 0) this.lastWrite = 0;
  }
}

/**
 * What concurrency limits answer, from their rules and not from their code. Of rate limits beside them it takes
 * the answers as they are.
 */
export class Model {
  readonly #places = new Map<string, Places>();
  shifts = 0;

  ends(now: number): number[] {
    return [...this.#places.values()].flatMap((places) =>
      places.live(now).map((each) => each.until),
    );
  }

  /** What the entry must be answered, given what the rate limits said. */
  step(
    entry: Entry,
    answer: readonly number[],
    now: number,
  ): { expected: number[]; replay: boolean; passes: boolean } {
    const { verb, rules, head } = entry.shape;
    const keys = keysOf(entry);
    if (verb === 'reset') {
      for (const key of keys) this.#places.delete(key);
      return { expected: rules.map(() => 1), replay: false, passes: true };
    }
    const lending = rules.flatMap((rule, i) =>
      rule.limit.algorithm === 'concurrency' ? [{ rule, i, places: this.#at(keys[i]!, now) }] : [],
    );
    const lease = entry.details?.[0] ?? 'nobody';
    const enforced = lending.filter(({ rule }) => !rule.limit.shadow);
    const heldByAll = enforced.every(({ places }) => places.has(lease, now));
    if (verb === 'release') {
      for (const { places } of lending) places.end(lease, now);
      return { expected: [heldByAll ? 1 : 0], replay: false, passes: true };
    }
    if (verb === 'renew') {
      if (heldByAll) this.#lendHeld(lending, lease, now);
      return { expected: [heldByAll ? 1 : 0], replay: false, passes: true };
    }
    const replay =
      verb === 'acquire' && heldByAll && lending.some(({ places }) => places.has(lease, now));
    // The rate limits' own verdicts, as they stand in the answer.
    let place = head;
    const verdicts = rules.map(({ limit, plan }, i) => {
      const said = answer[place]! >= 0;
      place += plan.width;
      const mine = lending.find((each) => each.i === i);
      if (mine === undefined) return said;
      const fits = mine.places.live(now).length < max(mine.rule) || mine.places.has(lease, now);
      return fits || (replay && !limit.shadow);
    });
    const passes = rules.every(({ limit }, i) => verdicts[i] === true || limit.shadow);
    if (verb === 'acquire' && replay) {
      this.#lendHeld(lending, lease, now);
    } else if (verb === 'acquire' && passes) {
      for (const { places, rule, i } of lending) {
        if (verdicts[i] === true) places.lend(lease, now + ttl(rule), now);
      }
    }
    const expected: number[] = answer.slice(0, head);
    place = head;
    rules.forEach(({ plan }, i) => {
      const mine = lending.find((each) => each.i === i);
      if (mine === undefined) {
        expected.push(...answer.slice(place, place + plan.width));
      } else {
        const live = mine.places.live(now);
        const opens = live[live.length - max(mine.rule)];
        expected.push(
          verdicts[i] === true ? live.length : -1 - live.length,
          live.length === 0 ? 0 : live.at(-1)!.until - now,
          verdicts[i] === true ? 0 : opens!.until - now,
        );
      }
      place += plan.width;
    });
    return { expected, replay, passes };
  }

  #lendHeld(lending: readonly { rule: Rule; places: Places }[], lease: string, now: number): void {
    for (const { places, rule } of lending) {
      if (places.has(lease, now)) places.lend(lease, now + ttl(rule), now);
    }
  }

  #at(key: string, now: number): Places {
    let places = this.#places.get(key);
    if (places === undefined) {
      places = new Places();
      this.#places.set(key, places);
    }
    if (places.lastWrite - now > SECOND) {
      this.shifts += 1;
      places.shift(now);
    }
    return places;
  }
}

function max({ plan }: Rule): number {
  return (plan as ConcurrencyPlan).max;
}

function ttl({ plan }: Rule): number {
  return (plan as ConcurrencyPlan).ttl;
}
