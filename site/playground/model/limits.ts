import { RateLimiterError } from '../../../src/base/errors.ts';
import { LIMIT_FACTORIES, LIMIT_SYNTAX, partsOfLimit } from '../../../src/cli/limits/limit-text.ts';
import type { LimitParts } from '../../../src/cli/limits/limit-text.ts';

/** The fields of one limit, as they were typed. */
export interface LimitFields {
  algorithm: LimitParts['algorithm'];
  rate: string;
  period: string;
  burst: string;
}

export const ALGORITHM_NAMES: readonly (readonly [LimitParts['algorithm'], string])[] = [
  ['bucket', 'Token bucket'],
  ['fixed', 'Fixed window'],
  ['sliding', 'Sliding window'],
  ['log', 'Sliding window log'],
];

/** Limits that govern requests together. Text and fields say the same, in two forms. */
export interface PolicyForm {
  readonly id: number;
  text: string;
  /** Empty while the text is none. */
  limits: LimitFields[];
}

let lastId = 0;

export function policyForm(text: string): PolicyForm {
  return { id: ++lastId, text, limits: fieldsOf(text) ?? [] };
}

/** The fields of a text such as `10/1s, 1000/1h`; undefined for text that is no limit. */
export function fieldsOf(text: string): LimitFields[] | undefined {
  const all = text.split(',').map((each) => partsOfLimit(each.trim()));
  return all.some((parts) => parts === undefined)
    ? undefined
    : all.map((parts) => ({ ...parts!, burst: parts!.burst ?? '' }));
}

export function textOf(limits: readonly LimitFields[]): string {
  return limits.map(textOfOne).join(', ');
}

function textOfOne({ algorithm, rate, period, burst }: LimitFields): string {
  const bucket = burst.trim() === '' ? '' : ` burst ${burst.trim()}`;
  return `${rate.trim()}/${period.trim()}${algorithm === 'bucket' ? bucket : ` ${algorithm}`}`;
}

/** What is wrong with a policy: of its text, and by the index of a limit of each of its options. */
export interface PolicyProblems {
  readonly text: string | undefined;
  readonly limits: readonly Readonly<Record<string, string>>[];
}

/** Lets the library itself check the options, and finds the field of each problem that it tells. */
export function problemsOf({ text, limits }: PolicyForm): PolicyProblems | undefined {
  if (limits.length === 0) {
    return { text: `A limit is such as ${LIMIT_SYNTAX}.`, limits: [] };
  }
  const found = limits.map(problemsOfOne);
  if (found.some((problems) => Object.keys(problems).length > 0)) {
    return { text: undefined, limits: found };
  }
  const texts = text.split(',').map((each) => each.trim());
  return new Set(texts.slice(1)).size < texts.length - 1
    ? { text: 'The limits of a policy differ. Leave one of the equal ones out.', limits: found }
    : undefined;
}

function problemsOfOne({ algorithm, rate, period, burst }: LimitFields): Record<string, string> {
  const given = burst.trim() === '' || algorithm !== 'bucket' ? {} : { burst: numberIn(burst) };
  // Words such as `minute` stand for one of them, as on the command line.
  const length = /^[a-z]/.test(period.trim()) ? `1${period.trim()}` : period.trim();
  try {
    LIMIT_FACTORIES[algorithm]({ rate: numberIn(rate), period: length, ...given } as never);
    return {};
  } catch (error) {
    if (!(error instanceof RateLimiterError)) {
      throw error;
    }
    return byOption(error.message);
  }
}

/** An error that stands for several problems has one a line. */
function byOption(message: string): Record<string, string> {
  const told = message.includes('\n- ') ? message.split('\n- ').slice(1) : [message];
  return Object.fromEntries(
    told.map((each) => [/^`(\w+)`/.exec(each)?.[1] ?? 'rate', each.replaceAll('`', '')]),
  );
}

/** A number as it was typed; other text stays text, so that the library names it in its error. */
function numberIn(text: string): number | string {
  const digits = text.trim().replaceAll('_', '');
  return /^-?\d+(?:\.\d+)?$/.test(digits) ? Number(digits) : text;
}
