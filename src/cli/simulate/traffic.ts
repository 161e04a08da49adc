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

/** What the text of a traffic says, piece by piece. */
export type TrafficParts = { readonly callers?: string | undefined } & (
  | { readonly kind: 'steady' | 'poisson'; readonly number: string; readonly period: string }
  | { readonly kind: 'bursts'; readonly size: string; readonly every: string }
  | {
      readonly kind: 'on';
      readonly on: string;
      readonly off: string;
      readonly number: string;
      readonly period: string;
    }
);

/** Reads traffic such as `100 callers poisson 10/1m`. Rates are of each caller. */
export function readTraffic(given: string): Traffic {
  const name = given.trim();
  const parts = partsOfTraffic(name);
  if (parts === undefined) {
    throw new UsageError(`--traffic must be such as ${TRAFFIC_SYNTAX}; got '${given}'.`);
  }
  try {
    return makeTraffic(name, parts);
  } catch (error) {
    throw error instanceof RangeError
      ? new UsageError(`--traffic '${name}': ${error.message}`)
      : error;
  }
}

/** Takes the text of a traffic apart; undefined if it is none. */
export function partsOfTraffic(text: string): TrafficParts | undefined {
  const even = EVEN.exec(text);
  if (even !== null) {
    const [, callers, kind, number, period] = even;
    return { kind: kind as 'steady' | 'poisson', callers, number: number!, period: period! };
  }
  const burst = BURSTS.exec(text);
  if (burst !== null) {
    const [, callers, size, every] = burst;
    return { kind: 'bursts', callers, size: size!, every: every! };
  }
  const onOff = ON_OFF.exec(text);
  if (onOff !== null) {
    const [, callers, on, off, number, period] = onOff;
    return { kind: 'on', callers, on: on!, off: off!, number: number!, period: period! };
  }
  return undefined;
}

/**
 * Makes traffic of what its text says.
 *
 * @throws {RangeError} for digits below 1, and for a text that is no duration
 */
export function makeTraffic(name: string, parts: TrafficParts): Traffic {
  return { name, callers: countOf(parts.callers ?? '1'), arrivals: arrivalsOf(parts) };
}

function arrivalsOf(parts: TrafficParts): Traffic['arrivals'] {
  if (parts.kind === 'bursts') {
    const [size, gap] = [countOf(parts.size), lengthOf(parts.every)];
    return (random) => bursts(size, gap, random);
  }
  const gap = lengthOf(parts.period) / countOf(parts.number);
  if (parts.kind === 'on') {
    const [onMs, offMs] = [lengthOf(parts.on), lengthOf(parts.off)];
    return (random) => turns(onMs, offMs, gap, random);
  }
  return parts.kind === 'steady'
    ? (random) => steady(gap, random)
    : (random) => poisson(gap, random);
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

function countOf(digits: string): number {
  const number = Number(digits.replaceAll('_', ''));
  if (!(number >= 1)) {
    throw new RangeError(`'${digits}' must be at least 1.`);
  }
  return number;
}

function lengthOf(text: string): number {
  const ms = durationToMs(/^\d/.test(text) ? text : `1${text}`);
  if (ms === undefined || ms < 1) {
    throw new RangeError(`'${text}' is no duration. Write 10s, 1m or 1h.`);
  }
  return ms;
}
