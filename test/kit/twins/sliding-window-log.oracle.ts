/**
 * A model of what the documents promise of a sliding window log: a plain list of what was charged and when, of which
 * every question is answered by adding up. No running sums, no search, no code of the twins.
 */

/** One limit's numbers, and under which key its log lies. */
export interface OracleRule {
  readonly key: string;
  readonly rate: number;
  readonly periodUs: number;
  readonly maxDebt: number;
  readonly shadow: boolean;
}

export interface OracleCall {
  readonly verb: 'allow' | 'peek' | 'up_to' | 'penalize' | 'refund' | 'reset';
  readonly units: number;
  readonly rules: readonly OracleRule[];
  /** For `refund`: of each rule the instant of its charge. */
  readonly marks?: readonly (number | undefined)[];
  /** What other limits of the call, of other algorithms, have to say. */
  readonly others?: { readonly pass: boolean; readonly fits: number };
}

export interface OracleVerdict {
  readonly refused: boolean;
  readonly remaining: number;
  readonly over: number;
  readonly resetUs: number;
  readonly retryUs: number;
}

export interface OracleAnswer {
  readonly granted: number | undefined;
  readonly verdicts: readonly OracleVerdict[];
}

interface Kept {
  charges: { at: number; units: number }[];
  offset: number;
  recent: number;
  earlier: number;
  since: number;
}

const SECOND = 1_000_000;

export class LogOracle {
  readonly logs = new Map<string, Kept>();
  /** How often Redis's clock was found to have stepped back too far. */
  steps = 0;
  #now = 0;
  #touched = new Set<string>();

  /** All calls of one script call, at one instant. What is too old is forgotten at the end, where something changed. */
  decide(calls: readonly OracleCall[], now: number): OracleAnswer[] {
    this.#now = now;
    this.#touched = new Set();
    const answers = calls.map((call) => this.#answer(call));
    for (const key of this.#touched) {
      const log = this.logs.get(key);
      if (log !== undefined) {
        const eldest = this.#at(log) - Math.max(log.recent, log.earlier);
        log.charges = log.charges.filter(({ at }) => at > eldest);
        if (log.charges.length === 0) {
          this.logs.delete(key);
        }
      }
    }
    return answers;
  }

  #answer(call: OracleCall): OracleAnswer {
    const { verb, units, rules } = call;
    if (verb === 'reset') {
      for (const { key } of rules) {
        this.logs.delete(key);
      }
      return { granted: undefined, verdicts: [] };
    }
    const held = rules.map((rule) => ({ rule, log: this.#log(rule.key) }));
    const pass = (cost: number): boolean[] =>
      held.map(({ rule, log }) => this.#look(rule, log) + cost <= rule.rate);
    let cost = units;
    let passing: boolean[];
    let granted: number | undefined;
    if (verb === 'allow' || verb === 'peek') {
      passing = pass(units);
      const all = passing.every((passes, i) => passes || rules[i]!.shadow);
      if (verb === 'allow' && all && call.others?.pass !== false) {
        held.forEach(({ rule, log }, i) => passing[i]! && this.#charge(rule, log, units));
      }
    } else if (verb === 'up_to') {
      cost = 1;
      passing = pass(1);
      const rooms = held
        .filter(({ rule }) => !rule.shadow)
        .map(({ rule, log }) => Math.max(0, rule.rate - this.#look(rule, log)));
      granted = Math.min(units, ...rooms, call.others?.fits ?? Number.POSITIVE_INFINITY);
      if (granted > 0) {
        cost = granted;
        passing = pass(granted);
        held.forEach(({ rule, log }, i) => passing[i]! && this.#charge(rule, log, granted!));
      }
    } else {
      held.forEach(({ rule, log }, i) => {
        const used = this.#look(rule, log);
        if (verb === 'penalize') {
          const room = rule.rate + rule.maxDebt - used;
          if (room > 0) {
            this.#charge(rule, log, Math.min(units, room));
          }
        } else if (call.marks?.[i] !== undefined) {
          this.#refund(rule, log, call.marks[i], units);
        }
      });
      cost = 1;
      passing = pass(1);
    }
    return {
      granted,
      verdicts: held.map(({ rule, log }, i) => this.#verdict(rule, log, cost, passing[i]!)),
    };
  }

  #log(key: string): Kept {
    let log = this.logs.get(key);
    if (log === undefined) {
      log = { charges: [], offset: 0, recent: 0, earlier: 0, since: 0 };
      this.logs.set(key, log);
      this.#touched.add(key); // an empty one is dropped again at the end
    }
    return log;
  }

  /** The log's time for what happens now: never before its last charge. */
  #at({ charges, offset }: Kept): number {
    return Math.max(this.#now + offset, ...charges.map(({ at }) => at));
  }

  /** The units that count, after what a look itself does: time that stepped back goes on, a longer period is noted. */
  #look(rule: OracleRule, log: Kept): number {
    const at = this.#at(log);
    if (at - (this.#now + log.offset) > SECOND) {
      log.offset = at - this.#now;
      this.steps += 1;
      this.#touched.add(rule.key);
    }
    const used = sum(log.charges.filter((charge) => charge.at > at - rule.periodUs));
    if (used > 0 && rule.periodUs > log.recent) {
      log.recent = rule.periodUs;
      this.#touched.add(rule.key);
    }
    return used;
  }

  #charge(rule: OracleRule, log: Kept, units: number): void {
    const at = this.#at(log);
    if (at - log.since >= Math.max(log.recent, log.earlier)) {
      Object.assign(log, { earlier: log.recent, recent: rule.periodUs, since: at });
    }
    log.recent = Math.max(log.recent, rule.periodUs);
    log.charges.push({ at, units });
    this.#touched.add(rule.key);
  }

  #refund(rule: OracleRule, log: Kept, mark: number, units: number): void {
    const at = this.#at(log);
    if (mark <= at - rule.periodUs) {
      return;
    }
    let left = units;
    for (const charge of log.charges) {
      if (charge.at === mark) {
        const taken = Math.min(left, charge.units);
        charge.units -= taken;
        left -= taken;
      }
    }
    if (left < units) {
      this.#touched.add(rule.key);
      log.charges = log.charges.filter((charge) => charge.units > 0);
      if (this.#at(log) < at) {
        log.offset = at - this.#now;
      }
    }
  }

  #verdict(rule: OracleRule, log: Kept, cost: number, passes: boolean): OracleVerdict {
    const { rate, periodUs } = rule;
    const clock = this.#now + log.offset;
    const at = this.#at(log);
    const live = log.charges.filter((charge) => charge.at > at - periodUs);
    const used = sum(live);
    const ends = live.map((charge) => charge.at + periodUs);
    const rests = Math.max(clock, ...ends) - clock;
    const opens = ends.find(
      (end) => sum(live.filter((charge) => charge.at + periodUs > end)) + cost <= rate,
    );
    return {
      refused: !passes,
      remaining: Math.max(0, rate - used),
      over: Math.max(0, used - rate),
      resetUs: rests,
      retryUs: passes ? 0 : (opens ?? clock + rests) - clock,
    };
  }
}

function sum(charges: readonly { units: number }[]): number {
  return charges.reduce((total, { units }) => total + units, 0);
}
