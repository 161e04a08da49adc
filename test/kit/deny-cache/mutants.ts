import type { Mutant as AnyMutant } from '../mutants.ts';

/** A plausible mistake, and the history that shows it. */
export interface Mutant extends AnyMutant {
  readonly shownBy:
    | 'two worlds'
    | 'a server beside'
    | 'another process'
    | 'windows of several lengths';
}

const CACHE = 'limiter/deny-cache.ts';
const ANCHOR = 'stores/clock-anchor.ts';
const IDLE = "new Set(['peek', 'renew'])";

export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'repeats refusals for longer than holdMs': {
    file: CACHE,
    replaces: 'own - told.anchor.sent >= holdMs * 1_000 ||',
    by: '',
    shownBy: 'another process',
  },
  'refuses by the earliest instant of the server': {
    file: ANCHOR,
    replaces: 'Math.ceil((own - this.sent + 1) * (1 + CLOCK_DRIFT))',
    by: 'Math.max(0, Math.floor((own - this.heard - 1) * (1 - CLOCK_DRIFT)))',
    shownBy: 'a server beside',
  },
  'trusts a clock that was stopped with the process': {
    file: ANCHOR,
    replaces: 'Math.abs(this.#lead(own) - this.#knownLead) > PARTED_MS',
    by: 'false',
    shownBy: 'a server beside',
  },
  'learns while a reset is unanswered': {
    file: 'limiter/given-back.ts',
    replaces: 'return homesOf(call).every((key) => {',
    by: 'return homesOf(call).every((key) => { return true;',
    shownBy: 'a server beside',
  },
  'ignores the cost': {
    file: 'script/answer-later.ts',
    replaces: 'const { limit, plan } = rules[i]!;',
    by: 'const { limit, plan } = told.rules[i]!;',
    shownBy: 'two worlds',
  },
  'takes one set of limits for another': {
    file: CACHE,
    replaces: "text: shape.rules.map(textOf).join(' '),",
    by: "text: '',",
    shownBy: 'two worlds',
  },
  'does not see resets and unblocks': {
    file: CACHE,
    replaces: IDLE,
    by: "new Set(['peek', 'renew', 'reset'])",
    shownBy: 'two worlds',
  },
  'does not see refunds': {
    file: CACHE,
    replaces: IDLE,
    by: "new Set(['peek', 'renew', 'refund'])",
    shownBy: 'two worlds',
  },
  'does not see credits': {
    file: CACHE,
    replaces: IDLE,
    by: "new Set(['peek', 'renew', 'credit'])",
    shownBy: 'two worlds',
  },
  'does not see settlements': {
    file: CACHE,
    replaces: IDLE,
    by: "new Set(['peek', 'renew', 'settle'])",
    shownBy: 'two worlds',
  },
  'keeps numbers from before a charge': {
    file: CACHE,
    replaces: "const others = outcome === 'refused' ? (this.#known.get(identity) ?? []) : [];",
    by: 'const others = this.#known.get(identity) ?? [];',
    shownBy: 'two worlds',
  },
  'takes inherited counts for those of the window': {
    file: CACHE,
    replaces: 'kinds.several ||= kinds.kind !== kind;',
    by: '',
    shownBy: 'windows of several lengths',
  },
};
