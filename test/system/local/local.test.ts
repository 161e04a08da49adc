import { expect, test } from 'vitest';
import { Random, seed } from '../../kit/random.mjs';
import { excess } from './envelope.mjs';
import type { Admission } from './envelope.mjs';
import {
  BURST,
  failover,
  OVERLOAD,
  overload,
  overloadWithFaults,
  PROCESSES,
  RATE,
} from './overload.mjs';
import type { Outcome } from './overload.mjs';

const limit = { rate: RATE, burst: BURST };

function told({ admissions, over, used, asked, tally }: Outcome): string {
  return (
    `admitted ${admissions.length}, over by ${over.toFixed(0)}; used ${used.toFixed(3)} of the limit at ` +
    `${OVERLOAD} times its load; ${asked.toFixed(3)} decisions by Redis; ${JSON.stringify(tally)}`
  );
}

test(`${PROCESSES} processes with prepaid units admit the limit and no more at ${OVERLOAD} times its load`, async () => {
  const outcome = await overload();
  console.log(told(outcome));
  const { admissions, over, used, tally } = outcome;
  expect(over).toBeLessThanOrEqual(0);
  // On a busy machine round trips take so long that less is prepaid; `npm run local` prints the figure of a quiet one.
  expect(used).toBeGreaterThan(0.6);
  expect(tally.slice, 'units were prepaid').toBeGreaterThan(0);
  expect(
    excess(admissions, { rate: 0.5 * RATE, burst: BURST }),
    'the check sees a rate of twice the limit',
  ).toBeGreaterThan(0);
}, 120_000);

test('prepaid units never exceed the limit while a process is killed, one is frozen, and replies are late or lost', async () => {
  const outcome = await overloadWithFaults();
  console.log(told(outcome));
  const { admissions, over, tally } = outcome;
  expect(over).toBeLessThanOrEqual(0);
  expect(tally.slice, 'units were prepaid').toBeGreaterThan(0);
  expect(tally.degraded, 'replies were lost').toBeGreaterThan(0);
  expect(
    excess(admissions, { rate: 0.5 * RATE, burst: BURST }),
    'the check sees a rate of twice the limit',
  ).toBeGreaterThan(0);
}, 120_000);

test.each([
  ['sentinel', { of: 'sentinel' }],
  ['cluster', { of: 'cluster' }],
  ['cluster, 16 tags', { of: 'cluster', tags: 16 }],
] as const)(
  'a failover (%s) lets pass what the promoted replica had not received, and no more',
  async (_, group) => {
    const outcome = await failover(group);
    console.log(`lost ${outcome.lost.toFixed(0)}; ${told(outcome)}`);
    const { over, lost, tally } = outcome;
    expect(tally.slice, 'units were prepaid').toBeGreaterThan(0);
    expect(over, 'the check sees units that pass twice').toBeGreaterThan(0);
    expect(over).toBeLessThanOrEqual(lost);
  },
  120_000,
);

/** As the definition has it: every interval from one call's `before` to another's `after`. */
function excessByDefinition(admissions: readonly Admission[]): number {
  const { rate, burst } = limit;
  const overs = admissions.flatMap(({ before: from }) =>
    admissions
      .filter(({ after: to }) => to >= from)
      .map(({ after: to }) => {
        const within = admissions.filter(({ before, after }) => before >= from && after <= to);
        return within.length - burst - (rate * (to - from)) / 1e6;
      }),
  );
  return Math.max(-burst, ...overs);
}

test(`excess finds the worst interval (DRL_SEED=${seed})`, () => {
  const random = new Random(seed);
  for (let i = 0; i < 200; i++) {
    const admissions = Array.from({ length: random.int(0, 40) }, () => {
      const before = 1e9 + random.int(0, 50_000);
      return { before, after: before + random.pick([0, 1, 500, 20_000]) };
    });
    expect(excess(admissions, limit)).toBeCloseTo(excessByDefinition(admissions), 6);
  }
});

test('excess counts a call only where its whole time is within the interval', () => {
  const burst = 2;
  const at = (before: number, after: number): Admission => ({ before, after });
  expect(excess([at(0, 0), at(0, 0), at(0, 0)], { rate: 1_000, burst })).toBe(1);
  expect(excess([at(0, 0), at(0, 0), at(0, 1_000)], { rate: 1_000, burst })).toBe(0);
  expect(excess([at(0, 0), at(0, 0), at(500, 500)], { rate: 1_000, burst })).toBe(0.5);
  expect(excess([], { rate: 1_000, burst })).toBe(-2);
});
