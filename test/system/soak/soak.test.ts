import { expect, test } from 'vitest';
import { Random, seed } from '../../kit/random.mjs';
import { growth, soak } from './soak.mjs';

const SECONDS = 120;

test(
  `${SECONDS} s under load and faults leak nothing (DRL_SEED=${seed})`,
  {
    timeout: (SECONDS + 60) * 1_000,
  },
  async () => {
    const random = new Random(seed);
    const { samples, tally, exitCode, exitMs, keysWithoutTtl, seen } = await soak({
      minutes: SECONDS / 60,
      random: () => random.fraction(),
    });
    console.log(
      JSON.stringify({
        ...tally,
        faults: seen.length,
        exitMs,
        heap: samples.map((each) => each.heap),
      }),
    );
    expect(growth(samples)).toEqual([]);
    expect(tally.issued).toBe(tally.real + tally.degraded);
    expect(tally.real).toBeGreaterThan(tally.issued / 2);
    expect(tally.degraded).toBeGreaterThan(0);
    expect(exitCode).toBe(0);
    expect(exitMs).toBeLessThan(2_000);
    expect(keysWithoutTtl).toBe(0);
  },
);

test('the leak check detects growth', () => {
  const sample = { heap: 1e7, resources: { TCPSocketWrap: 1 }, listeners: 3, inFlight: 0 };
  const flat = Array.from({ length: 9 }, () => sample);
  expect(growth(flat)).toEqual([]);
  const leaks = flat.map((each, i) => ({
    ...each,
    heap: each.heap + i * 1e6,
    resources: { TCPSocketWrap: 1 + i },
  }));
  expect(growth(leaks).map((line) => line.split(':')[0])).toEqual(['heap, bytes', 'TCPSocketWrap']);
});
