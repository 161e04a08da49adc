import { copyOf as copyWith } from '../mutants.ts';
import type { Law } from './history.ts';
import type { KINDS } from './kinds.ts';

/** A way to do it that was rejected, or a plausible mistake: the text that it replaces, and the laws that it breaks. */
export interface Mutant {
  readonly replaces: string;
  readonly by: string;
  readonly breaks: readonly Law[];
  /** The kind of history that shows it first. */
  readonly shownBy: keyof typeof KINDS;
}

const ONE = 'one own limit and up to four plans';
const CANARIES = 'canaries with other bursts';
const STEPS = 'a clock that steps';
const BACK = 'charges given back to a lone limit';
const MANY = 'more plans than a state has lines';

const PASSES: Law = '1: no more passes than the greatest plan grants';
const FREE: Law = '2: a call that charges nothing changes no answer';
const STARTS: Law = '3: a plan starts with the units that count, and keeps its own bound';
const WAITS: Law = '4: no plan waits longer than the charge, nor than its own recovery';
const FUTURE: Law = '4: what a decision says of the future comes true';
const PLAIN: Law = '6: the lone bucket is a plain integer';
const GIVEN: Law = '7: what is given back lets no more pass';
const CREDIT: Law = 'a credit gives each plan its units, up to full';

export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'credits only the unlabelled line': {
    replaces: '{ p, n, unlabelled, lines: state.lines ?? [] }',
    by: '{ p, n, unlabelled, lines: [] }',
    breaks: [CREDIT],
    shownBy: 'charges given back',
  },
  'charges only the line of the plan that asks': {
    replaces: 'advance(line, line, plan.cost, topOf(line), now);',
    by: 'advance(line, line, 0, topOf(line), now);',
    breaks: [PASSES],
    shownBy: ONE,
  },
  'does not note the first refusal under a plan': {
    replaces: '    plan.beside !== undefined &&\n',
    by: '    plan.beside === null &&\n',
    breaks: [FUTURE],
    shownBy: ONE,
  },
  'counts from the last refusal': {
    replaces: `export function noteRefusal(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {`,
    by: `export function noteRefusal(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {
  if (state.lines !== undefined) {
    for (const line of [state, ...state.lines]) {
      line.rem = line.tat < now ? 0 : line.rem;
      line.tat = Math.max(line.tat, now);
    }
    state.at = now;
    state.rests = Math.max(state.rests, now + 1);
    state.changed = true;
  }`,
    breaks: [FUTURE],
    shownBy: ONE,
  },
  'stores the line of a refused plan': {
    replaces: `export function noteRefusal(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {`,
    by: `export function noteRefusal(state: TokenBucketState, plan: TokenBucketPlan, now: number): void {
  if (state.lines !== undefined && state.line !== undefined && !state.lines.includes(state.line)) {
    insert(state, state.line, now);
    state.rests = Math.max(state.rests, ceiled(state.line.tat, state.line.rem));
    state.changed = true;
  }`,
    breaks: [FREE],
    shownBy: MANY,
  },
  'gives a lone bucket the long form': {
    replaces: 'if (!isBeyond(unlabelled.int - now, unlabelled.rem, plan.top)) {',
    by: 'if (now < 0) {',
    breaks: [PLAIN],
    shownBy: ONE,
  },
  'starts a line empty': {
    replaces: 'tat: at + int, rem, given: 0',
    by: 'tat: at, rem: 0, given: 0',
    breaks: [STARTS],
    shownBy: ONE,
  },
  'starts a line by the time that counts, not by the units': {
    replaces: 'let { int, rem } = respaced(unlabelled.int - at, unlabelled.rem, own, plan, top);',
    by: `let { int, rem } = { int: Math.min(top, Math.max(0, unlabelled.int - at)), rem: 0 };
  void own;`,
    breaks: [STARTS],
    shownBy: ONE,
  },
  'starts a line from now, not from the last charge': {
    replaces: 'const at = state.lines === undefined ? now : state.at;',
    by: 'const at = now;',
    breaks: [FUTURE],
    shownBy: ONE,
  },
  'charges a line beyond its top': {
    replaces: 'if (isBeyond(int - now, rem, top)) {',
    by: 'if (isBeyond(int - now, rem, Number.MAX_SAFE_INTEGER)) {',
    breaks: [WAITS],
    shownBy: ONE,
  },
  'cuts the unlabelled line to the top of the limit that reads it': {
    replaces: `    lengthen(state, own, now);
    state.changed = true;
  }
  const at`,
    by: `    state.tat = now + plan.top;
    state.rem = 0;
    state.n = plan.n;
    state.changed = true;
    setFrom(state, undefined, state.tat, 0, now);
    return;
  }
  const at`,
    breaks: [PASSES],
    shownBy: CANARIES,
  },
  'reads the unlabelled line whatever its top': {
    replaces: `      state.top >= plan.top &&
`,
    by: '',
    breaks: [PASSES],
    shownBy: CANARIES,
  },
  'relabels the unlabelled line without looking what it counts': {
    replaces: `    state.top <= own.top &&
    (state.tat < line.tat || (state.tat === line.tat && state.rem <= line.rem))`,
    by: '    state.top > 0',
    breaks: [PASSES],
    shownBy: CANARIES,
  },
  'displaces the line of the most units': {
    replaces: 'lines.splice(first, 1);',
    by: 'lines.splice(Math.max(0, lines.indexOf(most)), 1);',
    breaks: [PASSES],
    shownBy: MANY,
  },
  'drops lines at rest': {
    replaces: `    lines.push(line);
  }
  const back`,
    by: `    if (line.tat > now) {
      lines.push(line);
    }
  }
  const back`,
    breaks: [PASSES, STARTS, WAITS, FUTURE],
    shownBy: ONE,
  },
  'does not move the lines when the clock steps back': {
    replaces: 'const back = Math.max(0, at - now);',
    by: 'const back = 0;',
    breaks: [WAITS],
    shownBy: STEPS,
  },
  'gives back without looking at the receipt': {
    replaces: 'let int = charged.tat - (line.given - charged.given) - base;',
    by: 'let int = line.tat - base + 0 * charged.tat;',
    breaks: [GIVEN],
    shownBy: BACK,
  },
  'does not count what was given back before': {
    replaces: 'let int = charged.tat - (line.given - charged.given) - base;',
    by: 'let int = charged.tat - base;',
    breaks: [GIVEN],
    shownBy: BACK,
  },
  'forgets what was given back at once': {
    replaces: '(state.epoch === 0 || state.until <= now) &&',
    by: '(state.epoch === 0 || state.until > 0) &&',
    breaks: [GIVEN],
    shownBy: BACK,
  },
  'deletes the state at a reset': {
    replaces: `export function resetLines(state: TokenBucketState, plan: TokenBucketPlan, now: number): boolean {`,
    by: `export function resetLines(state: TokenBucketState, plan: TokenBucketPlan, now: number): boolean {
  if (now > 0) {
    return false;
  }`,
    breaks: [GIVEN],
    shownBy: BACK,
  },
};

const FILE = 'algorithms/bucket-lines.ts';

/** A copy of the sources with one text replaced. */
export function copyOf({ replaces, by }: Mutant): { folder: string; remove: () => void } {
  return copyWith({ file: FILE, replaces, by });
}
