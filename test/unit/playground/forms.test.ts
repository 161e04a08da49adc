import { runInThisContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { readLimitText } from '../../../src/cli/limits/limit-text.ts';
import * as library from '../../../src/index.ts';
import { makeScale, marksOf } from '../../../site/playground/engine/scale.ts';
import { codeOf } from '../../../site/playground/model/code.ts';
import { EXAMPLES } from '../../../site/playground/model/examples.ts';
import { policyForm, problemsOf, textOf } from '../../../site/playground/model/limits.ts';
import { readHash, writeHash } from '../../../site/playground/model/state.ts';
import {
  problemOfTraffic,
  textOfTraffic,
  trafficForm,
} from '../../../site/playground/model/traffic.ts';

const POLICIES = [
  '100/1m burst 20',
  '100/1m',
  '10/1s sliding, 1000/1h log',
  '1000/1d fixed',
  '1_000/1m burst 20, 5/10 seconds',
];

describe('a policy of the playground', () => {
  test.each(POLICIES)('%s means the same in its fields', (text) => {
    const form = policyForm(text);
    expect(problemsOf(form)).toBeUndefined();
    expect(readLimitText(textOf(form.limits))).toEqual(readLimitText(text));
  });

  test.each(POLICIES)('%s has code that makes its very limits', (text) => {
    const code = codeOf(text)
      .replace(/^import .*$/m, '')
      .replace(/redis: .*$/m, 'store: new MemoryStore(),');
    const names = Object.keys(library).join(', ');
    const make = runInThisContext(`({ ${names} }) => {\n${code}\nreturn limiter;\n}`);
    const limiter = make(library) as library.RateLimiter;
    const plain = (limits: readonly object[]) => limits.map((each) => ({ ...each }));
    expect(plain(limiter.limits)).toEqual(plain(readLimitText(text)));
  });

  test('has the errors of the library beside the fields that they are about', () => {
    const form = policyForm('100/1m burst 20, 5/1s');
    Object.assign(form.limits[0]!, { rate: '-3', period: '1 week', burst: 'x' });
    form.text = textOf(form.limits);
    expect(problemsOf(form)).toEqual({
      text: undefined,
      limits: [
        {
          rate: expect.stringMatching(/^rate must be .*, got -3\./),
          period: expect.stringMatching(/^period must be .*, got "1 week"\./),
          burst: expect.stringMatching(/^burst must be .*, got "x"\./),
        },
        {},
      ],
    });
  });

  test.each(['', '5 a minute', '5/1m,', '5/1m burst'])('‘%s’ is refused as text', (text) => {
    expect(problemsOf(policyForm(text))?.text).toMatch(/^A limit is such as '100\/1m burst 20'/);
  });

  test('must not have the same further limit twice', () => {
    expect(problemsOf(policyForm('1/1s, 5/1m, 5/1m'))?.text).toMatch(/differ/);
    expect(problemsOf(policyForm('1/1s, 5/1m, 6/1m'))).toBeUndefined();
  });
});

describe('traffic of the playground', () => {
  test.each([
    '1 caller steady 10/1m',
    '100 callers poisson 10/1m',
    '5 callers bursts of 20 every 10s',
    '5 callers on 10s off 50s 5/1s',
  ])('%s is the same text after its fields', (text) => {
    const form = trafficForm(text)!;
    expect(problemOfTraffic(form)).toBeUndefined();
    expect(textOfTraffic(form)).toBe(text);
  });

  test('names the field that is wrong', () => {
    const problem = problemOfTraffic({ ...trafficForm('2 callers steady 1/1m')!, period: '5 x' })!;
    expect(problem.message).toBe("'5 x' is no duration. Write 10s, 1m or 1h.");
    expect(['2', '1', '5 x'].map(problem.of)).toEqual([false, false, true]);
  });

  test('has a bound on its callers', () => {
    expect(problemOfTraffic(trafficForm('100001 callers steady 1/1m')!)?.message).toMatch(
      /100,000/,
    );
    expect(problemOfTraffic(trafficForm('100000 callers steady 1/1m')!)).toBeUndefined();
  });
});

describe('the address of the playground', () => {
  test.each(EXAMPLES)('says all of the example: $name', (example) => {
    const { name: _, story: __, ...state } = example;
    const usual = { ...example, policies: [], traffics: [], length: '', seed: 7 };
    expect(readHash(writeHash(example), usual)).toEqual(state);
  });

  test('is read as far as it is sound', () => {
    const usual = EXAMPLES[0];
    expect(readHash('', usual)).toBeUndefined();
    expect(readHash('#traffic=x', usual)).toBeUndefined();
    expect(readHash('#limit=5/1m&seed=-1&at=x&caller=%E0%A4%A&for=1h', usual)).toMatchObject({
      policies: ['5/1m'],
      traffics: usual.traffics,
      length: '1h',
      seed: usual.seed,
      atMs: undefined,
    });
  });
});

describe('the time axis', () => {
  test.each([
    [0, 1, 0.001, 1],
    [0, 240_000_000, 1, 240],
    [0, 240_000_001, 2, 121],
    [90_000_000, 420_000_000, 2, 165],
    [0, 366 * 86_400_000_000, 2 * 86_400, 183],
  ])('from %i to %i µs has slots of %f s', (from, to, seconds, slots) => {
    const scale = makeScale(from, to);
    expect(scale).toMatchObject({ stepMicros: seconds * 1e6, slots });
    const marks = marksOf(scale, 6);
    expect(marks.length).toBeGreaterThan(0);
    expect(marks.length).toBeLessThan(8);
    expect(marks.every((mark) => mark >= 0 && mark < scale.slots)).toBe(true);
  });
});
