import { RateLimiterError } from 'distributed-rate-limiter';
import { expect } from 'vitest';

const everyTrapThrows: ProxyHandler<object> = new Proxy(
  {},
  {
    get: (_, trap) => () => {
      throw new Error(`the trap ${String(trap)} was sprung`);
    },
  },
);

/** Throws on every read. */
export const hostileProxy: unknown = new Proxy({}, everyTrapThrows);

/** An array that throws on every read. */
export const hostileArray: unknown = new Proxy([], everyTrapThrows);

/** Values wrong for every option that takes a whole number of at least 1, each with its text in messages. */
export const notWholeNumbers: readonly (readonly [shown: string, value: unknown])[] = [
  ['0', 0],
  ['-0', -0],
  ['-1', -1],
  ['1.5', 1.5],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['9007199254740992', 2 ** 53],
  ['5e-324', Number.MIN_VALUE],
  ['"1"', '1'],
  ['""', ''],
  ['"0x10"', '0x10'],
  ['" 5 "', ' 5 '],
  ['"1e3"', '1e3'],
  ['1n (bigint)', 1n],
  ['true', true],
  ['null', null],
  ['an array of 0', []],
  ['an array of 1', [5]],
  ['an object', {}],
  ['an object', new Date(0)],
  ['an object', Object(5)],
  ['an object', { valueOf: () => 5 }],
  ['a symbol', Symbol('5')],
  ['a function', () => 5],
  ['an object', hostileProxy],
  ['an object', hostileArray],
];

/** Values wrong for every option that takes a string. */
export const notTexts: readonly (readonly [shown: string, value: unknown])[] = [
  ['5', 5],
  ['true', true],
  ['null', null],
  ['an array of 1', ['api']],
  ['an object', {}],
  ['an object', Object('api')],
  ['a symbol', Symbol('api')],
  ['an object', hostileProxy],
];

/** The parts of an option error: it names the option, the rule, the value and a cure. */
interface Refusal {
  readonly code: string;
  readonly name: string;
  readonly option: string | undefined;
  readonly rule: string | undefined;
  readonly shown: string | undefined;
  readonly cure: string | undefined;
}

const FORM =
  /^`(?<option>.+?)` (?<rule>(?:must|is not an option of) .+?), got (?<shown>.+?)\. (?<cure>[^]+[.)?])$/s;

/** The parts of the error that `act` throws; rethrows anything but a `RateLimiterError`. */
export function refusalOf(act: () => unknown): Refusal | string {
  try {
    act();
  } catch (error) {
    if (!(error instanceof RateLimiterError)) throw error;
    const { code, name, message } = error;
    const parts = FORM.exec(message)?.groups;
    return parts === undefined ? message : ({ code, name, ...parts } as unknown as Refusal);
  }
  return 'it was not refused';
}

export function refusal(option: string, shown: string, rule: RegExp, cure: RegExp = /./): Refusal {
  return {
    code: 'ERR_INVALID_OPTION',
    name: 'RateLimiterError',
    option,
    rule: expect.stringMatching(rule),
    shown,
    cure: expect.stringMatching(cure),
  };
}
