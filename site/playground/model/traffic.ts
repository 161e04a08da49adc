import { durationToMs } from '../../../src/base/duration.ts';
import { makeTraffic, partsOfTraffic, TRAFFIC_SYNTAX } from '../../../src/cli/simulate/traffic.ts';
import type { TrafficParts } from '../../../src/cli/simulate/traffic.ts';

export type TrafficKind = TrafficParts['kind'];

export const KIND_NAMES: readonly (readonly [TrafficKind, string])[] = [
  ['steady', 'evenly'],
  ['poisson', 'at random'],
  ['bursts', 'in bursts'],
  ['on', 'on and off'],
];

/** The fields of one traffic, as they were typed. Those of other kinds are kept for when one comes back to them. */
export interface TrafficForm {
  readonly id: number;
  kind: TrafficKind;
  callers: string;
  number: string;
  period: string;
  size: string;
  every: string;
  on: string;
  off: string;
}

let lastId = 0;

const USUAL = { callers: '1', number: '30', period: '1m', size: '20', every: '10s' };

/** Undefined for text that is no traffic. */
export function trafficForm(text: string): TrafficForm | undefined {
  const parts = partsOfTraffic(text.trim());
  const given = parts && Object.fromEntries(Object.entries(parts).filter(([, each]) => each));
  return given && ({ id: ++lastId, ...USUAL, on: '10s', off: '50s', ...given } as TrafficForm);
}

function partsOf({ kind, callers, number, period, size, every, on, off }: TrafficForm) {
  return kind === 'bursts'
    ? { kind, callers, size, every }
    : kind === 'on'
      ? { kind, callers, number, period, on, off }
      : { kind, callers, number, period };
}

export function textOfTraffic(form: TrafficForm): string {
  const { kind, callers, number, period, size, every, on, off } = form;
  const what =
    kind === 'bursts'
      ? `bursts of ${size} every ${every}`
      : `${kind === 'on' ? `on ${on} off ${off}` : kind} ${number}/${period}`;
  return `${callers} ${callers === '1' ? 'caller' : 'callers'} ${what}`;
}

const MOST_CALLERS = 100_000;

/** What is wrong with a traffic, and with which of its fields. */
export function problemOfTraffic(
  form: TrafficForm,
): { readonly message: string; readonly of: (value: string) => boolean } | undefined {
  try {
    const { callers } = makeTraffic('', partsOf(form));
    if (callers > MOST_CALLERS) {
      throw new RangeError(`'${form.callers}' must be at most 100,000 callers here.`);
    }
  } catch (error) {
    const { message } = error as Error;
    return { message, of: (value) => message.startsWith(`'${value}'`) };
  }
  return partsOfTraffic(textOfTraffic(form)) === undefined
    ? { message: `Traffic is such as ${TRAFFIC_SYNTAX}.`, of: () => false }
    : undefined;
}

const LONGEST_MS = 366 * 86_400_000;

/** The length of the traffic, in milliseconds; a message if it is none. */
export function readLength(text: string): number | string {
  const ms = durationToMs(text.trim());
  return ms !== undefined && ms >= 1 && ms <= LONGEST_MS
    ? ms
    : `'${text}' is no duration of at most a year. Write 5m.`;
}
