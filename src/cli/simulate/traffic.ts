import { durationToMs } from '../../base/duration.ts';
import { UsageError } from '../kit/io.ts';
import type { SeededRandom } from './random.ts';

const RATE = String.raw`([\d_]{1,10}) ?(?:/|per ) ?(\d{0,12} ?[a-z]+)`;
const DURATION = String.raw`(\d{1,12} ?[a-z]+)`;
const CALLERS = String.raw`^(?:([\d_]{1,9}) callers? )?`;
const EVEN = new RegExp(`${CALLERS}(steady|poisson) ${RATE}$`);
const BURSTS = new RegExp(String.raw`${CALLERS}bursts of ([\d_]{1,7}) every ${DURATION}$`);
const ON_OFF = new RegExp(`${CALLERS}on ${DURATION} off ${DURATION} ${RATE}$`);

export const TRAFFIC_SYNTAX =
  "'100 callers steady 10/1m', '100 callers poisson 10/1m', '5 callers bursts of 20 every 10s', '5 callers on 10s off 50s 5/1s'";

/** The times of one caller's requests, in milliseconds from the start, in order and without end. */
export type Arrivals = Iterator<number, never>;

/** Callers that behave alike, each for itself. */
export interface Traffic {
  readonly name: string;
  readonly callers: number;
  readonly arrivals: (random: SeededRandom) => Arrivals;
}

/** Reads traffic such as `100 callers poisson 10/1m`. Rates are of each caller. */
export function readTraffic(given: string): Traffic {
  const name = given.trim();
  const even = EVEN.exec(name);
  if (even !== null) {
    const [, callers, kind, number, period] = even;
    const gap = gapOf(name, number!, period!);
    return {
      name,
      callers: callersOf(name, callers),
      arrivals: (random) => (kind === 'steady' ? steady(gap, random) : poisson(gap, random)),
    };
  }
  const burst = BURSTS.exec(name);
  if (burst !== null) {
    const [, callers, number, every] = burst;
    const [size, gap] = [countOf(name, number!), lengthOf(name, every!)];
    return {
      name,
      callers: callersOf(name, callers),
      arrivals: (random) => bursts(size, gap, random),
    };
  }
  const onOff = ON_OFF.exec(name);
  if (onOff !== null) {
    const [, callers, on, off, number, period] = onOff;
    const [onMs, offMs] = [lengthOf(name, on!), lengthOf(name, off!)];
    const gap = gapOf(name, number!, period!);
    return {
      name,
      callers: callersOf(name, callers),
      arrivals: (random) => turns(onMs, offMs, gap, random),
    };
  }
  throw new UsageError(`--traffic must be such as ${TRAFFIC_SYNTAX}; got '${given}'.`);
}

/** One request each `gap`. Each caller begins at another instant. */
function* steady(gap: number, random: SeededRandom): Generator<number, never> {
  const start = random.fraction() * gap;
  for (let i = 0; ; i++) {
    yield start + i * gap;
  }
}

/** Requests that come independently of each other, `gap` apart on average. */
function* poisson(gap: number, random: SeededRandom): Generator<number, never> {
  for (let at = random.untilNext(gap); ; at += random.untilNext(gap)) {
    yield at;
  }
}

/** Several requests at once, each `gap`. */
function* bursts(size: number, gap: number, random: SeededRandom): Generator<number, never> {
  const start = random.fraction() * gap;
  for (let i = 0; ; i++) {
    for (let j = 0; j < size; j++) {
      yield start + i * gap;
    }
  }
}

/** A request each `gap` for a while, then none for a while. */
function* turns(
  onMs: number,
  offMs: number,
  gap: number,
  random: SeededRandom,
): Generator<number, never> {
  const start = random.fraction() * (onMs + offMs) - onMs;
  const inTurn = Math.ceil(onMs / gap);
  for (let i = 0; ; i++) {
    for (let j = 0; j < inTurn; j++) {
      const at = start + i * (onMs + offMs) + j * gap;
      if (at >= 0) {
        yield at; // the first turn may have begun before the start
      }
    }
  }
}

function countOf(traffic: string, digits: string): number {
  const number = Number(digits.replaceAll('_', ''));
  if (!(number >= 1)) {
    throw new UsageError(`--traffic '${traffic}': '${digits}' must be at least 1.`);
  }
  return number;
}

function callersOf(traffic: string, digits = '1'): number {
  return countOf(traffic, digits);
}

function lengthOf(traffic: string, text: string): number {
  const ms = durationToMs(/^\d/.test(text) ? text : `1${text}`);
  if (ms === undefined || ms < 1) {
    throw new UsageError(`--traffic '${traffic}': '${text}' is no duration. Write 10s, 1m or 1h.`);
  }
  return ms;
}

/** Milliseconds from one request to the next. */
function gapOf(traffic: string, number: string, period: string): number {
  return lengthOf(traffic, period) / countOf(traffic, number);
}
