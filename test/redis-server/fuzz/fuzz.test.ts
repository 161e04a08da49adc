import { describe, expect, test } from 'vitest';
import { check, seed } from '../../kit/random.mjs';
import type { Area } from './area.ts';
import { connections } from './connections.ts';
import { identities } from './identities.ts';
import { options } from './options.ts';
import { replies } from './replies.ts';
import { requestHeaders } from './request-headers.ts';
import { requestLives } from './request-lives.ts';
import { responseHeaders } from './response-headers.ts';
import { states } from './states.ts';
import { verbs } from './verbs.ts';

const AREAS: readonly Area[] = [
  options,
  identities,
  requestHeaders,
  requestLives,
  responseHeaders,
  connections,
  replies,
  verbs,
  states,
];

/** Cases in all; for the long form: `npm run fuzz -- --cases 1000000`. */
const CASES = Number(process.env['DRL_FUZZ'] ?? 20_000);
/** Processor time: a busy machine makes a case wait, but not compute. */
const SLOW_MS = 5_000;

/** The seed that repeats one case is the run's seed plus the number of the case. */
async function fuzz({ percent, open }: Area): Promise<{ cases: number; slowestMs: number }> {
  const wanted = Math.ceil((CASES * percent) / 100);
  const fuzzed = await open();
  let [cases, slowestMs] = [0, 0];
  try {
    await check({ until: () => cases >= wanted }, async (random) => {
      const began = process.cpuUsage();
      cases += (await fuzzed.run(random)) ?? 1;
      const { user, system } = process.cpuUsage(began);
      const tookMs = (user + system) / 1_000;
      slowestMs = Math.max(slowestMs, tookMs);
      if (tookMs > SLOW_MS) throw new Error(`it took ${tookMs} ms of the processor`);
    });
  } finally {
    await fuzzed.close?.();
  }
  return { cases, slowestMs };
}

describe(`at random (DRL_SEED=${seed})`, () => {
  test('the listed areas are all that exist', () => {
    expect(AREAS.reduce((sum, { percent }) => sum + percent, 0)).toBe(100);
  });

  test.each(AREAS.map((area) => [area.name, area] as const))(
    'withstands random input: %s',
    async (name, area) => {
      const { cases, slowestMs } = await fuzz(area);
      console.log(
        `${name}: ${cases} cases, the slowest took ${slowestMs.toFixed(1)} ms of the processor`,
      );
      expect(cases).toBeGreaterThan(0);
    },
    0,
  );
});
